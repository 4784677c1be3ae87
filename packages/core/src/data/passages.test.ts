import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { startCpuTimer } from "../../../../test/cpu-time.ts";
import { countWords, splitPassages } from "./passages.ts";

const split = (text: string, maximum = 200, isMarkdown = true) =>
  splitPassages(text, { isMarkdown, fits: (part) => countWords(part) <= maximum });
const parts = (text: string, maximum?: number) =>
  split(text, maximum).map(({ headings, text: part }) => [headings.join(" > "), part]);
const dense = (text: string): string => text.replace(/\s+/g, "");

/** Documents out of the marks that matter, in any order. */
const document = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        "# ",
        "## ",
        "\n",
        "\n\n",
        "===\n",
        "---\n",
        "```\n",
        "~~~ts\n",
        "- ",
        "1. ",
        "| ",
        "> ",
      ),
      fc.constantFrom(
        " ",
        "    ",
        "\t",
        "…",
        "日本語です。",
        "A sentence. ",
        "Is it? ",
        "#tag ",
        "+++\n",
        "***",
      ),
      fc.lorem({ maxCount: 12 }),
      fc.string({ unit: "grapheme", maxLength: 6 }),
    ),
    { maxLength: 40 },
  )
  .map((marks) => marks.join(""));

describe("of any text", () => {
  test("passages together are the whole text, but for front matter and space", () => {
    fc.assert(
      fc.property(document, fc.integer({ min: 1, max: 30 }), fc.boolean(), (text, maximum, isMarkdown) => {
        const found = split(text, maximum, isMarkdown)
          .map((passage) => passage.text)
          .join("");
        if (!isMarkdown || !/^(---|\+\+\+)/.test(text)) expect(dense(found)).toBe(dense(text));
      }),
      { numRuns: 500 },
    );
  });

  test("a passage is longer than the maximum only where it is one word", () => {
    const fits = (part: string) => part.length <= 40;
    fc.assert(
      fc.property(document, (text) => {
        for (const isMarkdown of [true, false])
          for (const passage of splitPassages(text, { isMarkdown, fits }))
            if (!fits(passage.text)) expect(countWords(passage.text)).toBe(1);
      }),
      { numRuns: 500 },
    );
  });

  test("the line of a passage is where it begins", () => {
    fc.assert(
      fc.property(document, fc.integer({ min: 1, max: 30 }), (text, maximum) => {
        for (const passage of split(text, maximum)) {
          const from = text
            .split("\n")
            .slice(passage.line - 1)
            .join("\n");
          expect(from).toContain(passage.text);
          expect(from.split("\n", 1)[0]).toContain(passage.text.split("\n", 1)[0]!);
        }
      }),
      { numRuns: 300 },
    );
  });
});

test("sections with their headings, of both spellings", () => {
  const text = `Before.

# Guide #

## Install
Run it.
Twice.

## Use

It runs.

Title
over two
-----
Under it.

Other
=====
End.
`;
  expect(parts(text)).toEqual([
    ["", "Before."],
    ["Guide > Install", "# Guide #\n\n## Install\nRun it.\nTwice."],
    ["Guide > Use", "## Use\n\nIt runs."],
    ["Guide > Title over two", "Title\nover two\n-----\nUnder it."],
    ["Other", "Other\n=====\nEnd."],
  ]);
  expect(split(text).map(({ line }) => line)).toEqual([1, 3, 9, 13, 18]);
});

test("what only looks like a heading is none", () => {
  const text =
    "# Real\n\n```sh\n# comment\n\n## no heading\n```\n\n    # code\n\n#tag\n\n- item\n---\n\n| a |\n|---|\n";
  expect(split(text)).toEqual([{ line: 1, headings: ["Real"], text: text.trim() }]);
  expect(split("# a\n", 200, false)[0]?.headings).toEqual([]);
});

test("front matter is left out, and a rule at the start is not front matter", () => {
  expect(parts("---\ntitle: x\n---\n# A\nb")).toEqual([["A", "# A\nb"]]);
  expect(parts("+++\ntitle = 1\n+++\nb")).toEqual([["", "b"]]);
  expect(parts("---\n---\nb\n\n---\nc")).toEqual([["", "b\n\n---\nc"]]);
  expect(parts("---\nb")).toEqual([["", "---\nb"]]);
  expect(parts("---\n\nb\n\n---\nc")).toEqual([["", "---\n\nb\n\n---\nc"]]);
});

test("long parts are cut at paragraphs, then at sentences, lines of lists and code, and words", () => {
  expect(parts("One two.\n\nThree four.\n\nFive six.", 4)).toEqual([
    ["", "One two.\n\nThree four."],
    ["", "Five six."],
  ]);
  expect(parts("One two three.\nFour five six. Seven.", 4)).toEqual([
    ["", "One two three."],
    ["", "Four five six. Seven."],
  ]);
  expect(parts("- one two\n- three four\n- five", 6)).toEqual([
    ["", "- one two\n- three four"],
    ["", "- five"],
  ]);
  expect(parts("```\na b\n\nc d\n```\n", 3)).toEqual([
    ["", "```\na b"],
    ["", "c d\n```"],
  ]);
  expect(parts("a b c d e", 2)).toEqual([
    ["", "a b"],
    ["", "c d"],
    ["", "e"],
  ]);
  expect(parts("日本語です。次の文。", 7)).toEqual([
    ["", "日本語です。"],
    ["", "次の文。"],
  ]);
});

test("a long section keeps its heading with its first part", () => {
  expect(parts("# H\n\nOne two three. Four five six.", 5)).toEqual([
    ["H", "# H\n\nOne two three."],
    ["H", "Four five six."],
  ]);
});

test("nothing comes of an empty text", () => {
  for (const text of ["", " \n\n\t\n", "---\na: b\n---\n"]) expect(split(text)).toEqual([]);
});

test("hundreds of kilobytes of one line, of marks and of space take seconds at most", () => {
  const spent = startCpuTimer();
  for (const text of [
    " ".repeat(5e5),
    "#".repeat(5e5),
    "word ".repeat(5e4),
    `# ${" #".repeat(3e4)} x`,
    "-".repeat(3e5),
  ])
    for (const isMarkdown of [true, false]) split(text, 200, isMarkdown);
  expect(spent()).toBeLessThan(20_000);
});

test("cuts a long text without line ends into sentences, in time that grows with its length", () => {
  const text = Array.from({ length: 20_000 }, (_, i) => `Sentence ${i} is about lamps. `)
    .join("")
    .trimEnd();
  const passages = splitPassages(text, { isMarkdown: false, fits: (part) => countWords(part) <= 50 });
  expect(passages.map((passage) => passage.text).join(" ")).toBe(text);
  expect(passages.every((passage) => /^Sentence .*lamps\.$/.test(passage.text))).toBe(true);
  const long = `${"word ".repeat(5000)}end. Next one.`;
  expect(splitPassages(long, { isMarkdown: false, fits: (part) => countWords(part) <= 5001 })).toMatchObject([
    { text: long.slice(0, -10) },
    { text: "Next one." },
  ]);
});
