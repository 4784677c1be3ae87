import { describe, expect, test } from "vitest";
import { parseSettings, type SettingInput } from "#core";
import { engineSettings } from "./engine-options.ts";

type EngineSettings = SettingInput<typeof engineSettings>;
const fullSettings = (given: EngineSettings) => parseSettings(engineSettings, given);

test("missing settings get their defaults, given ones are kept", () => {
  expect(fullSettings({})).toEqual({
    baseDtype: "stored",
    computeDtype: undefined,
    cacheMemory: undefined,
    cacheDtype: "float32",
    adapterMemory: 2e9,
    adapterDtype: "float32",
    maxAdapterRank: 256,
    maxBatch: 16,
    maxWaiting: 256,
    slotMemory: 2e9,
    threads: 0,
    weightCache: true,
  });
  const given = {
    baseDtype: "int4",
    computeDtype: "float32",
    maxBatch: 3,
    maxLength: 9,
    threads: 2,
  } as const;
  expect(fullSettings(given)).toMatchObject(given);
});

test.each(["baseDtype", "computeDtype", "cacheDtype", "adapterDtype"])(
  "%s has a closed list of values",
  (name) => {
    expect(() => fullSettings({ [name]: "int3" })).toThrowError(
      expect.objectContaining({ code: "bad_option", message: expect.stringContaining(`${name}: "int3"`) }),
    );
  },
);

describe("numbers out of range are refused by name:", () => {
  const cases: readonly (readonly [keyof EngineSettings, number])[] = [
    ["maxBatch", 0],
    ["maxBatch", 1.5],
    ["maxWaiting", 0],
    ["cacheMemory", 0],
    ["slotMemory", -1],
    ["adapterMemory", -1],
    ["threads", -1],
    ["maxLength", 1],
    ["maxLength", Number.NaN],
    ["cacheMemory", Number.POSITIVE_INFINITY],
  ];
  test.each(cases)("%s %d", (name, value) => {
    expect(() => fullSettings({ [name]: value })).toThrowError(
      expect.objectContaining({
        code: "bad_option",
        message: expect.stringContaining(`${name}: ${value}`),
      }),
    );
  });
});
