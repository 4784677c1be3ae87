import { expect, expectTypeOf, test } from "vitest";
import { z } from "zod";
import {
  bytes,
  distinct,
  flag,
  parseSettings,
  pick,
  type Setting,
  type SettingInput,
  type SettingValues,
  setting,
  settingInfo,
} from "./settings.ts";

const help = "what it does";
const settings = {
  rank: setting(z.int().min(1).max(64), { default: 8, help }),
  steps: setting(z.int().min(1), { help }),
  warmup: setting(z.number().min(0), { help }),
  decay: setting(z.number().min(0).max(10), { help }),
  rate: setting(z.number().gt(0).max(10), { help }),
  dropout: setting(z.number().min(0).lt(1).describe("a probability"), { help }),
  packing: flag({ default: true, help }),
  verbose: flag({ help }),
  schedule: setting(z.enum(["linear", "cosine"]), { default: "linear", help }),
  memory: setting(bytes(1), { default: 2e9, defaultText: "2GB", help }),
  name: setting(z.string().regex(/^\w+$/).describe("a word"), { help }),
  stops: setting(z.array(z.string()).readonly(), { help }),
  targets: setting(
    z
      .array(z.enum(["q", "v"]))
      .min(1)
      .readonly(),
    { default: ["q", "v"], help },
  ),
  rates: setting(distinct(z.number().gt(0).max(10)).describe("one or more different rates"), { help }),
};
const defaults = {
  rank: 8,
  packing: true,
  verbose: false,
  schedule: "linear",
  memory: 2e9,
  targets: ["q", "v"],
};

test("what is usable, with defaults", () => {
  expect(parseSettings(settings, {})).toEqual(defaults);
  const given = {
    rank: 64,
    steps: 1,
    warmup: 0,
    decay: 10,
    rate: 10,
    dropout: 0,
    packing: false,
    verbose: true,
    memory: 1,
    name: "a",
    stops: [],
    targets: ["v"],
    rates: [1, 2],
  };
  expect(parseSettings(settings, given)).toEqual({ ...given, schedule: "linear" });
  expect(parseSettings(settings, { rank: undefined, steps: undefined })).toEqual(defaults);
});

test.each([
  [{ rank: 65 }, "rank: 65 is invalid; give a whole number from 1 to 64"],
  [{ rank: 1.5 }, "rank: 1.5 is invalid; give a whole number from 1 to 64"],
  [{ rank: Number.NaN }, "rank: NaN is invalid; give a whole number from 1 to 64"],
  [{ steps: 0 }, "steps: 0 is invalid; give a whole number, 1 or more"],
  [{ steps: null }, "steps: null is invalid; give a whole number, 1 or more"],
  [{ warmup: -1 }, "warmup: -1 is invalid; give a number, 0 or more"],
  [{ warmup: Number.POSITIVE_INFINITY }, "warmup: Infinity is invalid; give a number, 0 or more"],
  [{ decay: 11 }, "decay: 11 is invalid; give a number from 0 to 10"],
  [{ rate: 0 }, "rate: 0 is invalid; give a number above 0 and up to 10"],
  [{ dropout: 1 }, "dropout: 1 is invalid; give a probability from 0 to below 1"],
  [{ packing: "yes" }, 'packing: "yes" is invalid; give true or false'],
  [{ schedule: "step" }, 'schedule: "step" is invalid; give one of linear, cosine'],
  [{ memory: 0 }, "memory: 0 is invalid; give a whole number of bytes, 1 or more"],
  [{ name: "a b" }, 'name: "a b" is invalid; give a word'],
  [{ stops: "a" }, 'stops: "a" is invalid; give a list of strings'],
  [{ targets: [] }, "targets: [] is invalid; give a list of one or more of q, v"],
  [{ targets: ["w"] }, 'targets: ["w"] is invalid; give one of q, v'],
  [{ rates: [] }, "rates: [] is invalid; give one or more different rates"],
  [{ rates: [1, 1] }, "rates: [1,1] is invalid; give one or more different rates"],
  [{ rates: [1, 0] }, "rates: [1,0] is invalid; give a number above 0 and up to 10"],
  [{ rnak: 8 }, "rnak: unknown setting; did you mean rank?"],
  [{ ranks: 8 }, "ranks: unknown setting; did you mean rank?"],
  [{ colour: 8 }, `colour: unknown setting; expected one of ${Object.keys(settings).join(", ")}`],
])("%j", (given, message) => {
  expect(() => parseSettings(settings, given)).toThrowError(
    expect.objectContaining({ code: "bad_option", message }),
  );
});

test("types follow: a default or a requirement makes a value certain", () => {
  type Values = SettingValues<typeof settings>;
  expectTypeOf<Values["rank"]>().toEqualTypeOf<number>();
  expectTypeOf<Values["steps"]>().toEqualTypeOf<number | undefined>();
  expectTypeOf<Values["schedule"]>().toEqualTypeOf<"linear" | "cosine">();
  expectTypeOf<Values["targets"]>().toEqualTypeOf<readonly ("q" | "v")[]>();
  expectTypeOf<SettingInput<typeof settings>["rank"]>().toEqualTypeOf<number | undefined>();
  const out = setting(z.string(), { required: true, help });
  expectTypeOf<SettingValues<{ out: typeof out }>>().toEqualTypeOf<{ readonly out: string }>();
  expect(() => parseSettings({ out }, {})).toThrowError("out: nothing is invalid; give a string");
});

test("pick takes what belongs to the settings and was given", () => {
  const { rank, steps } = settings;
  const values = { rank: 4, steps: undefined, out: "folder" };
  expect(pick({ rank, steps }, values)).toEqual({ rank: 4 });
});

/** Values of texts that are usable. */
function read(setting: Setting, texts: readonly string[]): readonly unknown[] {
  const { check, read } = settingInfo(setting);
  return texts.map(read).filter((value) => check.safeParse(value).success);
}

test("whole numbers and numbers of a command line", () => {
  const { steps } = settings;
  expect(read(steps, ["10_000"])).toEqual([10_000]);
  expect(read(steps, ["0", "-1", "1.5", "", "1e3", "0x10", "99999999999999999999"])).toEqual([]);
  const number = setting(z.number(), { help });
  expect(read(number, ["5e-4", "", " ", "1,5", "NaN", "Infinity", "x"])).toEqual([0.0005]);
});

test("sizes: bytes, or decimal and binary units", () => {
  const size = settings.memory;
  const sizes = ["500", "10b", "2GB", "500 MB", "1TB", "64kb", "5GiB", "1.5GiB", "2TiB", "3 KiB", "4mib"];
  expect(read(size, sizes)).toEqual([
    ...[500, 10, 2e9, 5e8, 1e12, 64e3],
    ...[5 * 2 ** 30, 1.5 * 2 ** 30, 2 ** 41, 3 * 2 ** 10, 4 * 2 ** 20],
  ]);
  expect(read(setting(bytes(), { help }), ["0"])).toEqual([0]);
  const odd = ["", "GB", "ib", "2 XB", "-1GB", "1e3MB", "5e9", "2  GB", "99999TB", "0GB", "0"];
  expect(read(size, odd)).toEqual([]);
  expect(settingInfo(size).expectedText).toBe("a size of 1B or more, such as 500MB, 2GB or 1.5GiB");
});

test("lists of a command line", () => {
  const { targets, rates } = settings;
  expect(read(targets, ["q, v"])).toEqual([["q", "v"]]);
  expect(read(targets, ["", "q,,v", ",", "w"])).toEqual([]);
  expect(read(rates, ["1e-3, 3e-3", "1,1", "0", "1,x"])).toEqual([[0.001, 0.003]]);
});
