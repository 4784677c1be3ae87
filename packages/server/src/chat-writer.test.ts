// Whole and streamed answers of a chat say the same, however the answer's text is cut into tokens.
import fc from "fast-check";
import type { EngineEvent } from "mixture-of-shards-core/inference";
import type { AnswerDelta, AnswerParser } from "mixture-of-shards-core/text";
import { describe, expect, test } from "vitest";
import { ChatWriter } from "./chat-writer.ts";

type Options = ConstructorParameters<typeof ChatWriter>[0];

/** A token is one character here. */
const tokenizer = {
  idToBytes: (id: number) => new TextEncoder().encode(String.fromCodePoint(id)),
  isSpecial: () => false,
  strippedBlanks: 0,
};

/**
 * Reads a small language in place of a family's: `(…)` is reasoning, `[name:…]` a call, `{name:…}` a custom one; the rest is text. It
 * holds back what may begin a call.
 */
function toyParser(): AnswerParser {
  let state: "text" | "reasoning" | "name" | "arguments" = "text";
  let [name, close, index] = ["", "", -1];
  const readText = (character: string): readonly AnswerDelta[] => {
    if (!"([{".includes(character)) return [{ type: "text", text: character }];
    state = character === "(" ? "reasoning" : "name";
    if (state === "name") index++;
    [name, close] = ["", character === "[" ? "]" : "}"];
    return [];
  };
  const readName = (character: string): readonly AnswerDelta[] => {
    if (character !== ":") name += character;
    else state = "arguments";
    const kind = close === "]" ? "function" : "custom";
    return state === "name" ? [] : [{ type: "call", index, kind, name }];
  };
  const until =
    (end: string, last: readonly AnswerDelta[], piece: (text: string) => AnswerDelta) => (one: string) => {
      if (one !== end) return [piece(one)];
      state = "text";
      return last;
    };
  const read = (character: string): readonly AnswerDelta[] =>
    ({
      text: readText,
      reasoning: until(")", [], (text) => ({ type: "reasoning", text })),
      name: readName,
      arguments: until(close, [{ type: "call_end", index }], (text) => ({ type: "arguments", index, text })),
    })[state](character);
  return {
    push: (text) => [...text].flatMap(read),
    finish: () => (state === "arguments" ? [{ type: "call_end", index, isCut: true }] : []),
  };
}

const usage = {
  promptTokens: 1,
  cachedTokens: 0,
  completionTokens: 1,
  queuedSeconds: 0,
  firstTokenSeconds: 0,
};

interface Telling {
  readonly finishReason?: "end" | "stop" | "length";
  /** Characters of each token in turn. */
  readonly sizes?: readonly number[];
  readonly withLogprobs?: boolean;
}

/** The events of an answer with this text. */
function tell(
  text: string,
  { finishReason = "end", sizes = [1], withLogprobs = false }: Telling = {},
): readonly EngineEvent[] {
  const events: EngineEvent[] = [{ type: "scheduled", digest: null }];
  const characters = [...text];
  for (let i = 0; characters.length > 0; i++) {
    const piece = characters.splice(0, Math.max(1, sizes[i % sizes.length] ?? 1)).join("");
    const id = piece.codePointAt(0) ?? 0;
    const logprobs = { logprobs: Float64Array.of(id, -1) };
    events.push({ type: "token", id, text: piece, ...(withLogprobs ? logprobs : {}) });
  }
  return [...events, { type: "finish", finishReason, text: "", usage }];
}

const makeWriter = (more: Partial<Options> = {}): ChatWriter =>
  new ChatWriter({
    index: 0,
    tokenizer,
    parser: toyParser(),
    withLogprobs: false,
    mayCall: true,
    isNamed: false,
    isLegacy: false,
    ...more,
  });

// biome-ignore lint/suspicious/noExplicitAny: answers of any shape
type Choice = any;

function whole(events: readonly EngineEvent[], more: Partial<Options> = {}): Choice {
  const writer = makeWriter(more);
  for (const event of events) writer.add(event);
  return JSON.parse([...writer.toJson()()].join(""));
}

/** Sums the chunks of a stream as clients do. */
function streamed(events: readonly EngineEvent[], more: Partial<Options> = {}): Choice {
  const writer = makeWriter(more);
  const chunks = events
    .flatMap((event) => writer.stream(event))
    .map((chunk) => JSON.parse(JSON.stringify(chunk)));
  return sum(chunks);
}

function sum(chunks: readonly Choice[]): Choice {
  const [first, ...rest] = chunks;
  const message = { ...first.delta };
  let logprobs = first.logprobs;
  for (const { delta, ...chunk } of rest) {
    merge(message, delta);
    if (chunk.logprobs !== null)
      logprobs = { ...logprobs, content: [...logprobs.content, ...chunk.logprobs.content] };
  }
  return { index: first.index, message, logprobs, finish_reason: rest.at(-1).finish_reason };
}

function merge(message: Choice, delta: Choice): void {
  for (const name of ["content", "reasoning_content"])
    if (typeof delta[name] === "string") message[name] = (message[name] ?? "") + delta[name];
  if (delta.tool_calls !== undefined) message.tool_calls ??= [];
  for (const call of delta.tool_calls ?? []) mergeCall(message.tool_calls, call);
  if (delta.function_call === undefined) return;
  const { name, arguments: text } = delta.function_call;
  message.function_call ??= { name, arguments: "" };
  message.function_call.arguments += text;
}

/** Ids, types and names come once, with the first chunk of a call. */
function mergeCall(calls: Choice[], { index, ...part }: Choice): void {
  const known = calls[index];
  if (known === undefined) {
    expect(Object.keys(part).slice(0, 2)).toEqual(["id", "type"]);
    expect(part[part.type]).toEqual({
      name: expect.any(String),
      [part.type === "custom" ? "input" : "arguments"]: "",
    });
    calls[index] = part;
    return;
  }
  expect(Object.keys(part)).toEqual([known.type]);
  const field = known.type === "custom" ? "input" : "arguments";
  expect(Object.keys(part[known.type])).toEqual([field]);
  known[known.type][field] += part[known.type][field];
}

/** Ids are random. */
const withoutIds = (choice: Choice): Choice => {
  const ids: string[] = (choice.message.tool_calls ?? []).map(({ id }: Choice) => id);
  for (const id of ids) expect(id).toMatch(/^call_[0-9a-f]{24}$/);
  expect(new Set(ids).size).toBe(ids.length);
  return JSON.parse(JSON.stringify(choice), (key, value) => (key === "id" ? "call" : value));
};

describe("a whole answer", () => {
  test("with calls only has no content, and its arguments are JSON at least", () => {
    expect(withoutIds(whole(tell('(Hm.)[f:{"x":1}][g:]{t:abc}')))).toEqual({
      index: 0,
      message: {
        role: "assistant",
        content: null,
        refusal: null,
        reasoning_content: "Hm.",
        tool_calls: [
          { id: "call", type: "function", function: { name: "f", arguments: '{"x":1}' } },
          { id: "call", type: "function", function: { name: "g", arguments: "{}" } },
          { id: "call", type: "custom", custom: { name: "t", input: "abc" } },
        ],
      },
      logprobs: null,
      finish_reason: "tool_calls",
    });
  });

  test("without calls has its content, also an empty one", () => {
    expect(whole(tell("Hi."))).toMatchObject({ message: { content: "Hi." }, finish_reason: "stop" });
    expect(whole(tell(""))).toMatchObject({ message: { content: "" }, finish_reason: "stop" });
    expect(whole(tell("Let me see. [f:{}]"))).toMatchObject({
      message: { content: "Let me see. ", tool_calls: [{}] },
      finish_reason: "tool_calls",
    });
  });

  test("keeps a parser's own id of a call", () => {
    const call: AnswerDelta = { type: "call", index: 0, kind: "function", name: "f", id: "abcdefghi" };
    const parser: AnswerParser = { push: () => [], finish: () => [call, { type: "call_end", index: 0 }] };
    expect(whole(tell(""), { parser }).message.tool_calls[0].id).toBe("abcdefghi");
  });

  test.each([
    ["[f:{}]", "end", {}, "tool_calls"],
    ["[f:{}]", "end", { isNamed: true }, "stop"],
    ["[f:{}]", "end", { isLegacy: true }, "function_call"],
    ["[f:{}]", "length", {}, "length"],
    ['[f:{"x":', "length", {}, "length"],
    ['[f:{"x":', "stop", {}, "stop"],
    ['[f:{}][g:{"x":', "length", {}, "length"],
    ["Hi.", "stop", { isNamed: true }, "stop"],
  ] as const)("%s that ends by %s, %j, finishes with %s", (text, finishReason, more, finish) => {
    expect(whole(tell(text, { finishReason }), more).finish_reason).toBe(finish);
    expect(streamed(tell(text, { finishReason }), more).finish_reason).toBe(finish);
  });

  test("in the older form has one call without an id", () => {
    const { message } = whole(tell("[f:{}][g:{}]"), { isLegacy: true });
    expect(message).toEqual({
      role: "assistant",
      content: null,
      refusal: null,
      function_call: { name: "f", arguments: "{}" },
    });
  });

  test("has log-probabilities of its content only", () => {
    const events = tell("(Hm.)Hi [f:{}]!", { withLogprobs: true });
    for (const read of [whole, streamed]) {
      const { content } = read(events, { withLogprobs: true }).logprobs;
      expect(content.map(({ token }: Choice) => token).join("")).toBe("Hi !");
    }
  });
});

test("the first arguments of a call are sent before it ends", () => {
  const writer = makeWriter();
  const events = tell('[f:{"x":1}]');
  const sent = events.map((event) => JSON.stringify(writer.stream(event)));
  const first = sent.findIndex((one) => one.includes('"arguments":"{"'));
  expect(first).toBeGreaterThan(0);
  expect(first).toBeLessThan(events.length - 5);
});

test("a stream's sum is the whole answer, wherever its text is cut", () => {
  const argument = fc.constantFrom("", "{}", '{"x": 1}', '{"city": "Zürich 🏔", "deep": (1)}', "[1");
  const part = fc.oneof(
    fc.constantFrom("Hi.", " ", "é🎉", "a < b"),
    fc.constantFrom("(Let me see.)", "()"),
    argument.map((text) => `[f:${text.replaceAll("]", "")}]`),
    argument.map((text) => `{t:${text.replaceAll(/[{}]/g, "")}}`),
  );
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 6 }),
      fc.array(fc.nat(7), { minLength: 1, maxLength: 5 }),
      fc.constantFrom("end", "stop", "length"),
      fc.record({ isNamed: fc.boolean(), isLegacy: fc.boolean(), withLogprobs: fc.boolean() }),
      fc.nat(40),
      (parts, sizes, finishReason, more, cut) => {
        // the older form knows functions only
        const text = parts.filter((one) => !more.isLegacy || !one.startsWith("{")).join("");
        const told = finishReason === "length" ? [...text].slice(0, cut).join("") : text;
        const { withLogprobs } = more;
        const events = tell(told, { finishReason, sizes, withLogprobs });
        const all = withoutIds(whole(events, more));
        const { content } = all.message;
        const other = withoutIds(streamed(events, more));
        // a stream does not know at its start whether there will be calls only
        expect({
          ...other,
          message: { ...other.message, content: other.message.content ?? content },
        }).toEqual(all);
        expect(other.message.content ?? "").toBe(content ?? "");
        expect(withoutIds(whole(tell(told, { finishReason, withLogprobs }), more)).message).toEqual(
          all.message,
        );
      },
    ),
    { numRuns: 500 },
  );
});
