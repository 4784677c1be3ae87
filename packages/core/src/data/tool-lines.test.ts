import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { toRecord } from "./convert.ts";
import { readDataset } from "./dataset.ts";
import type { ExampleInput } from "./example.ts";

const parameters = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const weather = { type: "function", function: { name: "weather", description: "Today's", parameters } };
const time = { type: "function", function: { name: "time" } };
const note = { type: "custom", custom: { name: "note", format: { type: "text" } } };
const user = { role: "user", content: "Is it raining in Rome?" };
const call = (id: string, name = "weather", given: unknown = '{"city": "Rome"}') => ({
  id,
  type: "function",
  function: { name, arguments: given },
});
const calling = (...calls: readonly unknown[]) => ({ role: "assistant", content: null, tool_calls: calls });
const result = (id: string, content = "rain") => ({ role: "tool", tool_call_id: id, content });
const answer = { role: "assistant", content: "Yes." };

const read = async (...lines: readonly unknown[]) => (await readDataset(lines)).examples;
const readOne = async (line: unknown) => {
  const [example] = await read(line);
  return example?.kind === "chat" ? example : undefined;
};

describe("OpenAI's lines", () => {
  test("tools, calls and results; only what the assistant writes is learnt", async () => {
    const messages = [
      user,
      calling(call("a"), call("b", "time", "{}")),
      result("b", "9:00"),
      result("a"),
      answer,
    ];
    const example = await readOne({ messages, tools: [weather, time], parallel_tool_calls: true });
    expect(example?.tools).toEqual([
      { type: "function", name: "weather", description: "Today's", parameters },
      { type: "function", name: "time" },
    ]);
    expect(example?.parallel).toBe(true);
    expect(example?.turns).toEqual([
      { ...user, isTarget: false },
      {
        role: "assistant",
        content: "",
        isTarget: true,
        toolCalls: [
          { type: "function", id: "a", name: "weather", arguments: '{"city": "Rome"}' },
          { type: "function", id: "b", name: "time", arguments: "{}" },
        ],
      },
      { role: "tool", content: "9:00", isTarget: false, toolCallId: "b" },
      { role: "tool", content: "rain", isTarget: false, toolCallId: "a" },
      { ...answer, isTarget: true },
    ]);
  });

  test("a last message may be a call; a weight of 0 keeps a call out of the loss", async () => {
    const messages = [user, { ...calling(call("a")), weight: 0 }, result("a"), calling(call("a"))];
    const example = await readOne({ messages, tools: [weather] });
    expect(example?.turns.map(({ isTarget }) => isTarget)).toEqual([false, false, false, true]);
  });

  test("arguments as an object, calls without ids, and null where nothing is", async () => {
    const messages = [
      { ...user, tool_calls: null, tool_call_id: null },
      {
        role: "assistant",
        tool_calls: [{ function: { name: "weather", arguments: { city: "Rome" } } }, call("b")],
      },
      { role: "tool", name: "weather", content: "rain" },
      { role: "tool", content: "sun" },
      { ...answer, tool_calls: [], function_call: null },
    ];
    const example = await readOne({ messages, tools: [weather], parallel_tool_calls: null });
    expect(example?.turns[1]?.toolCalls?.[0]).toMatchObject({ id: "call_1", arguments: '{"city":"Rome"}' });
    expect(example?.turns.map(({ toolCallId }) => toolCallId)).toEqual([
      undefined,
      undefined,
      "call_1",
      "b",
      undefined,
    ]);
    expect(example?.parallel).toBeUndefined();
  });

  test("functions, as the former format has them", async () => {
    const example = await readOne({
      messages: [
        user,
        {
          role: "assistant",
          content: null,
          function_call: { name: "weather", arguments: '{"city": "Rome"}' },
        },
        { role: "function", name: "weather", content: "rain" },
        answer,
      ],
      functions: [weather.function],
    });
    expect(example?.tools).toHaveLength(1);
    expect(example?.turns[1]?.toolCalls).toMatchObject([{ id: "call_1", name: "weather" }]);
    expect(example?.turns[2]).toMatchObject({ role: "tool", toolCallId: "call_1" });
  });

  test("custom tools", async () => {
    const grammar = { syntax: "regex", definition: "[a-z]+" };
    const example = await readOne({
      messages: [user, calling({ id: "a", type: "custom", custom: { name: "note", input: "rain" } })],
      tools: [note, { type: "custom", custom: { name: "word", format: { type: "grammar", grammar } } }],
    });
    expect(example?.tools).toEqual([
      { type: "custom", name: "note" },
      { type: "custom", name: "word", grammar },
    ]);
    expect(example?.turns[1]?.toolCalls).toEqual([{ type: "custom", id: "a", name: "note", input: "rain" }]);
  });
});

test("ShareGPT's lines, with tools as JSON and calls as texts", async () => {
  const example = await readOne({
    conversations: [
      { from: "human", value: "Rome?" },
      { from: "function_call", value: '{"name": "weather", "arguments": {"city": "Rome"}}' },
      { from: "observation", value: "rain" },
      { from: "gpt", value: "Rain." },
    ],
    system: "Be brief.",
    tools: JSON.stringify([weather.function]),
  });
  expect(example?.turns.map(({ role, isTarget }) => [role, isTarget])).toEqual([
    ["system", false],
    ["user", false],
    ["assistant", true],
    ["tool", false],
    ["assistant", true],
  ]);
  expect(example?.turns[2]).toMatchObject({
    content: "",
    toolCalls: [{ type: "function", id: "call_1", name: "weather", arguments: '{"city":"Rome"}' }],
  });
});

describe("refused", () => {
  const tools = [weather, time];
  const cases: readonly (readonly [string, unknown, RegExp])[] = [
    [
      "arguments that are not JSON",
      { messages: [user, calling(call("a", "weather", '{"city": '))], tools },
      /^data: example 1: messages\[1\]\.tool_calls\[0\]\.function\.arguments is .*; expected an object as JSON \(/,
    ],
    [
      "arguments that are no object",
      { messages: [user, calling(call("a", "weather", "[1]"))], tools },
      /arguments is "\[1\]"; expected an object as JSON\./,
    ],
    [
      "arguments that are missing",
      { messages: [user, calling({ id: "a", function: { name: "weather" } })], tools },
      /messages\[1\]\.tool_calls\[0\]\.function has no field "arguments" \(found: "name"\)/,
    ],
    [
      "a call of an unknown tool",
      { messages: [user, calling(call("a", "news"))], tools },
      /messages\[1\] calls "news"; the functions of the line are "weather", "time"/,
    ],
    [
      "calls without tools",
      { messages: [user, calling(call("a"))] },
      /messages\[1\] calls "weather"; the line has no functions: add them to "tools"/,
    ],
    [
      "two calls where one is allowed",
      { messages: [user, calling(call("a"), call("b"))], tools, parallel_tool_calls: false },
      /messages\[1\] has 2 calls, but parallel_tool_calls is false/,
    ],
    [
      "two calls of one id",
      { messages: [user, calling(call("a"), call("a"))], tools },
      /messages\[1\] repeats the call id "a"/,
    ],
    [
      "a result of another call",
      { messages: [user, calling(call("a")), result("b"), answer], tools },
      /messages\[2\] answers the call "b"; the calls without a result are "a"/,
    ],
    [
      "a result without a call",
      { messages: [user, answer, { role: "tool", content: "x" }], tools },
      /messages\[2\] answers an unknown call; no call before it lacks a result/,
    ],
    [
      "a call without a result",
      { messages: [user, calling(call("a"), call("b")), result("a"), answer], tools },
      /messages\[1\] has calls without a result: "b"; each needs a message of the role tool behind it/,
    ],
    [
      "an end before all results",
      { messages: [user, calling(call("a"), call("b")), result("a")], tools },
      /messages\[1\] has calls without a result: "b"/,
    ],
    [
      "calls of a user",
      { messages: [{ ...user, tool_calls: [call("a")] }, answer], tools },
      /messages\[0\]\.role is "user"; expected "assistant", as this message calls tools/,
    ],
    [
      "types of Python",
      { messages: [user, answer], tools: [{ function: { name: "f", parameters: { type: "dict" } } }] },
      /tools\[0\]\.function\.parameters\.type is "dict"; expected "object"/,
    ],
    [
      "a name with a dot",
      { messages: [user, answer], tools: [{ name: "math.add" }] },
      /tools\[0\]\.name is "math\.add"; expected a name of 1 to 64 letters/,
    ],
    [
      "two tools of one name",
      { messages: [user, answer], tools: [weather, weather] },
      /two tools named "weather"/,
    ],
    [
      "tools that are no list",
      { messages: [user, answer], tools: "weather" },
      /tools is "weather"; expected a list of tools/,
    ],
    [
      "too many tools",
      { messages: [user, answer], tools: Array(1001).fill(time) },
      /tools is a list; expected a list of at most 1000 tools/,
    ],
    [
      "a grammar in an unknown syntax",
      {
        messages: [user, answer],
        tools: [
          { custom: { name: "f", format: { type: "grammar", grammar: { syntax: "ebnf", definition: "" } } } },
        ],
      },
      /tools\[0\]\.custom\.format\.grammar\.syntax is "ebnf"; expected "lark" or "regex"/,
    ],
    [
      "a call of ShareGPT that is no JSON",
      {
        conversations: [
          { from: "human", value: "?" },
          { from: "function_call", value: "weather()" },
        ],
      },
      /conversations\[1\]\.value is "weather\(\)"; expected a call as JSON/,
    ],
    [
      "a first message that is a result",
      { messages: [{ role: "tool", tool_call_id: "a", content: "x" }, answer], tools },
      /messages\[0\] answers the call "a"; no call before it lacks a result/,
    ],
  ];
  test.each(cases)("%s", async (_, line, message) => {
    await expect(read(line)).rejects.toMatchObject({
      code: "bad_data",
      message: expect.stringMatching(message),
    });
  });
});

test("conversion to messages keeps tools, calls, results and weights", async () => {
  const names = ["weather", "time"] as const;
  const filled = fc.string({ minLength: 1 }).filter((text) => text.trim() !== "");
  const calls = fc.array(
    fc.tuple(fc.constantFrom(...names), fc.dictionary(fc.string(), fc.jsonValue()), fc.boolean()),
    { minLength: 1, maxLength: 3 },
  );
  const round = fc.tuple(calls, fc.option(filled), fc.constantFrom(0 as const, 1 as const));
  const line = fc.tuple(fc.array(round, { maxLength: 3 }), round, fc.option(fc.constant(true))).map(
    ([rounds, last, parallel]): ExampleInput => ({
      messages: [
        { role: "user", content: "?" },
        ...rounds.flatMap(([given, content, weight], i) => {
          const tool_calls = given.map(([name, args, isText], j) => ({
            id: `${i}.${j}`,
            function: { name, arguments: isText ? JSON.stringify(args, null, 1) : args },
          }));
          return [
            { role: "assistant" as const, content, weight, tool_calls },
            ...tool_calls.map(({ id }) => ({ role: "tool" as const, tool_call_id: id, content: id })),
          ];
        }),
        { role: "assistant", content: last[1] ?? "!", weight: 1 },
      ],
      tools: names.map((name) => ({ type: "function", function: { name, parameters } })),
      ...(parallel === null ? {} : { parallel_tool_calls: parallel }),
    }),
  );
  await fc.assert(
    fc.asyncProperty(line, async (given) => {
      const examples = await read(given);
      expect(await read(...examples.map((one) => toRecord(one, "messages")))).toEqual(examples);
    }),
    { numRuns: 100 },
  );
});
