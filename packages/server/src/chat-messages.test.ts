import { expect, test } from "vitest";
import type { ApiError } from "./errors.ts";
import { messagesField, toChatMessages } from "./routes/chat.ts";

const read = (messages: readonly object[]) => toChatMessages(messagesField.parse(messages));

function refusal(messages: readonly object[]) {
  try {
    read(messages);
  } catch (error) {
    const { message, details } = error as ApiError;
    return { message, param: details.param, code: details.code };
  }
  throw new Error("the messages were taken");
}

const user = { role: "user", content: "Hi" };
const makeCall = (id: string, text: unknown = "{}") => ({
  id,
  type: "function",
  function: { name: "f", arguments: text },
});
const calls = (...tool_calls: object[]) => ({ role: "assistant", content: null, tool_calls });
const answer = (...tool_calls: object[]) => ({ role: "assistant", tool_calls });
const result = (tool_call_id: string) => ({ role: "tool", tool_call_id, content: "4" });

test("calls and their results become data, in any order of the results", () => {
  const custom = { id: "c", type: "custom", custom: { name: "t", input: "x" } };
  const messages = [
    { role: "developer", content: "Be brief." },
    user,
    { ...answer(makeCall("a", '{"x": 1}'), makeCall("b", { x: null }), custom), reasoning_content: "Hm." },
    {
      role: "tool",
      tool_call_id: "c",
      content: [
        { type: "text", text: "1" },
        { type: "text", text: "2" },
      ],
    },
    result("a"),
    result("b"),
    { role: "assistant", content: "Four." },
  ];
  expect(read(messages)).toEqual([
    { role: "system", content: "Be brief." },
    { role: "user", content: "Hi" },
    {
      role: "assistant",
      content: "",
      reasoning: "Hm.",
      toolCalls: [
        { type: "function", id: "a", name: "f", arguments: '{"x": 1}' },
        { type: "function", id: "b", name: "f", arguments: '{"x":null}' },
        { type: "custom", id: "c", name: "t", input: "x" },
      ],
    },
    { role: "tool", toolCallId: "c", content: "12" },
    { role: "tool", toolCallId: "a", content: "4" },
    { role: "tool", toolCallId: "b", content: "4" },
    { role: "assistant", content: "Four." },
  ]);
});

test("the older form has no ids: a function message answers the call before it", () => {
  const messages = [
    user,
    { role: "assistant", function_call: { name: "f", arguments: "" } },
    { role: "function", name: "f", content: "4" },
  ];
  expect(read(messages).slice(1)).toEqual([
    {
      role: "assistant",
      content: "",
      toolCalls: [{ type: "function", id: "call_1", name: "f", arguments: "{}" }],
    },
    { role: "tool", toolCallId: "call_1", content: "4" },
  ]);
});

test.each([
  [
    "a call without a result",
    "messages[1].tool_calls",
    [user, answer(makeCall("a"), makeCall("b")), result("b"), user],
  ],
  ["a call at the end", "messages[1].tool_calls", [user, answer(makeCall("a"))]],
  ["a result without a call", "messages[1]", [user, result("a")]],
  ["a second result", "messages[3]", [user, answer(makeCall("a")), result("a"), result("a")]],
  [
    "a result of an earlier message",
    "messages[4]",
    [user, answer(makeCall("a")), result("a"), user, result("a")],
  ],
  ["a result without an id", "messages[1].tool_call_id", [user, { role: "tool", content: "4" }]],
  ["calls of one id", "messages[1].tool_calls", [user, answer(makeCall("a"), makeCall("a")), result("a")]],
  ["calls of a user", "messages[0]", [{ ...user, tool_calls: [makeCall("a")] }]],
  [
    "a function's answer without a call",
    "messages[1]",
    [user, { role: "function", name: "f", content: "4" }],
  ],
  [
    "arguments that were cut",
    "messages[1].tool_calls[0].function.arguments",
    [user, answer(makeCall("a", '{"x": "un')), result("a")],
  ],
  [
    "arguments that are no object",
    "messages[1].tool_calls[0].function.arguments",
    [user, answer(makeCall("a", "[1]")), result("a")],
  ],
  [
    "arguments of the older form",
    "messages[1].function_call.arguments",
    [user, { role: "assistant", function_call: { name: "f", arguments: "{" } }],
  ],
])("%s: %s is named", (_, param, messages) => {
  expect(refusal(messages)).toEqual({
    code: "invalid_value",
    param,
    message: expect.stringContaining(param),
  });
});

test("an empty list of calls is none", () => {
  expect(read([user, { ...calls(), content: "x" }])).toEqual([user, { role: "assistant", content: "x" }]);
});
