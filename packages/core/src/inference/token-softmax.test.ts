import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { randomStream } from "#common";
import { runs } from "../../../../test/runs.ts";
import { type SoftmaxRow, sample, softmaxTemperature, type TokenSoftmax, tokenSoftmax } from "./sampler.ts";

// no whole number of vectors
const SIZE = 301;
let softmax: TokenSoftmax;
beforeAll(() => {
  softmax = tokenSoftmax(SIZE, { threads: 1 });
});
afterAll(() => softmax[Symbol.asyncDispose]());

interface RowOptions {
  readonly temperature?: number | undefined;
  readonly scores?: boolean;
  readonly spread?: number;
  readonly shift?: number;
}

function makeRow(seed: number, options: RowOptions = {}): SoftmaxRow {
  const { temperature, scores = true, spread = 4, shift = 0 } = options;
  const random = randomStream(seed, "row");
  const logits = Float32Array.from({ length: SIZE }, () => shift + spread * random.normal());
  return { logits, temperature, scores };
}

/** Copies, since later calls overwrite what is given. */
const computed = async (rows: readonly SoftmaxRow[]) =>
  (await softmax.compute(rows)).map(({ total, probabilities }) => ({
    total,
    probabilities: probabilities?.slice(),
  }));

/** log Σ e^(z / T), all in double precision. */
function exactTotal(logits: Float32Array, temperature = 1): number {
  const top = logits.reduce((a, b) => Math.max(a, b)) / temperature;
  return top + Math.log(Array.from(logits).reduce((sum, z) => sum + Math.exp(z / temperature - top), 0));
}

const temperature = fc.double({ min: 0.05, max: 3, noNaN: true });
const rowOptions = fc.record({
  temperature: fc.option(fc.oneof(temperature, fc.constant(1)), { nil: undefined }),
  scores: fc.boolean(),
  spread: fc.constantFrom(0.5, 4, 12),
  shift: fc.constantFrom(-1e3, 0, 1e3),
});

test("totals and probabilities are those of double precision, and no row depends on others", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(rowOptions, { minLength: 1, maxLength: 5 }),
      fc.nat(),
      async (options, seed) => {
        const rows = options.map((one, i) => makeRow(seed + i, one));
        const found = await computed(rows);
        for (const [i, row] of rows.entries()) {
          const { total, probabilities } = found[i]!;
          expect(await computed([row])).toEqual([{ total, probabilities }]);
          expect([total === undefined, probabilities === undefined]).toEqual([
            !row.scores,
            row.temperature === undefined,
          ]);
          if (total !== undefined) expect(total).toBeCloseTo(exactTotal(row.logits), 5);
          if (probabilities === undefined) continue;
          const exact = exactTotal(row.logits, row.temperature);
          const worst = Math.max(
            ...Array.from(row.logits, (z, k) =>
              Math.abs(probabilities[k]! - Math.exp(z / row.temperature! - exact)),
            ),
          );
          expect(worst).toBeLessThan(2e-6);
        }
      },
    ),
    { numRuns: runs(60) },
  );
});

test("the total of a large vocabulary counts what each unlikely token adds", async () => {
  const size = 151_936;
  await using large = tokenSoftmax(size, { threads: 1 });
  const random = randomStream(0, "large");
  for (const peak of [0, 12, 17]) {
    const logits = Float32Array.from({ length: size }, () => random.normal());
    logits[77] = peak;
    const [found] = await large.compute([{ logits, temperature: undefined, scores: true }]);
    expect(found?.total).toBeCloseTo(exactTotal(logits), 5);
  }
});

test("rows that lie apart, or more than are computed at a time, give the same", async () => {
  const rows = Array.from({ length: 7 }, (_, i) => makeRow(i, { temperature: 1 + (i % 2) }));
  const whole = Float32Array.from(rows.flatMap(({ logits }) => [...logits]));
  const views = rows.map((row, i) => ({ ...row, logits: whole.subarray(i * SIZE, (i + 1) * SIZE) }));
  const apart = await computed(rows);
  expect(await computed(views)).toEqual(apart);
  await using small = tokenSoftmax(SIZE, { threads: 1 }, 2 * SIZE);
  expect(await small.compute(views)).toEqual(apart);
});

test("the runtime's probabilities draw the tokens that JavaScript's exponentials draw", async () => {
  const settings = fc.record({
    temperature,
    topK: fc.constantFrom(0, 5, 400),
    topP: fc.constantFrom(1, 0.9),
    minP: fc.constantFrom(0, 0.05),
  });
  let [drawn, other] = [0, 0];
  await fc.assert(
    fc.asyncProperty(settings, fc.nat(), async (sampling, seed) => {
      const row = makeRow(seed, sampling);
      const [{ probabilities } = {}] = await softmax.compute([row]);
      const draw = (given: object): number =>
        sample(row.logits, { ...sampling, seen: [], random: randomStream(seed, "draw"), ...given });
      drawn++;
      if (draw({}) !== draw({ probabilities })) other++;
    }),
    { numRuns: runs(200) },
  );
  // rounding may move the edge between two tokens over a number, and a token over the edge of top-p
  expect(other).toBeLessThanOrEqual(1 + drawn / 1000);
});

test("the smallest temperatures draw the likeliest token", async () => {
  for (const small of [1e-6, 1e-40, Number.MIN_VALUE])
    for (const topK of [0, 3]) {
      const row = makeRow(3, { temperature: small });
      const [{ probabilities } = {}] = await softmax.compute([row]);
      const state = { seen: [], random: randomStream(1, "draw"), probabilities };
      const best = row.logits.indexOf(row.logits.reduce((a, b) => Math.max(a, b)));
      expect(sample(row.logits, { temperature: small, topK, ...state })).toBe(best);
    }
});

test("logits that are not numbers, or none of which is finite, are not drawn from and have no finite total", async () => {
  const expectDiverged = async (logits: Float32Array) => {
    const fine = makeRow(2);
    const wrong = { logits, temperature: 1, scores: true };
    const [found, other] = await softmax.compute([wrong, fine]);
    expect(Number.isFinite(found?.total)).toBe(false);
    expect(other?.total).toBeCloseTo(exactTotal(fine.logits), 5);
    for (const topK of [0, 3]) {
      const state = { seen: [], random: randomStream(1, "draw"), probabilities: found?.probabilities };
      expect(() => sample(logits, { temperature: 1, topK, ...state })).toThrowError(
        expect.objectContaining({ code: "diverged" }),
      );
    }
  };
  for (const value of [Number.NaN, Number.POSITIVE_INFINITY])
    for (const at of [0, 17, SIZE - 1]) await expectDiverged(makeRow(1).logits.with(at, value));
  await expectDiverged(new Float32Array(SIZE).fill(Number.NEGATIVE_INFINITY));
});

test("only draws from unchanged logits use a softmax", () => {
  expect(softmaxTemperature({ temperature: 0.7, topP: 0.9 })).toBe(0.7);
  const others = [
    {},
    { temperature: 0 },
    { temperature: 1, repetitionPenalty: 1.1 },
    { temperature: 1, presencePenalty: 1 },
    { temperature: 1, frequencyPenalty: 1 },
    { temperature: 1, logitBias: new Map([[1, 1]]) },
    { temperature: 1, barred: [0] },
    {
      temperature: 1,
      allowed: { allows: () => true, mask: () => ({ words: new Uint32Array(1), count: 0 }) },
    },
  ];
  for (const one of others) expect(softmaxTemperature(one)).toBeUndefined();
});
