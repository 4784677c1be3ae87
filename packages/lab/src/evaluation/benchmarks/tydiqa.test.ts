import { loadText } from "mixture-of-shards";
import { expect, test } from "vitest";
import { cutPassage, drawExamples, drawnIndices, LANGUAGES, type TydiqaRow } from "./tydiqa.ts";

const rows = (language: string, count: number): TydiqaRow[] =>
  Array.from({ length: count }, (_, i) => ({
    id: `${language}-${i}`,
    context: "c",
    question: "q",
    answers: ["a"],
  }));
const trainSize = (name: string) => LANGUAGES.find((language) => language.name === name)?.train ?? 0;
const ids = (examples: ReturnType<typeof drawExamples>) =>
  Object.fromEntries(
    [...examples.byLanguage].map(([language, drawn]) => [language, drawn.map(({ id }) => id).join()]),
  );

test("draws the examples that Python draws from all nine train files", () => {
  expect(Object.fromEntries(drawnIndices(1))).toEqual({
    arabic: [10476],
    bengali: [456],
    english: [102],
    finnish: [6074],
    indonesian: [2253],
    korean: [501],
    russian: [1828],
    swahili: [571],
    telugu: [839],
  });
});

test("draws the same where only some train files are at hand, and lends English's to the others", () => {
  const languages = LANGUAGES.map(({ name }) => ({
    name,
    dev: rows(name, 1),
    train: ["english", "korean", "swahili"].includes(name) ? rows(name, trainSize(name)) : undefined,
  }));
  const examples = drawExamples(languages, 1);
  expect(ids(examples)).toEqual({
    arabic: "english-102",
    bengali: "english-102",
    english: "english-102",
    finnish: "english-102",
    indonesian: "english-102",
    korean: "korean-501",
    russian: "english-102",
    swahili: "swahili-571",
    telugu: "english-102",
  });
  expect(examples.notes).toEqual([
    "arabic, bengali, finnish, indonesian, russian, telugu: too few training questions of their own, so their prompts use the examples of english",
  ]);
});

test("a part of a train file, or none at all", () => {
  const korean = { name: "korean", dev: rows("korean", 1), train: rows("korean", 10) } as const;
  const arabic = { name: "arabic", dev: rows("arabic", 1), train: undefined } as const;
  const examples = drawExamples([arabic, korean], 2);
  expect(ids(examples)).toEqual({ arabic: "korean-1,korean-0", korean: "korean-1,korean-0" });
  expect(examples.notes).toHaveLength(2);
  expect(() => drawExamples([arabic], 1)).toThrow(
    expect.objectContaining({
      code: "not_found",
      message: expect.stringMatching(/english-train\.json, or use 0 shots/),
    }),
  );
  expect(drawExamples([arabic], 0)).toEqual({ byLanguage: new Map(), notes: [] });
});

test("a passage is cut to 512 ids, a tokenizer's first among them, which is then read", async () => {
  const { tokenizer } = await loadText("assets/tiny-english");
  const first = tokenizer.bosToken ?? -1;
  const withFirst = {
    ...tokenizer,
    encode: (text: string, { addSpecialTokens = true } = {}) => [
      ...(addSpecialTokens ? [first] : []),
      ...tokenizer.encode(text, { addSpecialTokens: false }),
    ],
  };
  const long = "the cat sat on the mat, and ".repeat(200);
  const cut = cutPassage(long, tokenizer);
  expect(tokenizer.encode(cut)).toHaveLength(512);
  expect(long.startsWith(cut)).toBe(true);
  const marked = cutPassage(long, withFirst);
  const mark = tokenizer.idToToken(first) ?? "";
  expect(marked.startsWith(`${mark}the cat`)).toBe(true);
  expect(tokenizer.encode(marked.slice(mark.length))).toHaveLength(511);
  expect(cutPassage("short", withFirst)).toBe("short");
});
