// Anthropic's Messages API without a port: the same prompts as chats, answers as blocks, and errors in its format. test/clients has
// its own clients, against the real engine.
import { describe, expect, test } from "vitest";
import type { ApiKey } from "../src/index.ts";
import { type Harness, makeServer } from "./harness.ts";

const WORDS = " one two three four five six";
const input_schema = {
  type: "object",
  properties: { city: { type: "string", default: null } },
  required: ["city"],
  additionalProperties: false,
};
const tools = [
  { name: "rain", description: "Tells of rain", input_schema, cache_control: { type: "ephemeral" } },
];
const CALL = '<tool_call>\n{"name": "rain", "arguments": {"city": "Bern"}}\n</tool_call>';
const hello = [{ role: "user", content: "Is it raining?" }];

const serve = (answer?: string, engine: object = {}) =>
  makeServer({ engine: { maxLength: 4096, ...(answer === undefined ? {} : { answer }), ...engine } });
const send = (server: Harness, more: object = {}, headers?: Record<string, string>) =>
  server.send("/v1/messages", { model: "base", max_tokens: 100, messages: hello, ...more }, headers);

const events = (text: string) =>
  text
    .trim()
    .split("\n\n")
    .map((block) => {
      const [event = "", data = ""] = block.split("\n");
      const read = JSON.parse(data.replace("data: ", ""));
      expect(event).toBe(`event: ${read.type}`);
      return read;
    });

describe("an answer", () => {
  test("as a whole, and as events that say the same", async () => {
    await using server = await serve();
    const { status, headers, json } = await send(server);
    expect(status).toBe(200);
    expect(headers.get("request-id")).toBe(headers.get("x-request-id"));
    expect(json).toEqual({
      id: expect.stringMatching(/^msg_\w+$/),
      type: "message",
      role: "assistant",
      model: "base",
      content: [{ type: "text", text: WORDS, citations: null }],
      stop_reason: "end_turn",
      stop_sequence: null,
      usage: expect.objectContaining({ output_tokens: expect.any(Number) }),
    });
    const streamed = await send(server, { stream: true });
    expect(streamed.headers.get("content-type")).toMatch("text/event-stream");
    const all = events(streamed.text);
    expect(all[0]).toMatchObject({ type: "message_start", message: { content: [], stop_reason: null } });
    expect(all.map(({ delta }) => delta?.text ?? "").join("")).toBe(WORDS);
    expect(all.slice(-3)).toEqual([
      { type: "content_block_stop", index: 0 },
      {
        type: "message_delta",
        delta: { stop_reason: "end_turn", stop_sequence: null },
        usage: json.usage,
      },
      { type: "message_stop" },
    ]);
  });

  test("has calls as blocks, whole and in pieces", async () => {
    await using server = await serve(`Let me see.\n${CALL}`);
    const { json } = await send(server, { tools });
    expect(json).toMatchObject({
      content: [
        { type: "text", text: "Let me see." },
        { type: "tool_use", id: expect.stringMatching(/^toolu_/), name: "rain", input: { city: "Bern" } },
      ],
      stop_reason: "tool_use",
    });
    const all = events((await send(server, { tools, stream: true })).text);
    expect(JSON.parse(all.map(({ delta }) => delta?.partial_json ?? "").join(""))).toEqual({ city: "Bern" });
    expect(all.at(-2)).toMatchObject({ delta: { stop_reason: "tool_use" } });
  });

  test("says which stop sequence ended it, and whether its length or the context did", async () => {
    await using server = await serve(undefined, { maxLength: 64 });
    const stopped = await send(server, { stop_sequences: [" five", " three"], max_tokens: 20 });
    expect(stopped.json).toMatchObject({
      content: [{ text: " one two" }],
      stop_reason: "stop_sequence",
      stop_sequence: " three",
    });
    expect((await send(server, { max_tokens: 2 })).json.stop_reason).toBe("max_tokens");
    // coding agents ask for far more than a small model has room for
    const long = "Is it raining? ".repeat(2);
    const cut = await send(server, { max_tokens: 32_000, messages: [{ role: "user", content: long }] });
    expect(cut.json.stop_reason).toBe("end_turn");
    const { prompt, maxTokens } = server.engine.seen.at(-1)!;
    expect(maxTokens).toBe(64 - prompt.length);
  });

  test("that the context cuts off says so", async () => {
    await using roomy = await serve();
    const { json } = await roomy.send("/v1/messages/count_tokens", { model: "base", messages: hello });
    await using server = await serve(undefined, { maxLength: json.input_tokens + 3 });
    const cut = await send(server, { max_tokens: 32_000 });
    expect([cut.json.usage.output_tokens, cut.json.stop_reason]).toEqual([
      3,
      "model_context_window_exceeded",
    ]);
  });

  test("whose error comes in the middle of a stream ends with it", async () => {
    await using server = await serve();
    server.engine.hold(2);
    const answer = send(server, { stream: true });
    await expect.poll(() => server.engine.running).toBe(1);
    server.engine.break();
    const last = events((await answer).text).at(-1);
    expect(last).toMatchObject({
      type: "error",
      error: { type: "overloaded_error", message: expect.stringContaining("engine") },
      request_id: expect.stringMatching(/^req_/),
    });
  });
});

describe("a conversation is the one of a chat", () => {
  const called = { id: "toolu_1", name: "rain", input: { city: "Bern", day: null } };
  const tool_calls = [
    { id: "toolu_1", type: "function", function: { name: "rain", arguments: '{"city":"Bern","day":null}' } },
  ];
  const chatTools = [
    { type: "function", function: { name: "rain", description: "Tells of rain", parameters: input_schema } },
  ];
  test.each<readonly [name: string, message: object, chat: object]>([
    ["a text", { messages: hello }, { messages: hello }],
    [
      "system blocks, without what changes with every request of Claude Code",
      {
        system: [
          { type: "text", text: "x-anthropic-billing-header: cc_version=2.1; cch=36ee5;" },
          { type: "text", text: "Be brief.", cache_control: { type: "ephemeral" } },
          { type: "text", text: "Be kind." },
        ],
        messages: hello,
      },
      { messages: [{ role: "system", content: "Be brief.\nBe kind." }, ...hello] },
    ],
    [
      "tools, a call, its result and more text in one turn; turns of one role in a row",
      {
        tools,
        messages: [
          { role: "user", content: "Is it" },
          { role: "user", content: [{ type: "text", text: "raining?" }] },
          {
            role: "assistant",
            content: [
              { type: "thinking", thinking: "Ask.", signature: "x" },
              { type: "text", text: "Let me see." },
              { type: "tool_use", ...called },
            ],
          },
          {
            role: "user",
            content: [
              { type: "text", text: "Go on" },
              { type: "tool_result", tool_use_id: "toolu_1", content: [{ type: "text", text: "yes" }] },
            ],
          },
        ],
      },
      {
        tools: chatTools,
        messages: [
          { role: "user", content: "Is it\nraining?" },
          { role: "assistant", content: "Let me see.", reasoning_content: "Ask.", tool_calls },
          { role: "tool", tool_call_id: "toolu_1", content: "yes" },
          { role: "user", content: "Go on" },
        ],
      },
    ],
    [
      "the beginning of the answer",
      { messages: [...hello, { role: "assistant", content: "It is" }] },
      {
        messages: [...hello, { role: "assistant", content: "It is" }],
        add_generation_prompt: false,
        continue_final_message: true,
      },
    ],
    [
      "a form of the answer, and no thinking",
      {
        messages: hello,
        thinking: { type: "disabled" },
        output_config: { format: { type: "json_schema", schema: input_schema }, effort: "low" },
      },
      {
        messages: hello,
        chat_template_kwargs: { enable_thinking: false },
        response_format: { type: "json_object", schema: input_schema },
      },
    ],
    [
      "sampling",
      { messages: hello, temperature: 0.5, top_p: 0.9, top_k: 5, seed: 3, stop_sequences: ["x"] },
      { messages: hello, temperature: 0.5, top_p: 0.9, top_k: 5, seed: 3, stop: ["x"] },
    ],
    ...(
      [
        [{ type: "auto" }, { tool_choice: "auto" }],
        [
          { type: "any", disable_parallel_tool_use: true },
          { tool_choice: "required", parallel_tool_calls: false },
        ],
        [{ type: "none" }, { tool_choice: "none" }],
        [{ type: "tool", name: "rain" }, { tool_choice: { type: "function", function: { name: "rain" } } }],
      ] as const
    ).map(
      ([tool_choice, chat]) =>
        [
          `the choice ${tool_choice.type}`,
          { messages: hello, tools, tool_choice },
          { messages: hello, tools: chatTools, ...chat },
        ] as const,
    ),
  ])("%s", async (_, message, chat) => {
    await using server = await serve();
    const own = { model: "base", max_tokens: 50, seed: 1 };
    const written = await server.send("/v1/messages", { ...own, ...message });
    expect([written.status, written.text]).toEqual([200, expect.anything()]);
    const { status, json } = await server.send("/v1/chat/completions", { ...own, ...chat });
    expect([status, json.error]).toEqual([200, undefined]);
    const [of, reference] = server.engine.seen.slice(-2).map(({ signal: _, ...request }) => request);
    expect(of).toEqual(reference);
    const { usage } = written.json;
    expect(usage.input_tokens + usage.cache_read_input_tokens).toBe(json.usage.prompt_tokens);
    expect(usage.cache_read_input_tokens).toBe(json.usage.prompt_tokens_details.cached_tokens);
    expect(usage.output_tokens).toBe(json.usage.completion_tokens);
    const counted = await server.send("/v1/messages/count_tokens", { model: "base", ...message });
    expect(counted.json).toEqual({ input_tokens: json.usage.prompt_tokens });
  });
});

describe("what is refused is named, in Anthropic's format", () => {
  test.each([
    [
      "an image",
      { messages: [{ role: "user", content: [{ type: "image", source: {} }] }] },
      'content.0.type" is "image"',
    ],
    [
      "a document",
      { messages: [{ role: "user", content: [{ type: "document", source: {} }] }] },
      '"document"',
    ],
    [
      "a tool of the server",
      { tools: [{ type: "web_search_20250305", name: "web_search" }] },
      'tools[0] is "web_search_20250305"',
    ],
    ["an unknown field", { mcp_servers: [] }, "unknown field mcp_servers"],
    ["a missing max_tokens", { max_tokens: null }, '"max_tokens" is missing'],
    [
      "a call without a result",
      {
        messages: [
          { role: "assistant", content: [{ type: "tool_use", id: "t1", name: "f", input: {} }] },
          ...hello,
        ],
      },
      'messages: one of the role assistant has calls without a result: "t1"',
    ],
    [
      "a result without a call",
      { messages: [{ role: "user", content: [{ type: "tool_result", tool_use_id: "t2" }] }] },
      'one of the role user answers the call "t2"',
    ],
    [
      "a choice of no tool",
      { tools, tool_choice: { type: "tool", name: "wind" } },
      'names the function "wind"',
    ],
    [
      "a prompt without end",
      { messages: [{ role: "user", content: "so ".repeat(9000) }] },
      "prompt is too long: this model's maximum context",
    ],
  ])("%s", async (_, more, message) => {
    await using server = await serve();
    const { status, json, headers } = await send(server, more);
    expect([status, json]).toEqual([
      400,
      {
        type: "error",
        error: {
          type: "invalid_request_error",
          message: expect.stringContaining(message),
          details: { error_code: expect.any(String) },
        },
        request_id: headers.get("request-id"),
      },
    ]);
    expect(server.engine.seen).toEqual([]);
  });

  test("other statuses have the types that clients know", async () => {
    await using server = await serve();
    const error = async (path: string, body?: unknown) => {
      const { status, json } = await server.send(path, body);
      return [status, json.error.type, json.error.message];
    };
    const missing = { model: "none", max_tokens: 1, messages: hello };
    expect((await error("/v1/messages", missing)).slice(0, 2)).toEqual([404, "not_found_error"]);
    expect(await error("/v1/messages/batches", {})).toEqual([
      404,
      "not_found_error",
      "no route /v1/messages/batches: this server has no batches; send the requests one by one",
    ]);
    expect((await error("/v1/messages")).slice(0, 2)).toEqual([405, "invalid_request_error"]);
    expect((await error("/v1/v1/messages", {}))[2]).toContain("end the client's base URL before /v1");
    server.engine.break();
    await expect
      .poll(() => error("/v1/messages", missing))
      .toEqual([529, "overloaded_error", expect.anything()]);
  });
});

describe("keys", () => {
  const known: Readonly<Record<string, ApiKey>> = {
    acme: { name: "acme", isAdmin: false, tokensPerDay: 200, mayUse: (name) => name !== "secret" },
    slow: { name: "slow", isAdmin: false, requestsPerMinute: 1, mayUse: () => true },
  };
  const open = () =>
    makeServer({
      engine: { adapters: ["secret"], maxLength: 4096 },
      server: { keys: { find: async (token) => known[token] } },
    });

  test("come by x-api-key or as a bearer, with their limits, quotas, permissions and metrics", async () => {
    await using server = await open();
    const key = { "x-api-key": "acme", "anthropic-version": "2023-06-01", "anthropic-beta": "a,b" };
    const first = await send(server, { max_tokens: 20 }, key);
    expect([first.status, first.headers.get("x-ratelimit-limit-tokens")]).toEqual([200, "200"]);
    expect((await send(server, { max_tokens: 20 }, { authorization: "Bearer acme" })).status).toBe(200);
    const types = async (more: object, headers: Record<string, string>) => {
      const { status, json } = await send(server, more, headers);
      return [status, json.error.type, json.error.details.error_code];
    };
    expect(await types({}, {})).toEqual([401, "authentication_error", "invalid_api_key"]);
    expect(await types({}, { "x-api-key": "other" })).toEqual([
      401,
      "authentication_error",
      "invalid_api_key",
    ]);
    expect(await types({ model: "secret" }, key)).toEqual([404, "not_found_error", "model_not_found"]);
    const long = [{ role: "user", content: "so ".repeat(300) }];
    expect(await types({ messages: long }, key)).toEqual([429, "rate_limit_error", "insufficient_quota"]);
    expect((await send(server, {}, { "x-api-key": "slow" })).status).toBe(200);
    expect(await types({}, { "x-api-key": "slow" })).toEqual([
      429,
      "rate_limit_error",
      "rate_limit_exceeded",
    ]);
    const { fields } = server.log.find((line) => line.fields["path"] === "/v1/messages")!;
    expect(fields).toMatchObject({
      key: "acme",
      model: "base",
      completionTokens: first.json.usage.output_tokens,
    });
  });
});

test("the OpenAPI document has the routes, with their fields and errors", async () => {
  await using server = await serve();
  const { json } = await server.send("/openapi.json");
  const { post } = json.paths["/v1/messages"];
  expect(post.responses.default.content["application/json"].schema.$ref).toMatch("MessageError");
  expect(post.security).toEqual([{ key: [] }, { apiKey: [] }]);
  expect(json.paths["/v1/messages/count_tokens"].post).toBeDefined();
  const { MessageRequest, Message } = json.components.schemas;
  expect(Object.keys(MessageRequest.properties)).toEqual(
    expect.arrayContaining(["system", "tool_choice", "thinking"]),
  );
  expect(JSON.stringify(Message)).toContain("tool_use");
});
