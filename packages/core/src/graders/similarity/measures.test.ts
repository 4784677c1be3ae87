import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { startCpuTimer } from "../../../../../test/cpu-time.ts";
import { MEASURES } from "./measures.ts";
import { stem } from "./porter.ts";

interface Fixture {
  readonly pairs: readonly {
    readonly text: string;
    readonly reference: string;
    readonly measures: Readonly<Record<keyof typeof MEASURES, number>>;
  }[];
  readonly stems: Readonly<Record<string, string>>;
}
/** From RapidFuzz, NLTK and rouge-score. */
const { pairs, stems } = JSON.parse(
  readFileSync(new URL("../../../../../test/fixtures/text-similarity.json", import.meta.url), "utf8"),
) as Fixture;

test.each(pairs)("$text is as similar to $reference as in Python", ({ text, reference, measures }) => {
  const ours = Object.fromEntries(
    Object.entries(MEASURES).map(([name, measure]) => [name, measure(text, reference)]),
  );
  for (const [name, value] of Object.entries(measures)) expect(ours[name], name).toBeCloseTo(value, 8);
});

test("stems are NLTK's", () => {
  expect(Object.fromEntries(Object.keys(stems).map((word) => [word, stem(word)]))).toEqual(stems);
});

test.each(Object.entries(MEASURES))("%s lies between 0 and 1", (_, measure) => {
  const words = fc
    .array(fc.constantFrom("a", "b", "ab", "c!"), { maxLength: 12 })
    .map((list) => list.join(" "));
  fc.assert(
    fc.property(words, words, (text, reference) => {
      const value = measure(text, reference);
      return value >= 0 && value <= 1;
    }),
  );
});

test("texts of the greatest length are compared in seconds at most", () => {
  const [text, reference] = ["ab".repeat(16_384), "abc".repeat(10_922)];
  const spent = startCpuTimer();
  expect(MEASURES.fuzzy_match(text, reference)).toBeCloseTo(2 / 3, 3);
  expect(spent()).toBeLessThan(5000);
});
