// The Responses API through OpenAI's own client, without a port.
import { NotFoundError, type OpenAI } from "openai";
import { beforeAll, describe, expect, test } from "vitest";
import { type Harness, makeServer } from "./harness.ts";

const WORDS = " one two three four five six";
let server: Harness;
let client: OpenAI;

beforeAll(async () => {
  server = await makeServer({ engine: { adapters: ["acme"], maxLength: 2048 } });
  client = server.client();
});

/** Keys that Open Responses requires of a response. */
const REQUIRED = [
  ...["id", "object", "created_at", "completed_at", "status", "incomplete_details", "model"],
  ...["previous_response_id", "instructions", "output", "error", "tools", "tool_choice", "truncation"],
  ...["parallel_tool_calls", "text", "top_p", "presence_penalty", "frequency_penalty", "top_logprobs"],
  ...["temperature", "reasoning", "user", "usage", "max_output_tokens", "max_tool_calls", "store"],
  ...["background", "service_tier", "metadata", "safety_identifier", "prompt_cache_key"],
];

const events = (text: string) =>
  text
    .trim()
    .split("\n\n")
    .map((block) => {
      const [event = "", data = ""] = block.split("\n");
      return { event: event.replace("event: ", ""), data: JSON.parse(data.replace("data: ", "")) };
    });

describe("an answer", () => {
  test("as a whole has every key, the text and the usage", async () => {
    const response = await client.responses.create({
      model: "acme",
      input: "Hello",
      instructions: "Be brief.",
    });
    expect(Object.keys(response)).toEqual(expect.arrayContaining(REQUIRED));
    expect(response).toMatchObject({
      status: "completed",
      model: "acme",
      store: true,
      instructions: "Be brief.",
      text: { format: { type: "text" } },
      error: null,
    });
    expect(response.output_text).toBe(` acme:${WORDS}`);
    expect(response.usage?.total_tokens).toBe(response.usage!.input_tokens + response.usage!.output_tokens);
    expect(server.engine.seen.at(-1)).toMatchObject({ adapter: "acme" });
  });

  test("as a stream: numbered events whose deltas are the text, the last with the whole response", async () => {
    const { text, headers } = await server.send("/v1/responses", {
      model: "base",
      input: "Hello",
      stream: true,
    });
    expect(headers.get("content-type")).toMatch("text/event-stream");
    const found = events(text);
    expect(found.map(({ data }) => data.sequence_number)).toEqual(found.map((_, i) => i));
    for (const { event, data } of found) expect(data.type).toBe(event);
    expect(found[0]?.data).toMatchObject({ type: "response.created", response: { status: "in_progress" } });
    const deltas = found.filter(({ event }) => event === "response.output_text.delta");
    expect(deltas.map(({ data }) => data.delta).join("")).toBe(WORDS);
    expect(found.at(-1)?.data).toMatchObject({
      type: "response.completed",
      response: { status: "completed", output: [{ content: [{ text: WORDS }] }] },
    });
  });

  test("OpenAI's client accumulates the stream to the same response", async () => {
    const stream = client.responses.stream({ model: "base", input: [{ role: "user", content: "Hello" }] });
    let text = "";
    for await (const event of stream) if (event.type === "response.output_text.delta") text += event.delta;
    const final = await stream.finalResponse();
    expect(text).toBe(WORDS);
    expect(final.output_text).toBe(WORDS);
  });

  test("that is cut off is incomplete", async () => {
    const response = await client.responses.create({ model: "base", input: "Hello", max_output_tokens: 2 });
    expect(response).toMatchObject({
      status: "incomplete",
      incomplete_details: { reason: "max_output_tokens" },
      output: [{ status: "incomplete" }],
    });
  });

  test("has log-probabilities where they are asked for", async () => {
    const { json } = await server.send("/v1/responses", {
      model: "base",
      input: "Hello",
      include: ["message.output_text.logprobs"],
    });
    const [part] = json.output[0].content;
    expect(part.logprobs.map(({ token }: { token: string }) => token).join("")).toBe(WORDS);
  });
});

describe("what is stored", () => {
  test("a response is retrieved, listed, continued and deleted", async () => {
    const first = await client.responses.create({ model: "base", input: "My name is Kim." });
    expect((await client.responses.retrieve(first.id)).output_text).toBe(WORDS);
    await expect(client.responses.retrieve(first.id, { stream: true })).rejects.toMatchObject({
      status: 400,
      param: "stream",
    });
    const before = server.engine.seen.at(-1)!.prompt.length;
    const second = await client.responses.create({
      model: "base",
      input: "What is my name?",
      previous_response_id: first.id,
    });
    expect(second.previous_response_id).toBe(first.id);
    expect(server.engine.seen.at(-1)!.prompt.length).toBeGreaterThan(before);
    const items = [];
    for await (const item of client.responses.inputItems.list(second.id)) items.push(item);
    expect(items).toMatchObject([{ role: "user", content: "What is my name?" }]);
    await client.responses.delete(first.id);
    await expect(client.responses.retrieve(first.id)).rejects.toThrow(NotFoundError);
    const lost = await server.send("/v1/responses", {
      model: "base",
      input: "Again?",
      previous_response_id: second.id,
    });
    expect(lost.json.error).toMatchObject({
      code: "previous_response_not_found",
      param: "previous_response_id",
    });
  });

  test("its input items come in pages, the last first unless asked otherwise", async () => {
    const input = ["one", "two", "three", "four"].map((content) => ({ role: "user" as const, content }));
    const { id } = await client.responses.create({ model: "base", input });
    const page = async (query: string) => {
      const { json } = await server.send(`/v1/responses/${id}/input_items${query}`);
      const { data, first_id, last_id, has_more } = json;
      expect([first_id, last_id]).toEqual([data[0]?.id ?? null, data.at(-1)?.id ?? null]);
      return { texts: data.map(({ content }: { content: unknown }) => content), last_id, has_more };
    };
    expect(await page("")).toMatchObject({ texts: ["four", "three", "two", "one"], has_more: false });
    const first = await page("?order=asc&limit=3");
    expect(first).toMatchObject({ texts: ["one", "two", "three"], has_more: true });
    const second = await page(`?order=asc&limit=3&after=${first.last_id}`);
    expect(second).toMatchObject({ texts: ["four"], has_more: false });
    expect(await page(`?order=asc&after=${second.last_id}`)).toMatchObject({ texts: [], has_more: false });
    const last = await page("?limit=1");
    expect(last).toMatchObject({ texts: ["four"], has_more: true });
    expect(await page(`?limit=3&after=${last.last_id}`)).toMatchObject({
      texts: ["three", "two", "one"],
      has_more: false,
    });
  });

  test("an item is referred to by its id, as the AI SDK does", async () => {
    const first = await client.responses.create({ model: "base", input: "Hello" });
    const item = first.output[0]!;
    const input = [
      { role: "user", content: "Hello" },
      { type: "item_reference", id: item.id },
      { role: "user", content: "Go on" },
    ];
    const { status } = await server.send("/v1/responses", { model: "base", input, store: false });
    expect(status).toBe(200);
    const wrong = await server.send("/v1/responses", {
      model: "base",
      input: [{ type: "item_reference", id: "msg_none" }],
    });
    expect(wrong.status).toBe(400);
    expect(wrong.json.error).toMatchObject({ code: "item_not_found", param: "input[0]" });
  });

  test("store: false stores nothing, and a server without a store says how to get one", async () => {
    const own = await client.responses.create({ model: "base", input: "Hello", store: false });
    expect(own).toMatchObject({ store: false });
    await expect(client.responses.retrieve(own.id)).rejects.toThrow(NotFoundError);
    const bare = await makeServer({ server: { responses: { bytes: 0 } } });
    const { json } = await bare.send("/v1/responses", {
      model: "base",
      input: "x",
      previous_response_id: "resp_1",
    });
    expect(json.error.message).toMatch("--response-bytes");
    expect((await bare.send("/v1/responses", { model: "base", input: "x" })).json.store).toBe(false);
  });
});

describe("compaction", () => {
  const input = [
    { role: "user" as const, content: "We launch on Tuesday." },
    { role: "assistant" as const, content: "Understood." },
  ];

  test("gives an item in which the model has summarised the conversation, and which the next request begins with", async () => {
    const compacted = await client.responses.compact({ model: "base", input, instructions: "Be brief." });
    const item = { type: "compaction", id: expect.stringMatching(/^cmp_/), encrypted_content: WORDS.trim() };
    expect(compacted).toMatchObject({ object: "response.compaction", output: [item] });
    expect(compacted.usage.output_tokens).toBeGreaterThan(0);
    const { tokenizer } = server.engine.text;
    const asked = tokenizer.decode(server.engine.seen.at(-1)!.prompt);
    expect(asked).toContain("Tuesday");
    expect(asked).toContain("Summarise our conversation");
    const next = [...compacted.output, { role: "user" as const, content: "When?" }];
    await client.responses.create({
      model: "base",
      instructions: "Be brief.",
      input: next as OpenAI.Responses.ResponseInput,
    });
    const chat = await server.send("/v1/chat/completions", {
      model: "base",
      messages: [
        { role: "system", content: `Be brief.\n\nThe conversation so far:\n${WORDS.trim()}` },
        { role: "user", content: "When?" },
      ],
    });
    expect(chat.status).toBe(200);
    const [own, same] = server.engine.seen.slice(-2);
    expect(own!.prompt).toEqual(same!.prompt);
  });

  test("needs a model, and a summary", async () => {
    const { status, json } = await server.send("/v1/responses/compact", { input });
    expect([status, json.error.param]).toEqual([400, "model"]);
    const silent = await makeServer({ engine: { answer: " " } });
    const nothing = await silent.send("/v1/responses/compact", { model: "base", input });
    expect([nothing.status, nothing.json.error.code]).toEqual([422, "no_summary"]);
  });
});

describe("fields", () => {
  test.each([
    ["background", true],
    ["conversation", "conv_1"],
    ["prompt", { id: "pmpt_1" }],
  ])("%s is refused by name", async (field, value) => {
    const { status, json } = await server.send("/v1/responses", {
      model: "base",
      input: "x",
      [field]: value,
    });
    expect(status).toBe(400);
    expect(json.error.param).toBe(field);
  });

  test("Codex's requests are answered: its hosted tools are skipped, which a header says", async () => {
    const { status, json, headers } = await server.send("/v1/responses", {
      model: "base",
      instructions: "You are a coding agent.",
      input: [
        { type: "message", role: "developer", content: [{ type: "input_text", text: "Sandbox: on" }] },
        { type: "message", role: "user", content: [{ type: "input_text", text: "hi" }] },
      ],
      tools: [
        {
          type: "function",
          name: "shell",
          description: "Runs",
          strict: false,
          parameters: { type: "object" },
        },
        { type: "web_search", external_web_access: false },
        { type: "namespace", name: "mcp", description: "d", tools: [{ type: "function", name: "read" }] },
      ],
      tool_choice: "auto",
      parallel_tool_calls: false,
      reasoning: null,
      store: false,
      stream: false,
      include: [],
      prompt_cache_key: "k",
    });
    expect(json.error).toBeNull();
    expect(status).toBe(200);
    expect(headers.get("x-skipped-tools")).toBe("web_search");
    expect(json.tools.map(({ name }: { name: string }) => name)).toEqual(["shell", "mcp"]);
  });

  test("a hosted tool that is demanded, or is the only one, is refused by its type", async () => {
    const only = await server.send("/v1/responses", { model: "base", input: "x", tools: [{ type: "mcp" }] });
    expect(only.json.error).toMatchObject({ param: "tools[0]", code: "unsupported_value" });
    const demanded = await server.send("/v1/responses", {
      model: "base",
      input: "x",
      tools: [{ type: "function", name: "f" }, { type: "web_search" }],
      tool_choice: { type: "web_search" },
    });
    expect(demanded.json.error).toMatchObject({ param: "tool_choice" });
  });

  test("the tokens of an input are counted without an answer", async () => {
    const { json } = await server.send("/v1/responses/input_tokens", { model: "base", input: "Hello" });
    expect(json).toEqual({ object: "response.input_tokens", input_tokens: expect.any(Number) });
  });
});
