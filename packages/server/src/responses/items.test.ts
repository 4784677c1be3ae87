import { describe, expect, test } from "vitest";
import {
  type ConversationItem,
  checkCalls,
  checkItemTypes,
  inputItem,
  isReference,
  toMessages,
} from "./items.ts";

const read = (items: readonly unknown[]): readonly ConversationItem[] =>
  items.map((item) => inputItem.parse(item) as ConversationItem);
const messages = (items: readonly unknown[], instructions?: string) =>
  toMessages(read(items), {
    instructions,
    names: new Map([["mail__send", { name: "send", namespace: "mail" }]]),
  });

describe("items as messages", () => {
  test("instructions and system messages before the conversation are one system message", () => {
    const items = [
      { role: "developer", content: "Be brief." },
      {
        type: "message",
        role: "user",
        content: [
          { type: "input_text", text: "Hi" },
          { type: "input_text", text: "!" },
        ],
      },
    ];
    expect(messages(items, "You are a clerk.")).toEqual([
      { role: "system", content: "You are a clerk.\n\nBe brief." },
      { role: "user", content: "Hi!" },
    ]);
  });

  test("what the assistant wrote in a row is one message: reasoning, text, calls", () => {
    const items = [
      { role: "user", content: "Weather?" },
      { type: "reasoning", id: "rs_1", summary: [], content: [{ type: "reasoning_text", text: "Ask." }] },
      { role: "assistant", content: [{ type: "output_text", text: "A moment.", annotations: [] }] },
      {
        type: "function_call",
        id: "fc_1",
        call_id: "a",
        name: "weather",
        arguments: "{}",
        status: "completed",
      },
      { type: "function_call", call_id: "b", name: "send", namespace: "mail", arguments: '{"to":1}' },
      { type: "function_call_output", call_id: "a", output: [{ type: "input_text", text: "rain" }] },
      { type: "function_call_output", call_id: "b", output: "sent" },
    ];
    expect(messages(items).slice(1)).toEqual([
      {
        role: "assistant",
        content: "A moment.",
        reasoning: "Ask.",
        toolCalls: [
          { type: "function", id: "a", name: "weather", arguments: "{}" },
          { type: "function", id: "b", name: "mail__send", arguments: '{"to":1}' },
        ],
      },
      { role: "tool", content: "rain", toolCallId: "a" },
      { role: "tool", content: "sent", toolCallId: "b" },
    ]);
  });

  test("text after calls begins another message", () => {
    const items = [
      { type: "custom_tool_call", call_id: "a", name: "patch", input: "x" },
      { role: "assistant", content: "Done." },
    ];
    expect(messages(items)).toEqual([
      { role: "assistant", content: "", toolCalls: [{ type: "custom", id: "a", name: "patch", input: "x" }] },
      { role: "assistant", content: "Done." },
    ]);
  });
});

test("an item without role and type is a reference, as the AI SDK sends it", () => {
  expect(isReference(inputItem.parse({ type: "item_reference", id: "msg_1" }))).toBe(true);
  expect(isReference(inputItem.parse({ id: "msg_1" }))).toBe(true);
  expect(isReference(inputItem.parse({ role: "user", content: "x" }))).toBe(false);
});

test("an item of another kind is refused by its type and place", () => {
  const input = [
    { role: "user", content: "x" },
    { type: "computer_call", id: "c" },
  ];
  expect(() => checkItemTypes(input)).toThrow(/input\[1\] is an item of type "computer_call"/);
});

test("an image is named with its place, in a message and in a tool's output", () => {
  const image = { type: "input_image", image_url: "data:image/png;base64," };
  const text = { type: "input_text", text: "What is this?" };
  const refused = (item: object) => () => checkItemTypes([{ role: "user", content: "Hi" }, item]);
  expect(refused({ role: "user", content: [text, image] })).toThrow(
    expect.objectContaining({
      details: expect.objectContaining({ param: "input[1].content[1]", code: "unsupported_value" }),
      message: expect.stringContaining('an image (type "input_image")'),
    }),
  );
  expect(refused({ type: "function_call_output", call_id: "a", output: [image] })).toThrow(
    /^input\[1\]\.output\[0\]/,
  );
});

const question = { role: "user", content: "Weather?" };
const call = (id: string, text = '{"city":"Bern"}') =>
  ({ type: "function_call", call_id: id, name: "weather", arguments: text }) as const;
const output = (id: string) => ({ type: "function_call_output", call_id: id, output: "rain" }) as const;
const custom = { type: "custom_tool_call", call_id: "c", name: "note", input: "x" };
const check = (items: readonly unknown[], earlier = 0) =>
  checkCalls(
    items.map((item) => inputItem.parse(item) as ConversationItem),
    earlier,
  );

test("calls that are answered, in any order and later on, are right, also without arguments", () => {
  const customOutput = { type: "custom_tool_call_output", call_id: "c", output: "done" };
  check([question, call("a"), call("b", ""), custom, output("b"), customOutput, question, output("a")]);
  check([question, call("a"), output("a"), call("a"), output("a")]);
});

test.each([
  ["input[1]", /^input\[1\] answers the call "a"; no call before it/, [question, output("a")]],
  ["input[2]", /no call before it lacks a result$/, [call("a"), output("a"), output("a")]],
  ["input[1]", /^input\[1\] has calls without a result: "a"; .* function_call_output/, [question, call("a")]],
  ["input[0]", /"c"; .* custom_tool_call_output/, [custom]],
  ["input[1]", /repeats the call id "a"/, [call("a"), call("a"), output("a")]],
  ["input[0]", /not JSON of an object; if that answer was cut off/, [call("a", '{"city":"B'), output("a")]],
  ["input[0]", /not JSON of an object/, [call("a", "[]"), output("a")]],
])("%s is named: %s", (param, message, items) => {
  expect(() => check(items)).toThrow(
    expect.objectContaining({
      details: expect.objectContaining({ status: 400, param }),
      message: expect.stringMatching(message),
    }),
  );
});

test("items of earlier responses are counted apart", () => {
  check([question, call("a"), output("a")], 2);
  expect(() => check([question, call("a"), question], 2)).toThrow(
    expect.objectContaining({
      details: expect.objectContaining({ param: "input" }),
      message: expect.stringContaining("previous_response_id"),
    }),
  );
  expect(() => check([question, output("a")], 1)).toThrow(/^input\[0\] answers/);
});

test("as many calls as a request can have are paired at once", () => {
  const ids = Array.from({ length: 4000 }, (_, i) => `call_${i}`);
  const started = performance.now();
  check([...ids.map((id) => call(id)), ...ids.map(output)]);
  expect(performance.now() - started).toBeLessThan(2000);
});
