import fc from "fast-check";
import { expect, test } from "vitest";
import { tokenLogprob } from "./sampler.ts";

const logits = fc
  .array(fc.float({ min: -50, max: 50, noNaN: true }), { minLength: 1, maxLength: 60 })
  .map((values) => Float32Array.from(values));

test("a log-probability is the log of the softmax, and alternatives are sorted by probability", () => {
  fc.assert(
    fc.property(logits, fc.nat(), fc.nat({ max: 70 }), (z, which, count) => {
      const exps = Array.from(z, Math.exp);
      const total = exps.reduce((a, b) => a + b, 0);
      const id = which % z.length;
      const { logprob, top, ...rest } = tokenLogprob(z, id, count);
      expect(rest).toEqual({ id });
      expect(Math.exp(logprob ?? 0)).toBeCloseTo((exps[id] as number) / total, 9);
      const ranked = [...z.keys()].sort((a, b) => (z[b] as number) - (z[a] as number) || a - b);
      expect(top.map((one) => one.id)).toEqual(ranked.slice(0, count));
      for (const one of top) expect(one.logprob).toBe(tokenLogprob(z, one.id, 0).logprob);
    }),
  );
});

test("probabilities sum to 1, also where logits are large", () => {
  fc.assert(
    fc.property(logits, fc.constantFrom(-1e4, 0, 1e4), (z, shift) => {
      const shifted = z.map((x) => x + shift);
      const { top } = tokenLogprob(shifted, 0, shifted.length);
      expect(top.reduce((sum, { logprob }) => sum + Math.exp(logprob), 0)).toBeCloseTo(1, 6);
    }),
  );
});
