import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Random, randomStream } from "#common";
import { runs } from "../../../../test/runs.ts";
import { tokenLogprob } from "./logprobs.ts";
import { argmax, checkSampling, sample } from "./sampler.ts";
import type { SamplingOptions } from "./types.ts";

/** A stream whose next uniform number is this one. */
const fixed = (value: number): Random => ({ ...randomStream(0, "fixed"), uniform: () => value });

const draw = (logits: Float32Array, options: SamplingOptions, random = randomStream(0, "test")): number =>
  sample(logits, { ...options, seen: [], random });

interface Kept {
  readonly id: number;
  readonly probability: number;
}

/** Softmax, then top-k, top-p and min-p one after another, each over the renormalised rest: the definitions, without shortcuts. */
function reference(
  logits: Float32Array,
  { temperature = 1, topK = 0, topP = 1, minP = 0 }: SamplingOptions,
): readonly Kept[] {
  const top = Math.max(...logits);
  const normalised = (list: readonly Kept[]): readonly Kept[] => {
    const sum = list.reduce((total, { probability }) => total + probability, 0);
    return list.map(({ id, probability }) => ({ id, probability: probability / sum }));
  };
  let kept = normalised(
    Array.from(logits, (z, id) => ({ id, probability: Math.exp((z - top) / temperature) })).sort(
      (a, b) => b.probability - a.probability || a.id - b.id,
    ),
  );
  if (topK > 0) kept = normalised(kept.slice(0, topK));
  let mass = 0;
  kept = normalised(
    kept.filter(({ probability }) => {
      const wanted = mass < topP;
      mass += probability;
      return wanted;
    }),
  );
  const most = kept[0]!.probability;
  return normalised(kept.filter(({ probability }) => probability >= minP * most));
}

/** Each uniform number picks the id whose share of [0, 1) it falls into. */
function expectSameChoices(logits: Float32Array, options: SamplingOptions): void {
  const shares = new Map(reference(logits, options).map(({ id, probability }) => [id, probability]));
  const drawn = new Map<number, number>();
  const runs = 400;
  for (let i = 0; i < runs; i++) {
    const id = draw(logits, options, fixed((i + 0.5) / runs));
    expect([...shares.keys()], JSON.stringify(options)).toContain(id);
    drawn.set(id, (drawn.get(id) ?? 0) + 1);
  }
  for (const [id, share] of shares)
    expect(Math.abs((drawn.get(id) ?? 0) / runs - share), `${id} of ${JSON.stringify(options)}`).toBeLessThan(
      3 / runs,
    );
}

const randomLogits = (size: number, seed: number, spread = 2): Float32Array => {
  const random = randomStream(seed, "logits");
  return Float32Array.from({ length: size }, () => spread * random.normal());
};

describe("candidates and their probabilities follow the definitions:", () => {
  test("hand-made logits", () => {
    // probabilities 0.5, 0.25, 0.125, 0.125
    const logits = Float32Array.of(Math.log(4), Math.log(8), Math.log(2), Math.log(2));
    const sampleIds = (options: SamplingOptions) =>
      new Set(
        Array.from({ length: 100 }, (_, i) => draw(logits, { temperature: 1, ...options }, fixed(i / 100))),
      );
    expect(sampleIds({})).toEqual(new Set([0, 1, 2, 3]));
    expect(sampleIds({ topK: 2 })).toEqual(new Set([0, 1]));
    expect(sampleIds({ topK: 1 })).toEqual(new Set([1]));
    expect(sampleIds({ topP: 0.4 })).toEqual(new Set([1]));
    expect(sampleIds({ topP: 0.7 })).toEqual(new Set([0, 1]));
    expect(sampleIds({ topP: 0.8 })).toEqual(new Set([0, 1, 2]));
    expect(sampleIds({ minP: 0.4 })).toEqual(new Set([0, 1]));
    expect(sampleIds({ minP: 1 })).toEqual(new Set([1]));
    // of the two that top-k leaves, the first has 2/3
    expect(sampleIds({ topK: 2, topP: 0.6 })).toEqual(new Set([1]));
  });

  test("top-k of all tokens, or more, draws what no top-k draws", () => {
    const logits = Float32Array.of(0.3, 2, -1, 1.2, 0.9);
    for (let seed = 0; seed < 100; seed++) {
      const [all, more, none] = [5, 50, 0].map((topK) =>
        draw(logits, { temperature: 1, topK }, randomStream(seed, "top-k")),
      );
      expect([all, more]).toEqual([none, none]);
    }
  });

  test("random logits and settings", () => {
    fc.assert(
      fc.property(
        fc.record({
          size: fc.integer({ min: 1, max: 200 }),
          seed: fc.nat(),
          spread: fc.constantFrom(0.5, 2, 6),
        }),
        fc.record({
          temperature: fc.double({ min: 0.2, max: 3, noNaN: true }),
          topK: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 300 })),
          topP: fc.oneof(fc.constant(1), fc.double({ min: 0.05, max: 0.999, noNaN: true })),
          minP: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1, noNaN: true })),
        }),
        ({ size, seed, spread }, options) => expectSameChoices(randomLogits(size, seed, spread), options),
      ),
      { numRuns: runs(60) },
    );
  });

  test("top-p sees all that top-k keeps, even where a few tokens hold most of the probability", () => {
    // 20 tokens hold 97 % and the next 80 the rest: top-p has to count all 100
    const logits = new Float32Array(2000).fill(-40);
    logits.fill(0, 0, 20).fill(-5, 20, 100);
    for (const topP of [0.9, 0.97, 0.99]) expectSameChoices(logits, { temperature: 1, topK: 100, topP });
  });
});

describe("greedy decoding", () => {
  test("takes the largest logit, and the first of equal ones", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -3, max: 3 }), { minLength: 1 }), (values) => {
        const logits = Float32Array.from(values);
        expect(draw(logits, {})).toBe(values.indexOf(Math.max(...values)));
        expect(argmax(logits)).toBe(draw(logits, {}));
      }),
    );
  });

  test("equals a very low temperature, and top-k 1", () => {
    for (let seed = 0; seed < 20; seed++) {
      const logits = randomLogits(50, seed);
      expect(draw(logits, { temperature: 1e-300 })).toBe(argmax(logits));
      expect(draw(logits, { temperature: 2, topK: 1 })).toBe(argmax(logits));
      expect(draw(logits, { temperature: 2, topP: 1e-12 })).toBe(argmax(logits));
    }
  });

  test("draws no random numbers", () => {
    const random = randomStream(0, "unused");
    const before = random.state;
    draw(randomLogits(9, 0), {}, random);
    expect(random.state).toEqual(before);
  });
});

describe("temperature", () => {
  test("shapes the frequencies", () => {
    const logits = Float32Array.of(0, 1, 2, -1);
    for (const temperature of [0.5, 1, 2]) {
      const random = randomStream(5, "temperature");
      const counts = new Float64Array(4);
      for (let i = 0; i < 20_000; i++) counts[draw(logits, { temperature }, random)]!++;
      for (const { id, probability } of reference(logits, { temperature }))
        expect(Math.abs(counts[id]! / 20_000 - probability)).toBeLessThan(0.015);
    }
  });

  test("the same seed gives the same tokens", () => {
    const logits = randomLogits(100, 1);
    const tokens = (seed: number) => {
      const random = randomStream(seed, "sampling");
      return Array.from({ length: 50 }, () => draw(logits, { temperature: 1, topP: 0.95 }, random));
    };
    expect(tokens(3)).toEqual(tokens(3));
    expect(tokens(3)).not.toEqual(tokens(4));
  });
});

describe("the repetition penalty", () => {
  const random = randomStream(0, "penalty");
  test("divides positive logits and multiplies negative ones, once, as transformers does", () => {
    const logits = Float32Array.of(2, 1.5, -1, -1.5);
    const best = (seen: readonly number[], repetitionPenalty: number) =>
      sample(logits, { repetitionPenalty, seen, random });
    expect(best([], 2)).toBe(0);
    expect(best([0], 1.3)).toBe(0); //       1.54 > 1.5
    expect(best([0], 1.4)).toBe(1); //       1.43 < 1.5
    expect(best([0, 0, 0], 1.3)).toBe(0); // once, however often it was seen
    expect(best([0, 1], 2)).toBe(0);
    expect(sample(Float32Array.of(-1, -1.5), { repetitionPenalty: 1.6, seen: [0], random })).toBe(1);
    expect(sample(Float32Array.of(-1, -1.5), { repetitionPenalty: 1.4, seen: [0], random })).toBe(0);
  });

  test("does not change the logits in place, and ignores ids outside the vocabulary", () => {
    const logits = Float32Array.of(2, 1);
    expect(sample(logits, { repetitionPenalty: 5, seen: [0, 99], random })).toBe(1);
    expect([...logits]).toEqual([2, 1]);
  });
});

describe("logits are adjusted before the temperature:", () => {
  const random = randomStream(0, "penalty");
  const best = (logits: readonly number[], options: Partial<Parameters<typeof sample>[1]>) =>
    sample(Float32Array.from(logits), { seen: [], random, ...options });

  test("presence takes off once, frequency for each time, of the answer's tokens only", () => {
    const answer = [0, 0, 0];
    expect(best([3, 1.5], { presencePenalty: 1, answer })).toBe(0);
    expect(best([3, 1.5], { presencePenalty: 2, answer })).toBe(1);
    expect(best([3, 1.5], { frequencyPenalty: 0.4, answer })).toBe(0);
    expect(best([3, 1.5], { frequencyPenalty: 0.6, answer })).toBe(1);
    expect(best([3, 1.5], { presencePenalty: 2, frequencyPenalty: 2, seen: answer })).toBe(0);
    expect(best([3, 3.5], { presencePenalty: -1, answer })).toBe(0);
  });

  test("a bias is added before penalties", () => {
    expect(best([3, 1], { logitBias: new Map([[1, 2.5]]) })).toBe(1);
    expect(best([3, 1], { logitBias: new Map([[0, -100]]) })).toBe(1);
    // (1 + 2.5) / 2 < 2
    const both = { logitBias: new Map([[1, 2.5]]), repetitionPenalty: 2, seen: [1] };
    expect(best([2, 1], both)).toBe(0);
  });

  test("what is barred is not chosen while there is anything else, whatever its bias", () => {
    const logitBias = new Map([[0, 100]]);
    for (const temperature of [0, 1]) expect(best([9, 1], { barred: [0], logitBias, temperature })).toBe(1);
    expect([0, 1]).toContain(best([9, 1], { barred: [0, 1], temperature: 1 }));
  });

  test("by the temperature of sampling, the adjusted logits are divided", () => {
    const shares = (options: Partial<Parameters<typeof sample>[1]>) => {
      const draws = Array.from({ length: 4000 }, () => best([1, 1], { temperature: 2, ...options }));
      return draws.filter((id) => id === 0).length / draws.length;
    };
    const expected = (difference: number) => 1 / (1 + Math.exp(-difference / 2));
    expect(shares({ logitBias: new Map([[0, 2]]) })).toBeCloseTo(expected(2), 1);
    expect(shares({ frequencyPenalty: 1, answer: [0, 0] })).toBeCloseTo(expected(-2), 1);
  });
});

describe("settings out of range are refused by name:", () => {
  test.each<[keyof SamplingOptions, number, string]>([
    ["temperature", -0.1, "temperature: -0.1 is invalid; give a number, 0 or more"],
    ["temperature", Number.POSITIVE_INFINITY, "temperature: Infinity is invalid; give a number, 0 or more"],
    ["topP", 0, "topP: 0 is invalid; give a number above 0 and up to 1"],
    ["topP", 1.01, "topP: 1.01 is invalid; give a number above 0 and up to 1"],
    ["topK", 1.5, "topK: 1.5 is invalid; give a whole number, 0 or more"],
    ["topK", -1, "topK: -1 is invalid; give a whole number, 0 or more"],
    ["minP", 1.1, "minP: 1.1 is invalid; give a number from 0 to 1"],
    ["minP", Number.NaN, "minP: NaN is invalid; give a number from 0 to 1"],
    ["repetitionPenalty", 0, "repetitionPenalty: 0 is invalid; give a number above 0"],
    ["presencePenalty", 2.1, "presencePenalty: 2.1 is invalid; give a number from -2 to 2"],
    ["frequencyPenalty", -3, "frequencyPenalty: -3 is invalid; give a number from -2 to 2"],
  ])("%s %d", (name, value, message) => {
    expect(() => checkSampling({ [name]: value })).toThrowError(
      expect.objectContaining({ name: "MosError", code: "bad_option", message }),
    );
  });

  test("values in range are accepted", () => {
    checkSampling({ temperature: 0, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1 });
    checkSampling({});
    checkSampling({ presencePenalty: -2, frequencyPenalty: 2, logitBias: new Map([[1, -100]]) });
    expect(() => checkSampling({ logitBias: new Map([[7, Number.NaN]]) })).toThrowError(/token 7 is NaN/);
  });
});

const logits = fc
  .array(fc.float({ min: -50, max: 50, noNaN: true }), { minLength: 1, maxLength: 60 })
  .map((values) => Float32Array.from(values));

test("a log-probability is the log of the softmax, and alternatives are sorted by probability", () => {
  fc.assert(
    fc.property(logits, fc.nat(), fc.nat({ max: 70 }), (z, which, count) => {
      const exps = Array.from(z, Math.exp);
      const total = exps.reduce((a, b) => a + b, 0);
      const id = which % z.length;
      const { logprob, top, ...rest } = tokenLogprob(z, id, { top: count });
      expect(rest).toEqual({ id });
      expect(Math.exp(logprob ?? 0)).toBeCloseTo((exps[id] as number) / total, 9);
      const ranked = [...z.keys()].sort((a, b) => (z[b] as number) - (z[a] as number) || a - b);
      expect(top.map((one) => one.id)).toEqual(ranked.slice(0, count));
      for (const one of top) expect(one.logprob).toBe(tokenLogprob(z, one.id).logprob);
    }),
  );
});

test("probabilities sum to 1, also where logits are large", () => {
  fc.assert(
    fc.property(logits, fc.constantFrom(-1e4, 0, 1e4), (z, shift) => {
      const shifted = z.map((x) => x + shift);
      const { top } = tokenLogprob(shifted, 0, { top: shifted.length });
      expect(top.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0)).toBeCloseTo(1, 6);
    }),
  );
});
