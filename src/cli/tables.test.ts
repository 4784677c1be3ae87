import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { displayWidth, sideBySide, wrapText } from "./tables.ts";

describe("displayWidth", () => {
  test.each([
    ["plain", 5],
    ["灯台", 4],
    ["e\u0301", 1],
    ["🙂", 2],
    ["™", 1],
  ])("%s takes %d columns", (text, width) => expect(displayWidth(text)).toBe(width));
});

describe("wrapText", () => {
  test("breaks at spaces, keeps empty lines and indents", () => {
    expect(wrapText("The light is on.\n\n  always on", 9)).toEqual([
      "The light",
      "is on.",
      "",
      "  always",
      "  on",
    ]);
  });

  test("cuts words that are too long", () => {
    expect(wrapText("a abcdefgh", 3)).toEqual(["a", "abc", "def", "gh"]);
  });

  test("never exceeds the width nor loses a letter", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme-ascii" }), fc.integer({ min: 2, max: 30 }), (text, width) => {
        const lines = wrapText(text, width);
        for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(width);
        expect(lines.join("").replace(/\s/g, "")).toBe(text.replace(/\s/g, ""));
      }),
    );
  });
});

describe("sideBySide", () => {
  const left = { title: "base", text: "one two three" };
  const right = { title: "adapted", text: "four" };

  test("has two columns where there is room", () => {
    const [titles = "", , texts = ""] = sideBySide(left, right, 80).split("\n");
    expect(titles).toMatch(/^base {37}adapted$/);
    expect(texts).toMatch(/^one two three {28}four$/);
  });

  test("puts one after the other where there is none", () => {
    expect(sideBySide(left, right, 60)).toBe("base\n────\none two three\n\nadapted\n───────\nfour");
  });
});
