import fc from "fast-check";
import { expect, test } from "vitest";
import { findTurns } from "./preview.ts";

const chat = (...contents: readonly string[]) => ({
  kind: "chat" as const,
  line: 1,
  turns: contents.map((content, i) => ({
    role: i % 2 === 0 ? ("user" as const) : ("assistant" as const),
    content,
    isTarget: i % 2 === 1,
  })),
});
/** Tokens, of which those with an asterisk are trained. */
const tokens = (...texts: readonly string[]) =>
  texts.map((text) => ({ text: text.replace("*", ""), isTrained: text.startsWith("*") }));

test("short messages are not mistaken for letters of the format", () => {
  const shown = tokens(
    "<|im_start|>",
    "user",
    "\n",
    "e",
    "<|im_end|>",
    "<|im_start|>",
    "assistant",
    "\n",
    "*d",
    "*<|im_end|>",
  );
  expect(findTurns(chat("e", "d"), shown)).toEqual([
    { role: "user", start: 3, end: 4 },
    { role: "assistant", start: 8, end: 9 },
  ]);
});

const joined = (shown: readonly { readonly text: string }[]): string =>
  shown.map(({ text }) => text).join("");

test("messages are found in their order, also where they say the same", () => {
  const shown = tokens("<|user|>", "A", " cat", "<|end|>", "<|assistant|>", "*A", "* cat", "*<|end|>");
  expect(findTurns(chat("A cat", "A cat"), shown)).toEqual([
    { role: "user", start: 1, end: 3 },
    { role: "assistant", start: 5, end: 7 },
  ]);
});

test("a message that is cut off ends with the text, and what comes after it is not there", () => {
  const shown = tokens("<s>", "Where is", " the light");
  expect(findTurns(chat("Where is the lighthouse?", "There."), shown)).toEqual([
    { role: "user", start: 1, end: 3 },
  ]);
});

test("a message that the format writes otherwise is left out", () => {
  expect(findTurns(chat("a < b", "yes"), tokens("a &lt; b", "|", "*yes"))).toEqual([
    { role: "assistant", start: 2, end: 3 },
  ]);
});

test("the bytes of a character that several tokens have belong to the message that has it", () => {
  const shown = tokens("<|x|>", "", "", "😀", "!", "\n", "*", "*é", "*\n");
  expect(findTurns(chat("😀!", "é"), shown)).toEqual([
    { role: "user", start: 1, end: 5 },
    { role: "assistant", start: 6, end: 8 },
  ]);
});

test("a prompt and its completion; a text has no messages", () => {
  const shown = tokens("one", "* two", "*</s>");
  const place = { line: 1 };
  expect(findTurns({ kind: "completion", prompt: "one", completion: " two", ...place }, shown)).toEqual([
    { role: "prompt", start: 0, end: 1 },
    { role: "completion", start: 1, end: 2 },
  ]);
  expect(findTurns({ kind: "text", text: "one two", ...place }, shown)).toEqual([]);
});

test("however a text is cut into tokens, a message's tokens have its content", () => {
  // each content is there once: of several places the one that suits is taken
  const contents = fc
    .array(fc.string({ minLength: 1, maxLength: 30 }), { minLength: 1, maxLength: 5 })
    .map((texts) => texts.map((text, i) => `#${i}${text.replaceAll(/[#*]/g, "")}.`));
  fc.assert(
    fc.property(contents, fc.integer({ min: 1, max: 9 }), (said, size) => {
      const text = said.map((one) => `<|x|>${one}\n`).join("");
      const shown = tokens(...(text.match(new RegExp(`[^]{1,${size}}`, "g")) ?? []));
      const turns = findTurns(chat(...said), shown);
      expect(turns).toHaveLength(said.length);
      for (const [i, { start, end }] of turns.entries())
        expect(joined(shown.slice(start, end))).toContain(said[i]);
    }),
  );
});
