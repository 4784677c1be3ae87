import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { batches, type EncodedExample } from "#data";
import { runs } from "../../../../test/runs.ts";
import {
  lengthMultiple,
  type MicroBatch,
  type MicroBatchSettings,
  microBatches,
  type Position,
  rowsAtOnce,
  runTokens,
  updateTokens,
} from "./micro-batches.ts";

const example = (length: number, line: number): EncodedExample => ({
  line,
  ids: new Int32Array(length).fill(line),
  labels: new Int32Array(length).fill(line),
  targetTokens: length - 1,
  truncated: false,
  truncatedTargets: 0,
});

const layout = { padToken: 0, seed: 3 } as const;
/** Rows of 6,000 tokens, of which two are computed at once, or short rows, of which all are. */
const arbitrarySettings = fc.record({
  batchSize: fc.integer({ min: 1, max: 7 }),
  maxLength: fc.constantFrom(64, 6000),
  packing: fc.boolean(),
  gradientAccumulationSteps: fc.integer({ min: 1, max: 4 }),
});
const arbitraryExamples = fc
  .array(fc.integer({ min: 2, max: 60 }), { minLength: 1, maxLength: 20 })
  .map((lengths) => lengths.map((length, i) => example(length, i + 1)));

/** The micro-batches of the first updates from a position on. */
function take(
  examples: readonly EncodedExample[],
  settings: MicroBatchSettings,
  { start = { updates: 0, microBatches: 0 }, updates = 3 }: { start?: Position; updates?: number } = {},
): MicroBatch[] {
  const taken: MicroBatch[] = [];
  const stream = microBatches(examples, settings, start);
  for (let made = 0; made < updates; ) {
    const next = stream.next().value;
    taken.push(next);
    if (next.isLast) made += 1;
  }
  return taken;
}

test("a batch of more than 16,384 tokens is computed in parts, and one row at least", () => {
  expect(rowsAtOnce({ batchSize: 4096, maxLength: 512 })).toBe(32);
  expect(rowsAtOnce({ batchSize: 32, maxLength: 512 })).toBe(32);
  expect(rowsAtOnce({ batchSize: 8, maxLength: 100_000 })).toBe(1);
});

describe("micro-batches", () => {
  test("are the parts of each epoch's batches, numbered through, and end updates with their last batch", () => {
    fc.assert(
      fc.property(arbitraryExamples, arbitrarySettings, (examples, given) => {
        const settings = { ...layout, ...given };
        const atOnce = rowsAtOnce(settings);
        expect(atOnce).toBe(Math.min(settings.batchSize, settings.maxLength === 64 ? 7 : 2));
        const taken = take(examples, settings);
        expect(taken.map(({ index }) => index)).toEqual(taken.map((_, i) => i));
        const shape = { ...settings, lengthMultiple: lengthMultiple(settings) };
        const whole: number[] = [];
        for (let epoch = 0, count = 0; count < 3 * settings.gradientAccumulationSteps; epoch++)
          for (const { rows } of batches(examples, { ...shape, epoch }))
            if (count++ < 3 * settings.gradientAccumulationSteps) whole.push(rows);
        const parts = whole.map((rows) => Math.ceil(rows / atOnce));
        expect(taken.length).toBe(parts.reduce((a, b) => a + b, 0));
        expect(taken.reduce((sum, { batch }) => sum + batch.rows, 0)).toBe(whole.reduce((a, b) => a + b, 0));
      }),
      { numRuns: runs(60) },
    );
  });

  test("go on from any position as if there had been no break", () => {
    fc.assert(
      fc.property(arbitraryExamples, arbitrarySettings, fc.nat(), (examples, given, at) => {
        const settings = { ...layout, ...given };
        const whole = take(examples, settings);
        const position = at % whole.length;
        const before = whole.slice(0, position);
        const updates = before.filter(({ isLast }) => isLast).length;
        const microBatches = position - 1 - before.findLastIndex(({ isLast }) => isLast);
        const start = { updates, microBatches };
        expect(take(examples, settings, { start, updates: 3 - updates })).toEqual(whole.slice(position));
      }),
      { numRuns: runs(60) },
    );
  });

  test("have the tokens that are counted before", () => {
    fc.assert(
      fc.property(arbitraryExamples, arbitrarySettings, (examples, given) => {
        const settings = { ...layout, ...given };
        const counted = [0, 0, 0];
        let update = 0;
        for (const { batch, isLast } of take(examples, settings)) {
          counted[update] = (counted[update] ?? 0) + batch.tokens;
          if (isLast) update += 1;
        }
        const ahead = updateTokens(examples, settings, { updates: 0, microBatches: 0 });
        expect(counted.map(() => ahead.next().value)).toEqual(counted);
        expect(runTokens(examples, { ...settings, steps: 3 })).toBe(counted.reduce((a, b) => a + b, 0));
      }),
      { numRuns: runs(60) },
    );
  });

  test("are refused from a position that the update does not have", () => {
    const settings = { ...layout, batchSize: 1, maxLength: 64, packing: false, gradientAccumulationSteps: 3 };
    const start = { updates: 1, microBatches: 3 };
    expect(() => take([example(5, 1)], settings, { start })).toThrowError(
      expect.objectContaining({
        code: "bad_data",
        message:
          "the checkpoint has 3 micro-batches of an unfinished update, which has 3 in all; start again without --resume",
      }),
    );
  });
});
