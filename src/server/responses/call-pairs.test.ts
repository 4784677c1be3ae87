import { expect, test } from "vitest";
import { checkCalls } from "./call-pairs.ts";
import { type ConversationItem, inputItem } from "./items.ts";

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
  ["input[1]", /^input\[1\] answers the call "a", which is none/, [question, output("a")]],
  ["input[2]", /is answered already$/, [call("a"), output("a"), output("a")]],
  [
    "input[1]",
    /^input\[1\] has the call "a" without an output; .* function_call_output/,
    [question, call("a")],
  ],
  ["input[0]", /item of type custom_tool_call_output/, [custom]],
  ["input[1]", /call_id "a" of an earlier call/, [call("a"), call("a"), output("a")]],
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
