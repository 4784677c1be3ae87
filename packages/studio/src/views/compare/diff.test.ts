import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type DiffPart, diffWords } from "./diff.ts";

const without = (parts: readonly DiffPart[], kind: DiffPart["kind"]): string =>
  parts.flatMap((part) => (part.kind === kind ? [] : [part.text])).join("");

describe("the difference of two texts", () => {
  test("marks words", () => {
    expect(diffWords("The cat sat down.", "The dog sat down!")).toEqual([
      { kind: "same", text: "The " },
      { kind: "removed", text: "cat" },
      { kind: "added", text: "dog" },
      { kind: "same", text: " sat down" },
      { kind: "removed", text: "." },
      { kind: "added", text: "!" },
    ]);
    expect(diffWords("same", "same")).toEqual([{ kind: "same", text: "same" }]);
    expect(diffWords("red cat sat", "big dog sat").map((part) => part.text)).toEqual([
      "red cat",
      "big dog",
      " sat",
    ]);
    expect(diffWords("我爱北京。", "我爱上海。").map((part) => part.text)).toEqual([
      "我爱",
      "北京",
      "上海",
      "。",
    ]);
    expect(diffWords("", "")).toEqual([]);
    expect(diffWords("", "new")).toEqual([{ kind: "added", text: "new" }]);
  });

  test("holds both texts", () => {
    const text = fc.oneof(
      fc.string({ unit: "grapheme", maxLength: 60 }),
      fc.array(fc.constantFrom("a", "b", "c", " ", ". "), { maxLength: 60 }).map((words) => words.join("")),
    );
    fc.assert(
      fc.property(text, text, (a, b) => {
        const parts = diffWords(a, b);
        expect(without(parts, "removed")).toBe(b);
        expect(without(parts, "added")).toBe(a);
        expect(parts.every((part) => part.text !== "")).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });

  test("is the shortest", () => {
    const words = fc.array(fc.constantFrom("a", "b", "c"), { maxLength: 9 });
    fc.assert(
      fc.property(words, words, (a, b) => {
        const size = (kind: DiffPart["kind"]): number =>
          diffWords(a.join(","), b.join(",")).reduce(
            (sum, part) => sum + (part.kind === kind ? part.text.length : 0),
            0,
          );
        expect(size("same")).toBe(longestCommon([...a.join(",")], [...b.join(",")]));
      }),
    );
  });

  test("of long texts with nothing in common is one block for another, and quick", () => {
    const long = (word: string): string => Array.from({ length: 20_000 }, (_, i) => `${word}${i}`).join(" ");
    const parts = diffWords(long("a"), long("b"));
    expect(without(parts, "removed")).toBe(long("b"));
    expect(parts.length).toBeLessThan(5);
  });
});

/** Length of the longest common subsequence. */
function longestCommon(a: readonly string[], b: readonly string[]): number {
  const lengths = Array.from({ length: a.length + 1 }, () => new Array<number>(b.length + 1).fill(0));
  for (let i = 1; i <= a.length; i++)
    for (let j = 1; j <= b.length; j++)
      lengths[i]![j] =
        a[i - 1] === b[j - 1]
          ? lengths[i - 1]![j - 1]! + 1
          : Math.max(lengths[i - 1]![j]!, lengths[i]![j - 1]!);
  return lengths[a.length]![b.length]!;
}
