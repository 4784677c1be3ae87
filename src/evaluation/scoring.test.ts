import fc from "fast-check";
import { expect, test } from "vitest";
import { normaliseAnswer, squadScores } from "./scoring.ts";

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
