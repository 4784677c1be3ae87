import { describe, expect, test } from "vitest";
import { parseSettings, type SettingInput } from "#common";
import type { GenerationConfig } from "#text";
import { answerDefaults, engineSettings } from "./engine-options.ts";
import { samplingBy } from "./sampler.ts";

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
    draftTokens: 7,
    deterministic: false,
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

const WHERE = "models/tiny/generation_config.json";
const model = (more: Partial<GenerationConfig> = {}): GenerationConfig => ({
  where: WHERE,
  sampling: {},
  endTokens: [],
  ...more,
});

test("a request comes before an option, an option before the model", () => {
  const makers = model({ sampling: { temperature: 0.6, topP: 0.9, topK: 50 }, maxTokens: 100 });
  const defaults = answerDefaults({ topP: 0.8, presencePenalty: 0.5 }, makers);
  expect(defaults).toEqual({
    sampling: { temperature: 0.6, topP: 0.8, topK: 50, presencePenalty: 0.5 },
    maxTokens: 100,
    sources: { temperature: WHERE, topP: "option", topK: WHERE, presencePenalty: "option", maxTokens: WHERE },
  });
  expect(samplingBy(defaults, { topK: 7, minP: undefined })).toEqual({ ...defaults.sampling, topK: 7 });
  expect(answerDefaults({ generationConfig: "none", maxTokens: 5 }, makers)).toEqual({
    sampling: {},
    maxTokens: 5,
    sources: { maxTokens: "option" },
  });
});

describe("without a temperature", () => {
  const none = answerDefaults({}, model());
  test.each([
    [{}, 0],
    [{ topP: 1, topK: 0, minP: 0, repetitionPenalty: 1.3 }, 0],
    [{ topP: 0.9 }, 1],
    [{ topK: 40 }, 1],
    [{ minP: 0.05 }, 1],
    [{ temperature: 0, topP: 0.9 }, 0],
  ])("%j is sampled at %d", (given, temperature) => {
    expect(samplingBy(none, given).temperature).toBe(temperature);
  });
});

test("numbers out of range are refused, by the name of the option or the model's file", () => {
  expect(() => answerDefaults({ temperature: -1 }, model())).toThrow(/^temperature: -1 is invalid/);
  for (const broken of [{ sampling: { minP: 2 } }, { sampling: { minP: "2" } }, { maxTokens: 0 }]) {
    expect(() => answerDefaults({}, model(broken))).toThrow(
      /^models\/tiny\/generation_config\.json: (minP|maxTokens)/,
    );
    expect(answerDefaults({ generationConfig: "none" }, model(broken)).sampling).toEqual({});
    expect(answerDefaults({ minP: 0.1, maxTokens: 7 }, model(broken))).toMatchObject({
      sampling: { minP: 0.1 },
      maxTokens: 7,
    });
  }
});
