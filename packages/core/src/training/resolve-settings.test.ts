import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseSettings } from "#common";
import { runs } from "../../../../test/runs.ts";
import {
  chooseBatch,
  chooseEpochs,
  chooseValidationSplit,
  continueSettings,
  longestRow,
  resolveSettings,
} from "./resolve-settings.ts";
import { type FinetuneSettingsInput, finetuneSettings } from "./settings.ts";

const examples = (count: number, tokens: number): readonly number[] => new Array(count).fill(tokens);
const given = (input: FinetuneSettingsInput = {}) => ({
  ...parseSettings(finetuneSettings, input),
  learningRate: 0.002,
});
const resolve = (lengths: readonly number[], input: FinetuneSettingsInput = {}, evaluates = false) =>
  resolveSettings(given(input), {
    lengths,
    longest: lengths.reduce((most, length) => Math.max(most, length), 0),
    limit: input.maxLength ?? 8192,
    evaluates,
    dropout: 0,
    padToken: 0,
  });

const lengthsArbitrary = fc.oneof(
  fc.array(fc.integer({ min: 2, max: 700 }), { minLength: 1, maxLength: 60 }),
  fc
    .tuple(fc.integer({ min: 1, max: 5000 }), fc.integer({ min: 2, max: 300 }))
    .map(([n, tokens]) => examples(n, tokens)),
);

test.each([
  [1, 58, { epochs: 100, batchSize: 1, maxLength: 64 }, 100],
  [40, 58, { epochs: 30, batchSize: 1, maxLength: 240 }, 300],
  [400, 58, { epochs: 8, batchSize: 1, maxLength: 512 }, 400],
  [1000, 200, { epochs: 3, batchSize: 3, maxLength: 512 }, 501],
  [4000, 200, { epochs: 1, batchSize: 4, maxLength: 512 }, 500],
  [40_000, 200, { epochs: 1, batchSize: 4, maxLength: 512 }, 5000],
  [40, 3000, { epochs: 13, batchSize: 1, maxLength: 3008 }, 520],
  [5, 3000, { epochs: 30, batchSize: 1, maxLength: 3008 }, 150],
  [1000, 3000, { epochs: 1, batchSize: 3, maxLength: 3008 }, 334],
])("%d examples of %d tokens", (count, tokens, settings, steps) => {
  const resolved = resolve(examples(count, tokens));
  expect(resolved.settings).toMatchObject(settings);
  expect(resolved.run.steps).toBe(steps);
});

test("a run ends early by its loss where the data decide its passes, and by no other where it is not asked to", () => {
  const lengths = examples(40, 58);
  expect(resolve(lengths).run).toMatchObject({ targetLoss: 0.02, epochs: 30 });
  expect(resolve(lengths, { epochs: 30 }).run.targetLoss).toBe(0);
  expect(resolve(lengths, { steps: 300 }).run.targetLoss).toBe(0);
  expect(resolve(lengths, { steps: 300, targetLoss: 0.2 }).run.targetLoss).toBe(0.2);
});

describe("whatever the data", () => {
  test("more or longer examples never get more passes, and each is seen as often as one pass at least", () => {
    const count = fc.integer({ min: 1, max: 1_000_000 });
    const length = fc.integer({ min: 2, max: 100_000 });
    fc.assert(
      fc.property(count, count, length, length, (a, b, c, d) => {
        const [few, many] = [Math.min(a, b), Math.max(a, b)];
        const [short, long] = [Math.min(c, d), Math.max(c, d)];
        const passes = (examples: number, tokens: number) => chooseEpochs(examples, examples * tokens);
        expect(passes(many, short)).toBeLessThanOrEqual(passes(few, short));
        expect(passes(few, long)).toBeLessThanOrEqual(passes(few, short));
        expect(passes(many, long)).toBeGreaterThanOrEqual(1);
        expect(passes(few, short)).toBeLessThanOrEqual(100);
      }),
    );
  });

  test("an update has a bounded number of tokens, also where their number is given", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 2, max: 200_000 }),
        fc.integer({ min: 1, max: 512 }),
        fc.option(fc.constant(9), { nil: undefined }),
        (longest, gradientAccumulationSteps, steps) => {
          const input = given({ gradientAccumulationSteps, steps });
          const limit = longestRow(input, 131_072);
          const lengths = examples(4000, Math.min(longest, limit));
          const facts = { ...input, lengths, longest: lengths[0] ?? 0, limit };
          const { batchSize, maxLength } = chooseBatch({ ...facts, epochs: Number.POSITIVE_INFINITY });
          expect(batchSize * gradientAccumulationSteps * maxLength).toBeLessThanOrEqual(2 ** 20);
        },
      ),
    );
  });

  test("a run makes at least 100 updates where its rows allow it, of batches that hold every example", () => {
    fc.assert(
      fc.property(lengthsArbitrary, fc.boolean(), (lengths, packing) => {
        const { settings, run } = resolve(lengths, { packing });
        const longest = Math.max(...lengths);
        expect(settings.maxLength).toBeGreaterThanOrEqual(longest);
        expect(settings.maxLength).toBeLessThan(Math.max(512, longest) + 16);
        expect(settings.batchSize).toBeGreaterThanOrEqual(1);
        expect(settings.batchSize).toBeLessThanOrEqual(4);
        const tokens = lengths.reduce((sum, length) => sum + length, 0);
        const rows =
          (settings.epochs * (packing ? tokens / settings.maxLength : lengths.length)) / settings.batchSize;
        expect(run.steps).toBeGreaterThanOrEqual(Math.floor(Math.min(100, rows)));
      }),
      { numRuns: runs(60) },
    );
  });

  test("what is given stays, and the rest goes by it", () => {
    fc.assert(
      fc.property(
        lengthsArbitrary,
        fc.record(
          {
            epochs: fc.integer({ min: 1, max: 5 }),
            batchSize: fc.integer({ min: 1, max: 9 }),
            maxLength: fc.integer({ min: 700, max: 2000 }),
          },
          { requiredKeys: [] },
        ),
        (lengths, input) => {
          expect(resolve(lengths, input).settings).toMatchObject(input);
        },
      ),
      { numRuns: runs(40) },
    );
  });
});

test("updates that are given are made, and their passes are counted", () => {
  const { settings, run } = resolve(examples(40, 100), { steps: 60, batchSize: 1, maxLength: 200 }, true);
  expect(run).toMatchObject({ steps: 60, evaluateEvery: 0, earlyStoppingPatience: 0 });
  expect(settings.epochs).toBe(3);
});

test("batches are those of a run whose length is left to the data", () => {
  const { batchSize, maxLength, steps } = resolve(examples(40, 100), {}).run;
  for (const given of [{ steps: 60 }, { epochs: 3 }, { epochs: 300 }])
    expect(resolve(examples(40, 100), given).run).toMatchObject({ batchSize, maxLength });
  expect(resolve(examples(40, 100), { epochs: 15 }).run.steps).toBe(Math.round(steps / 2));
});

test("rows are no longer than model and memory allow", () => {
  const facts = { lengths: [90, 50], longest: 64, epochs: 30, packing: true, gradientAccumulationSteps: 1 };
  expect(chooseBatch({ ...facts, limit: 64 })).toEqual({ batchSize: 1, maxLength: 64 });
});

test("updates of several batches are as many", () => {
  const { run } = resolve(examples(4000, 200), { gradientAccumulationSteps: 4 });
  expect(run).toMatchObject({ batchSize: 1, steps: 500 });
});

describe("with a validation part", () => {
  const of = (input: FinetuneSettingsInput, count = 600) => {
    const { evaluateEvery, earlyStoppingPatience } = resolve(examples(count, 100), input, true).run;
    return [evaluateEvery, earlyStoppingPatience];
  };

  test("a run stops after two passes without a lower loss, and one pass does not stop", () => {
    const { steps } = resolve(examples(600, 100), {}, true).run;
    expect(of({})).toEqual([Math.ceil(steps / 5), 2]);
    expect(of({ evaluateEvery: Math.ceil(steps / 10) })).toEqual([Math.ceil(steps / 10), 4]);
    expect(of({}, 3000)).toEqual([0, 0]);
  });

  test("early stopping is switched off by 0, and on by a number", () => {
    expect(of({ earlyStoppingPatience: 0 })[1]).toBe(0);
    expect(of({ earlyStoppingPatience: 7 })[1]).toBe(7);
    expect(of({ steps: 400, evaluateEvery: 5 })).toEqual([5, 0]);
    expect(of({ steps: 400, earlyStoppingPatience: 3 })[1]).toBe(3);
    expect(() => of({ earlyStoppingPatience: 1, evaluateEvery: 0 })).toThrowError(
      /needs validation examples/,
    );
  });
});

test("a part is held out of many examples, and of few where it is asked for", () => {
  const split = (count: number, input: FinetuneSettingsInput = {}) =>
    chooseValidationSplit(count, given(input));
  expect([split(499), split(500)]).toEqual([0, 0.05]);
  expect(split(499, { evaluateEvery: 10 })).toBe(0.05);
  expect(split(499, { earlyStoppingPatience: 2 })).toBe(0.05);
  expect(split(500, { validationSplit: 0 })).toBe(0);
});

test("a resumed run has the settings that it began with, unless others are given", () => {
  const { settings, run } = resolve(examples(40, 60));
  const recorded = { computeDtype: "int8", settings: { ...settings, steps: run.steps } } as const;
  const { epochs, steps, batchSize, maxLength } = continueSettings(given(), recorded);
  expect({ epochs, steps, batchSize, maxLength }).toEqual({
    epochs: 30,
    steps: run.steps,
    batchSize: 1,
    maxLength: 240,
  });
  expect(continueSettings(given({ steps: 900, batchSize: 2 }), recorded)).toMatchObject({
    steps: 900,
    epochs: undefined,
    batchSize: 2,
    maxLength: 240,
  });
});
