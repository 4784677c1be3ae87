import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import {
  breakColumns,
  breakLines,
  commandText,
  displayWidth,
  formatBar,
  formatDuration,
  formatInteger,
  formatRate,
  hasColour,
  isTerminal,
  labelled,
  paint,
  sideBySide,
  terminalColumns,
  textTable,
  wrapText,
} from "./format.ts";

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

test("a column that is too wide beside the first is wrapped there, not put into a block of its own", () => {
  expect(textTable([["ab", "one two three"]], { columns: 12 })).toBe("ab\n  one two\n  three");
});

test("colours take no columns", () => {
  expect(displayWidth("\u001b[31mred\u001b[39m")).toBe(3);
  expect(breakLines("\u001b[31mno room\u001b[39m here", 12)).toBe("\u001b[31mno room\u001b[39m here");
});

const terminal = { isTTY: true };
const pipe = {};

afterEach(() => vi.unstubAllEnvs());

test("a terminal shows colour, a pipe does not", () => {
  expect([hasColour(terminal, {}), hasColour(pipe, {})]).toEqual([true, false]);
  expect([isTerminal(terminal, {}), isTerminal(pipe, {})]).toEqual([true, false]);
});

test("NO_COLOR takes colours away and leaves the cursor; TERM=dumb takes both", () => {
  expect(hasColour(terminal, { NO_COLOR: "1" })).toBe(false);
  expect(hasColour(terminal, { NO_COLOR: "1", FORCE_COLOR: "1" })).toBe(false);
  expect(hasColour(terminal, { NO_COLOR: "" })).toBe(true); // an empty one counts as not set
  expect(isTerminal(terminal, { NO_COLOR: "1" })).toBe(true);
  expect(hasColour(terminal, { TERM: "dumb", FORCE_COLOR: "1" })).toBe(false);
  expect(isTerminal(terminal, { TERM: "dumb" })).toBe(false);
});

test("FORCE_COLOR has a pipe show colour, 0 takes it from a terminal; neither is about the cursor", () => {
  for (const forced of ["", "1", "3", "true"]) expect(hasColour(pipe, { FORCE_COLOR: forced })).toBe(true);
  for (const forced of ["0", "false"]) expect(hasColour(terminal, { FORCE_COLOR: forced })).toBe(false);
  expect(isTerminal(pipe, { FORCE_COLOR: "1" })).toBe(false);
});

test("text is painted for its own stream only", () => {
  for (const name of ["NO_COLOR", "FORCE_COLOR", "TERM"]) vi.stubEnv(name, undefined);
  expect(paint("red", "no", terminal)).toBe("\u001b[31mno\u001b[39m");
  expect(paint(["bold", "cyan"], "a", terminal)).toBe("\u001b[1m\u001b[36ma\u001b[39m\u001b[22m");
  expect(paint("dim", "", terminal)).toBe("");
  expect(paint("red", "no", pipe)).toBe("no");
  vi.stubEnv("NO_COLOR", "1");
  expect(paint("red", "no", terminal)).toBe("no");
});

test("columns are the terminal's own, then COLUMNS, then 80; in a pipe lines are not broken", () => {
  expect(terminalColumns({ isTTY: true, columns: 60 }, { COLUMNS: "100" })).toBe(60);
  expect(terminalColumns({ isTTY: true, columns: 0 }, { COLUMNS: "100" })).toBe(100);
  for (const bad of ["", "x", "-5", "0", undefined])
    expect(terminalColumns({ columns: 0 }, { COLUMNS: bad })).toBe(80);
  expect(breakColumns({ isTTY: true, columns: 60 })).toBe(60);
  expect(breakColumns({ columns: 60 })).toBe(Number.POSITIVE_INFINITY);
});

test.each([
  [0, "0.0 s"],
  [0.42, "0.42 s"],
  [9.94, "9.9 s"],
  [9.96, "10 s"],
  [59.6, "1 min 00 s"],
  [185, "3 min 05 s"],
  [3599.7, "1 h 00 min"],
  [7620, "2 h 07 min"],
  [86_399, "1 d 00 h"],
  [273_600, "3 d 04 h"],
  [-1, "?"],
  [Number.POSITIVE_INFINITY, "?"],
])("formatDuration(%d) is %s", (seconds, text) => expect(formatDuration(seconds)).toBe(text));

test("counts, rates and bars", () => {
  expect(formatInteger(4_815_162)).toBe("4,815,162");
  expect(formatRate(1240, "tokens")).toBe("1.24 k tokens/s");
  expect(formatRate(12.345, "tokens")).toBe("12.3 tokens/s");
  expect(formatRate(3e6, "bytes")).toBe("3.00 MB/s");
  expect(formatRate(Number.NaN, "tokens")).toBe("? tokens/s");
  expect(formatBar(0.5, 10)).toBe("#####-----");
  expect(formatBar(0.999, 10)).toBe("#########-");
  expect(formatBar(7, 4)).toBe("####");
  expect(formatBar(Number.NaN, 4)).toBe("----");
});
