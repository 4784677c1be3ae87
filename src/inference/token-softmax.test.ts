import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { randomStream } from "#core";
import { runs } from "../../test/runs.ts";
import { logSumExp, tokenLogprob } from "./logprobs.ts";
import { sample, softmaxTemperature } from "./sampler.ts";
import { openTokenSoftmax, type SoftmaxRow, type TokenSoftmax } from "./token-softmax.ts";

const SIZE = 300;
let softmax: TokenSoftmax;
beforeAll(async () => {
  softmax = await openTokenSoftmax(SIZE, { threads: 1 });
});
afterAll(() => softmax[Symbol.asyncDispose]());

function makeRow(seed: number, { temperature, spread = 4, shift = 0 }: RowOptions = {}): SoftmaxRow {
  const random = randomStream(seed, "row");
  return {
    logits: Float32Array.from({ length: SIZE }, () => shift + spread * random.normal()),
    temperature,
  };
}
interface RowOptions {
  readonly temperature?: number | undefined;
  readonly spread?: number;
  readonly shift?: number;
}

const temperature = fc.double({ min: 0.05, max: 3, noNaN: true });
const rowOptions = fc.record({
  temperature: fc.option(temperature, { nil: undefined }),
  spread: fc.constantFrom(0.5, 4, 12),
  shift: fc.constantFrom(-1e3, 0, 1e3),
});

test("totals and probabilities are those of double precision, and each row is computed by itself", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(rowOptions, { minLength: 1, maxLength: 5 }),
      fc.nat(),
      async (options, seed) => {
        const rows = options.map((one, i) => makeRow(seed + i, one));
        const found = await softmax.compute(rows);
        for (const [i, row] of rows.entries()) {
          const { total, probabilities } = found[i]!;
          const exact = logSumExp(row.logits);
          expect(Math.abs(total - exact)).toBeLessThan(1e-6 * Math.max(1, Math.abs(exact)));
          const [alone] = await softmax.compute([row]);
          expect(alone).toEqual({ total, probabilities: probabilities?.slice() });
          if (row.temperature === undefined) continue;
          const scaled = row.logits.map((z) => (z - exact) / row.temperature!);
          const sum = logSumExp(scaled);
          const worst = Math.max(...scaled.map((z, k) => Math.abs(probabilities![k]! - Math.exp(z - sum))));
          expect(worst).toBeLessThan(2e-5);
        }
      },
    ),
    { numRuns: runs(60) },
  );
});

test("rows that lie apart, or more than are computed at a time, give the same", async () => {
  const rows = Array.from({ length: 7 }, (_, i) => makeRow(i, { temperature: 1 }));
  const whole = Float32Array.from(rows.flatMap(({ logits }) => [...logits]));
  const views = rows.map((row, i) => ({ ...row, logits: whole.subarray(i * SIZE, (i + 1) * SIZE) }));
  const apart = await softmax.compute(rows);
  expect(await softmax.compute(views)).toEqual(apart);
  await using small = await openTokenSoftmax(SIZE, { threads: 1 }, 2 * SIZE);
  expect(await small.compute(views)).toEqual(apart);
});

test("what the runtime computed draws the tokens that JavaScript's exponentials draw", async () => {
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
      const [{ total, probabilities } = {}] = await softmax.compute([row]);
      const draw = (given: object): number =>
        sample(row.logits, { ...sampling, seen: [], random: randomStream(seed, "draw"), ...given });
      drawn++;
      // a number may lie in the last bit between two tokens
      if (draw({}) !== draw({ probabilities })) other++;
      const [id] = row.logits.keys();
      expect(tokenLogprob(row.logits, id!, { total }).logprob).toBeCloseTo(
        tokenLogprob(row.logits, id!).logprob!,
        4,
      );
    }),
    { numRuns: runs(200) },
  );
  expect(other).toBeLessThan(Math.max(1, drawn / 1000));
});

test("logits that are not numbers, or none of which is finite, have no finite total", async () => {
  for (const wrong of [Number.NaN, Number.POSITIVE_INFINITY]) {
    const row = makeRow(1, { temperature: 1 });
    row.logits[17] = wrong;
    const [found, fine] = await softmax.compute([row, makeRow(2)]);
    expect(Number.isFinite(found?.total)).toBe(false);
    expect(Number.isFinite(fine?.total)).toBe(true);
  }
  const none = { logits: new Float32Array(SIZE).fill(Number.NEGATIVE_INFINITY), temperature: 1 };
  expect(Number.isFinite((await softmax.compute([none]))[0]?.total)).toBe(false);
});

test("only a draw from unchanged logits needs a softmax", () => {
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
