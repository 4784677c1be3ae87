import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Random, randomStream } from "#common";
import { runs } from "../../../../test/runs.ts";
import { tokenLogprob } from "./logprobs.ts";
import { type AllowedTokens, sample } from "./sampler.ts";
import type { SamplingOptions } from "./types.ts";

/** A stream whose next uniform number is this one. */
const fixed = (value: number): Random => ({ ...randomStream(0, "fixed"), uniform: () => value });

/** The ids of a list, of a vocabulary of so many. */
function only(ids: readonly number[], size: number): AllowedTokens {
  const words = new Uint32Array(Math.ceil(size / 32));
  for (const id of ids) words[id >>> 5] = (words[id >>> 5] ?? 0) | (1 << (id & 31));
  return { allows: (id) => ids.includes(id), mask: () => ({ words, count: ids.length }) };
}

const cases = fc.integer({ min: 1, max: 150 }).chain((size) =>
  fc.record({
    logits: fc
      .array(fc.integer({ min: -40, max: 40 }), { minLength: size, maxLength: size })
      .map((values) => Float32Array.from(values, (z) => z / 8)),
    ids: fc.uniqueArray(fc.nat({ max: size - 1 }), { minLength: 1 }).map((all) => all.sort((a, b) => a - b)),
  }),
);
const options = fc.record({
  temperature: fc.constantFrom(0, 0.3, 1, 2),
  topK: fc.constantFrom(0, 0, 1, 3, 20),
  topP: fc.constantFrom(1, 1, 0.5, 0.9),
  minP: fc.constantFrom(0, 0, 0.1),
  repetitionPenalty: fc.constantFrom(1, 1, 1.5),
  logitBias: fc
    .array(fc.tuple(fc.nat({ max: 149 }), fc.integer({ min: -5, max: 5 })), { maxLength: 3 })
    .map((entries) => new Map(entries)),
});

describe("of the tokens that a grammar allows", () => {
  test("one is chosen as a model would that gives all others no probability", () => {
    fc.assert(
      fc.property(cases, options, fc.double({ min: 0, max: 0.999, noNaN: true }), (given, settings, at) => {
        const { logits, ids } = given;
        const state = { seen: ids.slice(0, 2), random: fixed(at) };
        const before = logits.slice();
        const chosen = sample(logits, { ...settings, ...state, allowed: only(ids, logits.length) });
        // the same choice in a vocabulary of the allowed tokens alone
        const few = Float32Array.from(ids, (id) => logits[id] as number);
        const bias = [...settings.logitBias].map(([id, value]) => [ids.indexOf(id), value] as const);
        const logitBias = new Map(bias.filter(([id]) => id >= 0));
        const expected = sample(few, { ...settings, seen: [0, 1], random: fixed(at), logitBias });
        expect(chosen).toBe(ids[expected]);
        expect(logits).toEqual(before);
      }),
      { numRuns: runs(1000) },
    );
  });

  test("the likeliest of all is taken without a mask, where it is one of them", () => {
    const logits = Float32Array.of(1, 5, 3);
    const mask = () => expect.unreachable("a mask was computed");
    const greedy = { seen: [], random: fixed(0) };
    expect(sample(logits, { ...greedy, allowed: { allows: (id) => id === 1, mask } })).toBe(1);
    const logitBias = new Map([[2, 4]]);
    expect(sample(logits, { ...greedy, logitBias, allowed: { allows: (id) => id === 2, mask } })).toBe(2);
  });

  test("a barred one is chosen where there is no other", () => {
    const draw = (ids: readonly number[], temperature: number): number =>
      sample(Float32Array.of(9, 1, 1), {
        temperature,
        seen: [],
        random: fixed(0.5),
        barred: [0],
        allowed: only(ids, 3),
      });
    for (const temperature of [0, 1]) {
      expect(draw([0, 2], temperature)).toBe(2);
      expect(draw([0], temperature)).toBe(0);
    }
  });

  test("there must be one", () => {
    for (const temperature of [0, 1]) {
      const logits = Float32Array.of(1, 2);
      const given: SamplingOptions = { temperature, logitBias: new Map([[0, 5]]) };
      const choose = () => sample(logits, { ...given, seen: [], random: fixed(0), allowed: only([], 2) });
      expect(choose).toThrowError(expect.objectContaining({ code: "unsupported" }));
      expect([...logits]).toEqual([1, 2]);
    }
  });

  test("log-probabilities are those among all", () => {
    const logits = Float32Array.of(3, 1, 1);
    const id = sample(logits, { seen: [], random: fixed(0), allowed: only([1], 3) });
    expect(id).toBe(1);
    expect(tokenLogprob(logits, id).logprob).toBeCloseTo(1 - Math.log(Math.exp(3) + 2 * Math.E), 6);
  });
});
