import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  breakLines,
  commandText,
  displayWidth,
  labelled,
  sideBySide,
  textTable,
  wrapText,
} from "./tables.ts";

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

const word = fc.string({ unit: fc.constantFrom(..."abcxyz0189.,·±–灯"), minLength: 1, maxLength: 16 });
const sentence = fc.array(word, { minLength: 1, maxLength: 30 }).map((words) => words.join(" "));
const columns = fc.integer({ min: 40, max: 200 });
const splitWords = (text: string): readonly string[] => text.split(/\s+/).filter((found) => found !== "");
const expectFits = (text: string, width: number): void => {
  for (const line of text.split("\n")) expect(displayWidth(line), line).toBeLessThanOrEqual(width);
};

describe("at any width from 40 columns on, lines fit and words are whole", () => {
  test("of a text", () => {
    fc.assert(
      fc.property(fc.array(sentence), columns, (lines, width) => {
        const text = breakLines(lines.join("\n"), width);
        expectFits(text, width);
        expect(splitWords(text)).toEqual(lines.flatMap(splitWords));
      }),
    );
  });

  test("of rows with labels", () => {
    const rows = fc.array(fc.tuple(word, sentence), { minLength: 1, maxLength: 8 });
    fc.assert(
      fc.property(rows, columns, (some, width) => {
        const text = labelled(some, width);
        expectFits(text, width);
        expect(splitWords(text)).toEqual(some.flatMap(([label, row]) => [label, ...splitWords(row)]));
      }),
    );
  });

  test("of tables, of which no cell is lost", () => {
    const table = fc
      .tuple(fc.integer({ min: 1, max: 9 }), fc.integer({ min: 1, max: 5 }))
      .chain(([across, down]) =>
        fc.array(fc.array(word, { minLength: across, maxLength: across }), {
          minLength: down,
          maxLength: down,
        }),
      );
    fc.assert(
      fc.property(table, columns, (rows, width) => {
        const text = textTable(rows, { columns: width });
        expectFits(text, width);
        const found = new Set(splitWords(text));
        for (const cell of rows.flat()) expect(found).toContain(cell);
        // a line holds cells of one row, and begins with the first of it
        for (const [i, line] of text.split("\n\n").flatMap((block) => [...block.split("\n").entries()]))
          expect(splitWords(line)[0]).toBe(rows[i]?.[0]);
      }),
    );
  });

  test("of commands, which a shell takes as one", () => {
    const words = fc.array(
      fc.oneof(
        word,
        sentence.map((text) => `"${text.slice(0, 25)}"`),
      ),
      { minLength: 1 },
    );
    fc.assert(
      fc.property(words, columns, (some, width) => {
        const text = commandText(some.join(" "), width);
        expectFits(text, width);
        expect(text.replaceAll("\\\n", "").trim().split(/\s+/)).toEqual(splitWords(some.join(" ")));
        for (const line of text.split("\n").slice(0, -1)) expect(line).toMatch(/ \\$/);
      }),
    );
  });
});

test("a word that is too long stays whole, and goes beyond", () => {
  const path = `/a/${"long/".repeat(20)}path`;
  expect(breakLines(`see ${path} there`, 40)).toBe(`see\n${path}\nthere`);
  expect(commandText(`mos generate --model ${path} --chat`, 40)).toContain(path);
});

test("a wide table becomes several with the same first column; in a file it stays one", () => {
  const rows = [
    ["task", "mmlu average_acc", "bbh average_exact_match"],
    ["base", "41.53 ± 0.42", "33.43 ± 0.55"],
  ];
  expect(textTable(rows, { columns: 40 })).toBe(
    "task  mmlu average_acc\nbase      41.53 ± 0.42\n\ntask  bbh average_exact_match\nbase             33.43 ± 0.55",
  );
  expect(textTable(rows, { columns: Number.POSITIVE_INFINITY }).split("\n")).toHaveLength(2);
});

test("colours take no columns", () => {
  expect(displayWidth("\u001b[31mred\u001b[39m")).toBe(3);
  expect(breakLines("\u001b[31mno room\u001b[39m here", 12)).toBe("\u001b[31mno room\u001b[39m here");
});
