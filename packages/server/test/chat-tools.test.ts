// Tools and structured output of chats and completions, as clients see them: fields, errors, and answers with calls.
import { readFile } from "node:fs/promises";
import { chatTemplate, loadTextFromFolder } from "mixture-of-shards-core/text";
import { GrammarError, type GrammarSource, grammarFromSource } from "mixture-of-shards-grammar";
import type OpenAI from "openai";
import { BadRequestError } from "openai";
import { describe, expect, test } from "vitest";
import { type Harness, makeServer } from "./harness.ts";

const hello = [{ role: "user" as const, content: "Is it raining?" }];
const parameters = {
  type: "object",
  properties: { city: { type: "string", default: null } },
  required: ["city"],
  additionalProperties: false,
};
const makeTool = (name: string, more: object = {}) => ({
  type: "function" as const,
  function: { name, description: `about ${name}`, parameters, ...more },
});
const tools = [makeTool("rain"), makeTool("wind")];
const call = (name: string, text: string) =>
  `<tool_call>\n{"name": "${name}", "arguments": ${text}}\n</tool_call>`;

/** A grammar with this word in it is refused. */
const refuseGrammar = (source: GrammarSource) =>
  JSON.stringify(source).includes("uniqueItems")
    ? new GrammarError("unsupported", "uniqueItems at /properties/city cannot be enforced", {
        keyword: "uniqueItems",
        pointer: "/properties/city",
      })
    : undefined;

const serve = (answer: string) => makeServer({ engine: { answer, refuseGrammar, maxLength: 4096 } });
const prompt = ({ engine }: Harness) => engine.text.tokenizer.decode(engine.seen.at(-1)!.prompt);

describe("an answer with calls", () => {
  const answer = `Let me see.\n${call("rain", '{"city": "Zürich"}')}\n${call("wind", "{}")}`;
  const expected = [
    {
      id: expect.stringMatching(/^call_/),
      type: "function",
      function: { name: "rain", arguments: '{"city": "Zürich"}' },
    },
    { id: expect.stringMatching(/^call_/), type: "function", function: { name: "wind", arguments: "{}" } },
  ];

  test("has them beside its text, and the tools are in the prompt", async () => {
    await using server = await serve(answer);
    const { choices } = await server
      .client()
      .chat.completions.create({ model: "base", messages: hello, tools });
    expect(choices[0]).toMatchObject({
      message: { content: "Let me see.", tool_calls: expected },
      finish_reason: "tool_calls",
    });
    expect(prompt(server)).toContain("about wind");
    expect(prompt(server)).toContain('"default": null');
    expect(server.engine.seen.at(-1)!.grammar).toBeDefined();
  });

  test("is streamed to the client's own events, for each of several choices", async () => {
    await using server = await serve(answer);
    const stream = server.client().chat.completions.stream({ model: "base", messages: hello, tools, n: 2 });
    const pieces: string[] = [];
    for await (const { choices } of stream)
      for (const { delta, index } of choices)
        if (index === 0) pieces.push(delta.tool_calls?.[0]?.function?.arguments ?? "");
    expect(pieces.filter((piece) => piece !== "").length).toBeGreaterThan(3);
    const { choices } = await stream.finalChatCompletion();
    for (const { message, finish_reason } of choices) {
      expect(message).toMatchObject({ content: "Let me see.", tool_calls: expected });
      expect(finish_reason).toBe("tool_calls");
    }
  });

  test("goes on with the results of the calls", async () => {
    await using server = await serve(answer);
    const client = server.client();
    const { choices } = await client.chat.completions.create({ model: "base", messages: hello, tools });
    const { message } = choices[0]!;
    const results = message.tool_calls!.map(({ id }) => ({
      role: "tool" as const,
      tool_call_id: id,
      content: `dry ${id}`,
    }));
    await client.chat.completions.create({ model: "base", messages: [...hello, message, ...results], tools });
    for (const { content } of results) expect(prompt(server)).toContain(content);
    expect(prompt(server)).toContain('"city": "Zürich"');
    const lonely = client.chat.completions.create({ model: "base", messages: [...hello, message], tools });
    await expect(lonely).rejects.toMatchObject({ status: 400, param: "messages[1].tool_calls" });
  });

  test("that is cut ends by its length, and is refused when it is sent back", async () => {
    await using server = await serve(answer);
    const request = { model: "base", messages: hello, tools, max_tokens: 42 };
    const client = server.client();
    const { choices } = await client.chat.completions.create(request);
    const { message, finish_reason } = choices[0]!;
    const [cut] = message.tool_calls!;
    expect([finish_reason, cut]).toEqual(["length", expect.objectContaining({ type: "function" })]);
    const result = { role: "tool" as const, tool_call_id: cut!.id, content: "4" };
    const again = client.chat.completions.create({ ...request, messages: [...hello, message, result] });
    await expect(again).rejects.toMatchObject({
      status: 400,
      param: "messages[1].tool_calls[0].function.arguments",
    });
  });

  test("of a named function ends with stop; without calls there is only text", async () => {
    await using server = await serve(call("rain", '{"city": "Oslo"}'));
    const named = { type: "function" as const, function: { name: "rain" } };
    const client = server.client();
    const create = async (more: object) =>
      (await client.chat.completions.create({ model: "base", messages: hello, tools, ...more })).choices[0]!;
    expect(await create({ tool_choice: named })).toMatchObject({
      finish_reason: "stop",
      message: { content: null },
    });
    expect(await create({ tool_choice: "required" })).toMatchObject({ finish_reason: "tool_calls" });
    const shown = prompt(server);
    const none = await create({ tool_choice: "none" });
    expect(none.finish_reason).toBe("stop");
    expect(none.message.tool_calls).toBeUndefined();
    // the prefix cache finds the same prompt
    expect(prompt(server)).toBe(shown);
  });

  test("of the older form has a function_call", async () => {
    await using server = await serve(call("rain", '{"city": "Oslo"}'));
    const functions = [makeTool("rain").function];
    const request = { model: "base", messages: hello, functions };
    const { json } = await server.send("/v1/chat/completions", request);
    expect(json.choices[0]).toMatchObject({
      message: { content: null, function_call: { name: "rain", arguments: '{"city": "Oslo"}' } },
      finish_reason: "function_call",
    });
    const messages = [
      ...hello,
      json.choices[0].message,
      { role: "function", name: "rain", content: "It is dry." },
    ];
    expect((await server.send("/v1/chat/completions", { ...request, messages })).status).toBe(200);
    expect(prompt(server)).toContain("It is dry.");
  });
});

describe("a form of the answer", () => {
  const format = (schema: object, more: object = {}) => ({
    response_format: {
      type: "json_schema" as const,
      json_schema: { name: "weather", schema: schema as Record<string, unknown>, ...more },
    },
  });

  test("of a schema is enforced and shown to the model; other forms are only enforced", async () => {
    await using server = await serve('{"city": "Oslo"}');
    const create = async (more: object) => {
      const { status } = await server.send("/v1/chat/completions", {
        model: "base",
        messages: hello,
        ...more,
      });
      expect(status).toBe(200);
      return server.engine.seen.at(-1)!.grammar;
    };
    expect(await create(format(parameters))).toMatchObject({ type: "json_schema", schema: parameters });
    expect(prompt(server)).toContain('"required": ["city"]');
    expect(await create({ response_format: { type: "json_object" } })).toMatchObject({ type: "json_object" });
    const plain = await create({});
    expect(plain).toBeUndefined();
    const bare = prompt(server);
    expect(await create({ structured_outputs: { regex: "[a-z]+" } })).toEqual({
      type: "regex",
      pattern: "[a-z]+",
    });
    expect(await create({ grammar: 'root ::= "a"' })).toEqual({ type: "gbnf", text: 'root ::= "a"' });
    expect(await create({ json_schema: parameters })).toEqual({
      type: "json_schema",
      schema: parameters,
      whitespace: "compact",
    });
    expect(prompt(server)).toBe(bare);
  });

  test("of a completion is enforced, too", async () => {
    await using server = await serve("yes");
    const send = (more: object) => server.send("/v1/completions", { model: "base", prompt: "Once", ...more });
    expect((await send({ structured_outputs: { choice: ["yes", "no"] } })).status).toBe(200);
    expect(server.engine.seen.at(-1)!.grammar).toEqual({ type: "choice", choices: ["yes", "no"] });
    const { status, json } = await send({ ...format({ uniqueItems: true }), stream: true });
    expect([status, json.error.param]).toEqual([400, "response_format"]);
  });

  test("that cannot be enforced is refused in OpenAI's words, before a stream begins", async () => {
    await using server = await serve("{}");
    for (const stream of [false, true]) {
      const refused = server.client().chat.completions.create({
        model: "base",
        messages: hello,
        stream,
        ...format({ uniqueItems: true }),
      });
      await expect(refused).rejects.toThrow(BadRequestError);
      await expect(refused).rejects.toMatchObject({
        param: "response_format",
        code: null,
        type: "invalid_request_error",
        message: expect.stringContaining(
          "Invalid schema for response_format 'weather': uniqueItems at /properties/city",
        ),
      });
    }
    const body = { model: "base", messages: hello, structured_outputs: { json: { uniqueItems: true } } };
    const { status, json } = await server.send("/v1/chat/completions", body);
    expect([status, json.error.param]).toEqual([400, "structured_outputs.json"]);
    expect(server.engine.running).toBe(0);
  });

  test("with strict has to be in OpenAI's strict subset", async () => {
    await using server = await serve("{}");
    const open = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
    const strictly = (schema: object) => ({
      ...format(schema, { strict: true }),
      tools: [makeTool("rain", { parameters: schema, strict: true })],
    });
    const send = (more: object) =>
      server.send("/v1/chat/completions", { model: "base", messages: hello, ...more });
    expect((await send(strictly(parameters))).status).toBe(200);
    const { response_format, tools: strict } = strictly(open);
    for (const [more, param, name] of [
      [{ response_format }, "response_format", "response_format 'weather'"],
      [{ tools: strict }, "tools[0].function.parameters", "function 'rain'"],
    ] as const) {
      const { status, json } = await send(more);
      const message = expect.stringContaining(
        `Invalid schema for ${name}: In context=(), 'additionalProperties' is required to be supplied and to be false`,
      );
      expect([status, json.error]).toEqual([400, expect.objectContaining({ param, message })]);
    }
    expect((await send(format(open))).status).toBe(200);
  });

  test("as a grammar leaves no room for tools", async () => {
    await using server = await serve("yes");
    const body = { model: "base", messages: hello, tools, structured_outputs: { choice: ["yes"] } };
    const { status, json } = await server.send("/v1/chat/completions", body);
    expect([status, json.error.param]).toEqual([400, "structured_outputs.choice"]);
    expect((await server.send("/v1/chat/completions", { ...body, tool_choice: "none" })).status).toBe(200);
  });
});

describe("a function whose parameters cannot be enforced", () => {
  const odd = { type: "object", uniqueItems: true };

  test("takes any object, which a header tells", async () => {
    await using server = await serve(call("odd", '{"a": 1}'));
    const body = { model: "base", messages: hello, tools: [...tools, makeTool("odd", { parameters: odd })] };
    const { status, headers, json } = await server.send("/v1/chat/completions", body);
    expect([status, headers.get("x-unenforced-tools")]).toEqual([200, "odd"]);
    expect(json.choices[0].message.tool_calls[0].function).toEqual({ name: "odd", arguments: '{"a": 1}' });
    expect(prompt(server)).toContain("uniqueItems");
    const { headers: others } = await server.send("/v1/chat/completions", { ...body, tools });
    expect(others.get("x-unenforced-tools")).toBeNull();
  });

  test("is so for names that the model's calls cannot have, too", async () => {
    const name = "tool-templates/qwen3_5.jinja";
    const source = await readFile(`test/fixtures/${name}`, "utf8");
    const own = await loadTextFromFolder("assets/tiny-english");
    const template = chatTemplate({ template: source, name, tokenizer: own.tokenizer });
    const refuse = (given: GrammarSource): GrammarError | undefined => {
      try {
        grammarFromSource(given);
        return undefined;
      } catch (error) {
        if (error instanceof GrammarError) return error;
        throw error;
      }
    };
    const engine = { answer: "Hi", refuseGrammar: refuse, maxLength: 4096, text: { ...own, template } };
    await using server = await makeServer({ engine });
    const named = { type: "object", properties: { "a>b": { type: "string" } } };
    const body = {
      model: "base",
      messages: hello,
      tools: [...tools, makeTool("odd", { parameters: named })],
    };
    const { status, headers } = await server.send("/v1/chat/completions", body);
    expect([status, headers.get("x-unenforced-tools")]).toEqual([200, "odd"]);
  });

  test("is refused if it is strict", async () => {
    await using server = await serve("");
    const body = {
      model: "base",
      messages: hello,
      tools: [...tools, makeTool("odd", { parameters: odd, strict: true })],
    };
    const { status, json } = await server.send("/v1/chat/completions", body);
    expect([status, json.error]).toEqual([
      400,
      expect.objectContaining({
        param: "tools[2].function.parameters",
        code: "invalid_function_parameters",
        message: expect.stringContaining("Invalid schema for function 'odd': "),
      }),
    ]);
  });
});

test("a custom tool takes a text, by a regular expression or a grammar in Lark", async () => {
  await using server = await serve(
    '<tool_call>\n{"name": "note", "arguments": {"input": "a \\"b\\""}}\n</tool_call>',
  );
  const custom = (syntax: string, definition = '[a-z "]+') => ({
    type: "custom",
    custom: { name: "note", format: { type: "grammar", grammar: { syntax, definition } } },
  });
  const send = (tool: object) =>
    server.send("/v1/chat/completions", { model: "base", messages: hello, tools: [tool] });
  const { json } = await send(custom("regex"));
  expect(json.choices[0]).toMatchObject({
    message: { tool_calls: [{ type: "custom", custom: { name: "note", input: 'a "b"' } }] },
    finish_reason: "tool_calls",
  });
  expect(JSON.stringify(server.engine.seen.at(-1)!.grammar)).toContain("^(?:[a-z ");
  expect((await send(custom("lark", "start: /[a-z]+/"))).status).toBe(200);
  expect(JSON.stringify(server.engine.seen.at(-1)!.grammar)).toContain(
    '{"type":"lark","text":"start: /[a-z]+/"}',
  );
  const refused = await send(custom("lark", 'start: "uniqueItems"'));
  expect([refused.status, refused.json.error.param]).toEqual([400, "tools[0].custom.format"]);
});

test("a schema may be as large as OpenAI's limit, and null in it is a value", async () => {
  await using server = await serve("{}");
  const property = (i: number) => [`p${i}`, { type: "string", description: "x", const: null }];
  const properties = Object.fromEntries(Array.from({ length: 5000 }, (_, i) => property(i)));
  const schema = { type: "object", properties, required: Object.keys(properties) };
  for (const fields of [
    { response_format: { type: "json_object", schema } },
    { json_schema: schema },
    { structured_outputs: { json: schema } },
  ]) {
    const body = { model: "base", prompt: "Once", ...fields };
    expect((await server.send("/v1/completions", body)).status).toBe(200);
    expect(server.engine.seen.at(-1)!.grammar).toEqual({
      type: "json_schema",
      schema,
      whitespace: "compact",
    });
  }
  const metadata = Array.from({ length: 30 }, () => Array.from({ length: 1000 }, () => 1));
  const { status } = await server.send("/v1/completions", { model: "base", prompt: "Once", metadata });
  expect(status).toBe(400);
});

test("metrics count grammars, and refusals by keyword", async () => {
  await using server = await serve("");
  const { text } = await server.send("/metrics");
  for (const line of [
    "mos_grammar_compiles_total 3",
    "mos_grammar_hits_total 2",
    "mos_grammar_compile_seconds_total 0.5",
    "mos_grammar_mask_seconds_total 0.125",
    'mos_grammar_refusals_total{keyword="uniqueItems"} 1',
  ])
    expect(text.split("\n")).toContain(line);
});

test("the OpenAPI document has every field", async () => {
  await using server = await serve("");
  const { json } = await server.send("/openapi.json");
  const { schemas } = json.components;
  const fields = Object.keys(schemas.ChatRequest.properties);
  for (const field of ["tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"])
    expect(fields).toContain(field);
  for (const { properties } of [schemas.ChatRequest, schemas.CompletionRequest])
    expect(Object.keys(properties)).toEqual(
      expect.arrayContaining(["response_format", "structured_outputs", "grammar", "json_schema"]),
    );
  expect(JSON.stringify(schemas.ChatAnswer)).toContain("tool_calls");
  expect(JSON.stringify(schemas.ChatChunk)).toContain("reasoning_content");
});

// what the client's types allow for tools is what is sent here
void ((): OpenAI.Chat.ChatCompletionTool[] => tools);
