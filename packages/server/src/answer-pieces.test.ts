// A thousand answers, cut at every token and at every byte: the stream's sum is the whole answer, and no tag of a call is text.

import { randomStream } from "mixture-of-shards-core/common";
import type { EngineEvent } from "mixture-of-shards-core/inference";
import {
  type AnswerFormat,
  answerFormat,
  createDetokenizer,
  type LoadedText,
  loadTextFromFolder,
  type Tool,
} from "mixture-of-shards-core/text";
import { beforeAll, expect, test } from "vitest";
import { runs } from "../../../test/runs.ts";
import { ChatWriter } from "./chat-writer.ts";

const ANSWERS = runs(1000);
const tools: readonly Tool[] = [
  {
    type: "function",
    name: "rain",
    parameters: { type: "object", properties: { city: { type: "string" } } },
  },
  { type: "function", name: "now" },
  { type: "custom", name: "note" },
];
const usage = {
  promptTokens: 1,
  cachedTokens: 0,
  completionTokens: 1,
  queuedSeconds: 0,
  firstTokenSeconds: 0,
};

let text: LoadedText;
let format: AnswerFormat;
beforeAll(async () => {
  text = await loadTextFromFolder("assets/tiny-english");
  format = answerFormat(text, { tools }, "");
});

/** Answers as models write them, some of them cut. Throughout, texts that only look like the beginning of a call. */
function writeAnswer(seed: number): string {
  const random = randomStream(seed, "answer");
  const pick = <T>(...from: readonly T[]): T => from[Math.floor(random.uniform() * from.length)] as T;
  const words = () =>
    pick("Let me see.", "", "a < b", "<tool> <tool_cal", "Grüße 🎉\n", "{}", "It is <b>dry</b>.");
  const city = () => pick("Oslo", "Zürich", 'a "b"', "</tool_call>", "🏔\\n", '{"x": [1]}');
  const call = () =>
    pick(
      `{"name": "rain", "arguments": ${JSON.stringify({ city: city() }).replace(":", ": ")}}`,
      '{"name": "now", "arguments": {}}',
      `{"name": "note", "arguments": {"input": ${JSON.stringify(city())}}}`,
    );
  const calls = Array.from({ length: pick(0, 1, 1, 2, 3) }, () => `<tool_call>\n${call()}\n</tool_call>`);
  const whole = [words(), ...calls].filter((part) => part !== "").join("\n");
  const characters = [...whole];
  const length =
    random.uniform() < 0.2 ? Math.floor(random.uniform() * characters.length) : characters.length;
  return characters.slice(0, length).join("");
}

const makeWriter = (): ChatWriter =>
  new ChatWriter({
    index: 0,
    tokenizer: text.tokenizer,
    parser: format.parser(),
    withLogprobs: false,
    mayCall: true,
    isNamed: false,
    isLegacy: false,
  });

function* tell(pieces: readonly string[]): Generator<EngineEvent, void> {
  yield { type: "scheduled", digest: null };
  for (const piece of pieces) yield { type: "token", id: 0, text: piece };
  yield { type: "finish", finishReason: "end", text: "", usage };
}

// biome-ignore lint/suspicious/noExplicitAny: answers of any shape
type Json = any;

interface Said {
  readonly content: string;
  readonly calls: readonly string[];
  readonly finish: string;
}

function whole(pieces: readonly string[]): Said {
  const writer = makeWriter();
  for (const event of tell(pieces)) writer.add(event);
  const { message, finish_reason }: Json = JSON.parse([...writer.toJson()()].join(""));
  const calls = (message.tool_calls ?? []).map(
    ({ function: called, custom }: Json) =>
      `${(called ?? custom).name}(${called?.arguments ?? custom.input})`,
  );
  return { content: message.content ?? "", calls, finish: finish_reason };
}

function streamed(pieces: readonly string[]): Said {
  const writer = makeWriter();
  const chunks: Json[] = [...tell(pieces)].flatMap((event) => writer.stream(event));
  const calls: { name: string; text: string }[] = [];
  for (const { index, ...part } of chunks.flatMap(({ delta }) => delta.tool_calls ?? [])) {
    const called = part.function ?? part.custom;
    calls[index] ??= { name: called.name, text: "" };
    calls[index].text += called.arguments ?? called.input;
  }
  return {
    content: chunks.map(({ delta }) => delta.content ?? "").join(""),
    calls: calls.map((one) => `${one.name}(${one.text})`),
    finish: chunks.at(-1).finish_reason,
  };
}

/** The text of each token, and of each byte, as a detokenizer gives it: never half a character. */
function piecesOf(answer: string): readonly (readonly string[])[] {
  const detokenizer = createDetokenizer(text.tokenizer, { continues: true });
  const ids = text.tokenizer.encode(answer, { addSpecialTokens: false });
  const tokens = [...ids.map((id) => detokenizer.push(id)), detokenizer.flush()];
  const decoder = new TextDecoder();
  const bytes = [...new TextEncoder().encode(answer)].map((byte) =>
    decoder.decode(Uint8Array.of(byte), { stream: true }),
  );
  return [tokens, bytes];
}

test("of random answers the stream's sum is the whole, at every token and every byte", () => {
  let calls = 0;
  for (let seed = 0; seed < ANSWERS; seed++) {
    const answer = writeAnswer(seed);
    const expected = whole([answer]);
    calls += expected.calls.length;
    expect(expected.content).not.toContain("<tool_call>");
    for (const pieces of piecesOf(answer)) {
      expect(pieces.join("")).toBe(answer);
      expect(streamed(pieces), answer).toEqual(expected);
      expect(whole(pieces), answer).toEqual(expected);
    }
  }
  expect(calls).toBeGreaterThan(ANSWERS);
});

test("it is so for each place at which an answer is cut in two", () => {
  for (let seed = 0; seed < runs(100); seed++) {
    const answer = writeAnswer(seed);
    const expected = whole([answer]);
    const said = JSON.stringify(expected);
    const characters = [...answer];
    for (let at = 1; at < characters.length; at++) {
      const pieces = [characters.slice(0, at).join(""), characters.slice(at).join("")];
      // as text, since ten thousand deep comparisons take seconds
      if (JSON.stringify(streamed(pieces)) !== said) expect(streamed(pieces), answer).toEqual(expected);
    }
  }
});
