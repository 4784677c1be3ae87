import { expect, test } from "vitest";
import { pythonStrip } from "./python-strip.ts";

// results of Python 3.12
test.each([
  ["strip", undefined, " \t\u001c\u0085 a b \n\u3000", "a b"],
  ["strip", undefined, "\ufeff a \ufeff", "\ufeff a \ufeff"],
  ["lstrip", "\n", "\n a \n", " a \n"],
  ["rstrip", "\n", "\n a \n\n", "\n a "],
  ["strip", "ba", "abcab", "c"],
  ["strip", "", " a ", " a "],
  ["strip", "🦊", "🦊🦁🦊", "🦁"],
  ["rstrip", "a", "aaa", ""],
] as const)("%s(%j) of %j", (side, chars, text, expected) => {
  expect(pythonStrip(text, { side, chars })).toBe(expected);
});
