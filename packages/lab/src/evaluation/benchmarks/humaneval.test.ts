import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { humanEvalProgram, humaneval, passAtK } from "./humaneval.ts";

const { passAtK: vectors }: { readonly passAtK: readonly (readonly [number, number, number, number])[] } =
  JSON.parse(readFileSync("test/fixtures/scoring.json", "utf8"));

test.each(vectors)("of %i answers %i pass: pass@%i is %d", (n, c, k, expected) => {
  expect(passAtK(n, c, k)).toBeCloseTo(expected, 12);
});

test("the vectors of the rules", () => {
  expect(vectors.length).toBeGreaterThanOrEqual(30);
  expect([1, 5, 10].map((k) => Number(passAtK(20, 3, k).toFixed(6)))).toEqual([0.15, 0.600877, 0.894737]);
});

const counts = fc
  .integer({ min: 1, max: 200 })
  .chain((n) => fc.tuple(fc.constant(n), fc.nat({ max: n }), fc.integer({ min: 1, max: n })));

test("more answers that pass, and more draws, never lower it; one draw is the share that passed", () => {
  fc.assert(
    fc.property(counts, ([n, c, k]) => {
      const here = passAtK(n, c, k);
      expect(here).toBeGreaterThanOrEqual(0);
      expect(here).toBeLessThanOrEqual(1);
      expect(passAtK(n, c, 1)).toBeCloseTo(c / n, 12);
      if (c < n) expect(passAtK(n, c + 1, k)).toBeGreaterThanOrEqual(here - 1e-12);
      expect(passAtK(n, c, k + 1)).toBeGreaterThanOrEqual(here - 1e-12);
      expect(passAtK(n, 0, k)).toBe(0);
    }),
  );
});

test("it is the share of all draws that hold one that passed", () => {
  const draws = (n: number, k: number): number => (k === 0 ? 1 : (draws(n - 1, k - 1) * n) / k);
  fc.assert(
    fc.property(counts, ([n, c, k]) => {
      expect(passAtK(n, c, k)).toBeCloseTo(k > n - c ? 1 : 1 - draws(n - c, k) / draws(n, k), 9);
    }),
  );
});

test("the mean over problems, only where each has enough answers", () => {
  const problems = [
    [20, 3],
    [20, 0],
    [10, 10],
  ].map(([samples = 0, passed = 0], i) => ({
    id: `humaneval/${i}`,
    group: "humaneval",
    verdicts: Array.from({ length: samples }, (_, k) => ({ scores: { passed: Number(k < passed) } })),
  }));
  const { scores } = humaneval.summarise(problems).overall;
  expect(Object.keys(scores)).toEqual(["pass@1", "pass@5", "pass@10"]);
  expect(scores["pass@1"]).toBeCloseTo((0.15 + 0 + 1) / 3, 12);
  expect(scores["pass@10"]).toBeCloseTo((passAtK(20, 3, 10) + 0 + 1) / 3, 12);
  expect(humaneval.summarise([]).overall.scores).toEqual({});
});

test("the program of an answer keeps its leading blanks", () => {
  const answer = {
    prompt: "def f():\n",
    completion: "    return 1",
    test: "def check(g):\n    assert g() == 1\n",
  };
  expect(humanEvalProgram({ ...answer, entryPoint: "f" })).toBe(
    "def f():\n    return 1\ndef check(g):\n    assert g() == 1\n\ncheck(f)",
  );
});
