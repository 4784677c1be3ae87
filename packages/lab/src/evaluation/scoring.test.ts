import fc from "fast-check";
import { expect, test } from "vitest";
import { benchmarks } from "./benchmarks/index.ts";
import {
  meanWithError,
  normaliseAnswer,
  pairedDifferences,
  squadScores,
  summarizeScores,
} from "./scoring.ts";

const text = fc
  .array(
    fc.oneof(fc.constantFrom("a", "the", "an", "old", "Old", "city", "-", "é", "\u0301", "１"), fc.string()),
    {
      maxLength: 8,
    },
  )
  .chain((words) => fc.constantFrom("", " ", "\u2028", "\t").map((between) => words.join(between)));

test("the normal form is its own", () => {
  fc.assert(
    fc.property(text, (one) => {
      expect(normaliseAnswer(normaliseAnswer(one))).toBe(normaliseAnswer(one));
    }),
  );
});

test("both metrics are symmetric; F1 is 100 where all is equal, unless nothing is left", () => {
  fc.assert(
    fc.property(text, text, (one, other) => {
      expect(squadScores(one, [other])).toEqual(squadScores(other, [one]));
      expect(squadScores(one, [one])).toEqual({ f1: normaliseAnswer(one) === "" ? 0 : 100, exactMatch: 100 });
    }),
  );
});

test("an exact match has all of F1, unless nothing is left", () => {
  fc.assert(
    fc.property(text, fc.array(text), (one, golds) => {
      const { f1, exactMatch } = squadScores(one, golds);
      if (normaliseAnswer(one) !== "") expect(exactMatch).toBeLessThanOrEqual(f1);
      else expect(f1).toBe(0);
    }),
  );
});

test("the order of words does not matter to F1, and one more reference never harms", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("old", "city", "big", "red")), text, text, (words, gold, more) => {
      const { f1, exactMatch } = squadScores(words.join(" "), [gold]);
      expect(squadScores(words.toReversed().join(" "), [gold]).f1).toBe(f1);
      const both = squadScores(words.join(" "), [gold, more]);
      expect(both.f1).toBeGreaterThanOrEqual(f1);
      expect(both.exactMatch).toBeGreaterThanOrEqual(exactMatch);
    }),
  );
});

const answers = fc.array(fc.boolean(), { minLength: 2, maxLength: 60 });
const questions = (metric: string, values: readonly number[], group = (i: number) => `g${i % 3}`) =>
  values.map((value, i) => ({ id: `${i}`, group: group(i), verdicts: [{ scores: { [metric]: value } }] }));

test("the error of a share is that of lm-evaluation-harness: √(p (1 − p) / (n − 1))", () => {
  fc.assert(
    fc.property(answers, (right) => {
      const n = right.length;
      const p = right.filter(Boolean).length / n;
      const { scores, errors, right: counts } = summarizeScores(questions("acc", right.map(Number)));
      expect(scores["acc"]).toBeCloseTo(p, 12);
      expect(errors["acc"]).toBeCloseTo(Math.sqrt((p * (1 - p)) / (n - 1)), 12);
      expect(counts["acc"]).toBe(right.filter(Boolean).length);
    }),
  );
  // its numbers for 3 of 4 questions, and for F1s of 0, 50 and 100
  expect(meanWithError([1, 1, 1, 0]).error).toBeCloseTo(0.25, 12);
  expect(meanWithError([0, 50, 100]).error).toBeCloseTo(28.8675, 4);
  expect(meanWithError([1])).toEqual({ mean: 1, error: undefined });
});

test("paired differences: their mean is the difference of the scores, and no error where all differ alike", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat({ max: 100 }), fc.nat({ max: 100 })), { minLength: 6 }), (pairs) => {
      const [ours, theirs] = [0, 1].map((side) =>
        questions(
          "f1",
          pairs.map((pair) => pair[side] ?? 0),
        ),
      );
      const { summarise } = benchmarks.tydiqa;
      const score = (scored: ReturnType<typeof questions>) => summarise(scored).overall.scores["f1"] ?? 0;
      const paired = summarise(pairedDifferences(ours ?? [], (theirs ?? []).toReversed())).overall;
      expect(paired.scores["f1"]).toBeCloseTo(score(ours ?? []) - score(theirs ?? []), 9);
    }),
  );
  const [low, high] = [questions("f1", [10, 30, 50, 20, 40, 60]), questions("f1", [15, 35, 55, 25, 45, 65])];
  const { errors, scores } = summarizeScores(pairedDifferences(high, low));
  expect([errors["f1"], scores["f1"]]).toEqual([0, 5]);
});

test("HumanEval's difference is that of pass@1", () => {
  const problem = (id: string, passed: readonly number[]) => ({
    id,
    group: "humaneval",
    verdicts: passed.map((one) => ({ scores: { passed: one } })),
  });
  const { summarise } = benchmarks.humaneval;
  const ours = [problem("a", [1, 1, 0, 1]), problem("b", [0, 0, 0, 0])];
  const theirs = [problem("a", [0, 1, 0, 0]), problem("b", [0, 1, 0, 1])];
  const rate = (scored: typeof ours) => summarise(scored).overall.scores["pass@1"] ?? Number.NaN;
  expect(summarise(pairedDifferences(ours, theirs)).overall).toMatchObject({
    questions: 2,
    scores: { "pass@1": rate(ours) - rate(theirs) },
    errors: { "pass@1": 0.5 },
  });
});
