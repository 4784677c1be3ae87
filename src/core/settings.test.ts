import { expect, test } from "vitest";
import { z } from "zod";
import {
  anyNumber,
  belowOne,
  expected,
  oneOf,
  parseSettings,
  positiveNumber,
  wholeNumber,
  yesOrNo,
} from "./settings.ts";

const rates = expected("one or more rates");
const schema = z.strictObject({
  rank: wholeNumber(1, 64).default(8),
  steps: wholeNumber(1).optional(),
  warmup: anyNumber(0).optional(),
  decay: anyNumber(0, 10).optional(),
  rate: positiveNumber(10).optional(),
  dropout: belowOne("a probability").optional(),
  packing: yesOrNo().optional(),
  schedule: oneOf(["linear", "cosine"]).optional(),
  rates: z.array(positiveNumber(10), rates).min(1, rates).optional(),
});

test("what is usable, with defaults", () => {
  expect(parseSettings(schema, {})).toEqual({ rank: 8 });
  const given = {
    rank: 64,
    steps: 1,
    warmup: 0,
    decay: 10,
    rate: 10,
    dropout: 0,
    packing: false,
    rates: [1],
  };
  expect(parseSettings(schema, given)).toEqual(given);
});

test.each([
  [{ rank: 65 }, "rank: 65 is not usable; give a whole number from 1 to 64"],
  [{ rank: 1.5 }, "rank: 1.5 is not usable; give a whole number from 1 to 64"],
  [{ rank: Number.NaN }, "rank: NaN is not usable; give a whole number from 1 to 64"],
  [{ steps: 0 }, "steps: 0 is not usable; give a whole number, 1 or more"],
  [{ steps: null }, "steps: null is not usable; give a whole number, 1 or more"],
  [{ warmup: -1 }, "warmup: -1 is not usable; give a number, 0 or more"],
  [{ decay: 11 }, "decay: 11 is not usable; give a number from 0 to 10"],
  [{ rate: 0 }, "rate: 0 is not usable; give a number above 0 and up to 10"],
  [{ dropout: 1 }, "dropout: 1 is not usable; give a probability from 0 to below 1"],
  [{ packing: "yes" }, 'packing: "yes" is not usable; give true or false'],
  [{ schedule: "step" }, 'schedule: "step" is not usable; give one of linear, cosine'],
  [{ rates: [] }, "rates: [] is not usable; give one or more rates"],
  [{ rates: [1, 0] }, "rates: [1,0] is not usable; give a number above 0 and up to 10"],
  [
    { ranks: 8 },
    "ranks: there is no such setting; there are rank, steps, warmup, decay, rate, dropout, packing, schedule, rates",
  ],
])("%j", (given, message) => {
  expect(() => parseSettings(schema, given)).toThrowError(
    expect.objectContaining({ code: "bad_option", message }),
  );
});
