// The server through OpenAI's own client, without a port.

import { MosError } from "mixture-of-shards-core/common";
import { APIError, BadRequestError, NotFoundError, type OpenAI, RateLimitError } from "openai";
import { beforeAll, expect, test } from "vitest";
import { type Harness, makeServer } from "./harness.ts";

const WORDS = " one two three four five six";
let server: Harness;
let client: OpenAI;

beforeAll(async () => {
  server = await makeServer({ engine: { adapters: ["acme", "zeta", "broken"] } });
  client = server.client();
});

const hello = [{ role: "user" as const, content: "Hello" }];

test("models are the base and its adapters, with their parent", async () => {
  const models = [];
  for await (const model of client.models.list()) models.push(model);
  expect(models.map(({ id }) => id)).toEqual(["base", "acme", "broken", "zeta"]);
  expect(models[0]).toMatchObject({ object: "model", parent: null, root: "base", owned_by: "mos" });
  expect(await client.models.retrieve("acme")).toMatchObject({ parent: "base", created: 1_700_000_000 });
  await expect(client.models.retrieve("a/../b")).rejects.toThrow(NotFoundError);
});

test("chat answers with the adapter named by model", async () => {
  const answer = await client.chat.completions.create({ model: "base", messages: hello, seed: 7 });
  expect(answer.choices).toEqual([
    {
      index: 0,
      message: { role: "assistant", content: WORDS, refusal: null },
      logprobs: null,
      finish_reason: "stop",
    },
  ]);
  expect(answer.object).toBe("chat.completion");
  const { usage } = answer;
  expect(usage!.total_tokens).toBe(usage!.prompt_tokens + usage!.completion_tokens);
  expect(server.engine.seen.at(-1)).toMatchObject({ adapter: null, seed: 7, tenant: "anybody" });
  const adapted = await client.chat.completions.create({ model: "acme", messages: hello });
  expect(adapted.choices[0]!.message.content).toBe(` acme:${WORDS}`);
  expect(adapted.system_fingerprint).toBe("sha256:acme");
});

test("settings reach the engine, which has defaults for missing ones", async () => {
  await client.chat.completions.create({ model: "base", messages: hello });
  const bare = server.engine.seen.at(-1)!;
  expect(bare.sampling).toEqual({});
  expect(bare.maxTokens).toBe(256 - bare.prompt.length);
  await client.chat.completions.create({
    model: "base",
    messages: [
      { role: "developer", content: "Be brief." },
      {
        role: "user",
        content: [
          { type: "text", text: "Hel" },
          { type: "text", text: "lo" },
        ],
      },
    ],
    temperature: 0.5,
    top_p: 0.9,
    max_completion_tokens: 5,
    stop: " three",
    frequency_penalty: 0,
    logit_bias: null,
    // @ts-expect-error not in OpenAI's API
    top_k: 3,
  });
  expect(server.engine.seen.at(-1)).toMatchObject({
    maxTokens: 5,
    stop: [" three"],
    sampling: { temperature: 0.5, topP: 0.9, topK: 3 },
  });
});

test("messages of an answer are accepted in the next request, with members that are null or empty", async () => {
  const first = await client.chat.completions.create({ model: "base", messages: hello });
  await client.chat.completions.create({
    model: "base",
    messages: [...hello, first.choices[0]!.message, ...hello],
  });
  const plain = server.engine.seen.at(-1)!.prompt;
  // what the Python client's message.model_dump() holds, and other servers' messages
  const dumped = {
    role: "assistant",
    content: [null, { type: "text", text: WORDS, annotations: null, cache_control: null }, null],
    refusal: null,
    annotations: [],
    audio: null,
    function_call: null,
    tool_calls: null,
    name: null,
    reasoning_content: null,
  };
  const again = [{ role: "user", content: "Hello", name: null }, { ...dumped, tool_calls: [] }, ...hello];
  for (const messages of [[...hello, dumped, ...hello], again]) {
    const { status } = await server.send("/v1/chat/completions", {
      model: "base",
      messages,
      stream_options: { include_usage: null },
      response_format: null,
    });
    expect(status).toBe(200);
    expect(server.engine.seen.at(-1)!.prompt).toEqual(plain);
  }
});

test.each([
  ["audio", { content: null, audio: { id: "1" } }],
  ["refusal", { content: null, refusal: "no" }],
  ["annotations", { content: "x", annotations: [{ type: "url_citation" }] }],
])("a message's %s that says something is named", async (member, more) => {
  const messages = [...hello, { role: "assistant", ...more }];
  const { status, json } = await server.send("/v1/chat/completions", { model: "base", messages });
  const named = { code: "unsupported_parameter", param: `messages.1.${member}` };
  expect([status, json.error]).toEqual([400, expect.objectContaining(named)]);
});

test.each([
  ["messages.1.tool_calls.0.function", { content: null, tool_calls: [{ id: "1", type: "function" }] }],
  ["messages.1.tool_calls", { content: "x", tool_calls: "all" }],
  ["messages[1].tool_calls", { content: null, function_call: { name: "f", arguments: "" } }],
])("%s is wrong", async (param, more) => {
  const messages = [...hello, { role: "assistant", ...more }];
  const { status, json } = await server.send("/v1/chat/completions", { model: "base", messages });
  expect([status, json.error.param]).toEqual([400, param]);
});

test.each([
  ["messages.0", [null]],
  ["messages.0.content", [{ role: "user", content: null }]],
  ["messages.0.strange", [{ role: "user", content: "x", strange: 1 }]],
  ["messages.0.role", [{ role: null, content: "x" }]],
])("%s is refused", async (param, messages) => {
  const { status, json } = await server.send("/v1/chat/completions", { model: "base", messages });
  expect([status, json.error.param]).toEqual([400, param]);
});

test("a chat is streamed with usage at the end, also with several answers at once", async () => {
  const stream = await client.chat.completions.create({
    model: "zeta",
    messages: hello,
    n: 2,
    stream: true,
    stream_options: { include_usage: true },
  });
  const texts = ["", ""];
  const finishes: unknown[] = [];
  let usage: unknown;
  for await (const chunk of stream) {
    expect(chunk.object).toBe("chat.completion.chunk");
    for (const { index, delta, finish_reason } of chunk.choices) {
      texts[index] += delta.content ?? "";
      if (finish_reason !== null) finishes.push(finish_reason);
    }
    if (chunk.choices.length === 0) usage = chunk.usage;
    else expect(chunk.usage).toBeNull();
  }
  expect(texts).toEqual([` zeta:${WORDS}`, ` zeta:${WORDS}`]);
  expect(finishes).toEqual(["stop", "stop"]);
  expect(usage).toMatchObject({ completion_tokens: expect.any(Number) });
  expect(usage).toMatchObject({ prompt_tokens_details: { cached_tokens: expect.any(Number) } });
  const [first, second] = server.engine.seen.slice(-2);
  expect(second!.seed).not.toBe(first!.seed);
});

test("log-probabilities of a chat have tokens, bytes and alternatives", async () => {
  const answer = await client.chat.completions.create({
    model: "base",
    messages: hello,
    logprobs: true,
    top_logprobs: 2,
    max_tokens: 3,
  });
  const content = answer.choices[0]!.logprobs!.content!;
  expect(content).toHaveLength(3);
  expect(content.map(({ token }) => token).join("")).toBe(answer.choices[0]!.message.content);
  expect(Buffer.from(content[0]!.bytes!).toString()).toBe(content[0]!.token);
  expect(content[0]!.top_logprobs).toHaveLength(2);
  expect(answer.choices[0]!.finish_reason).toBe("length");
});

test("completions take texts and token ids, one or several", async () => {
  const { choices, usage } = await client.completions.create({ model: "base", prompt: ["a", "b c"], n: 2 });
  expect(choices.map(({ index, text }) => [index, text])).toEqual([0, 1, 2, 3].map((i) => [i, WORDS]));
  expect(usage!.completion_tokens).toBeGreaterThan(0);
  const prompts = server.engine.seen.slice(-4).map(({ prompt }) => prompt);
  expect(prompts[0]).toEqual(prompts[1]);
  await client.completions.create({ model: "base", prompt: [5, 6, 7] });
  expect(server.engine.seen.at(-1)).toMatchObject({
    prompt: [5, 6, 7],
    maxTokens: 16,
    continuesPrompt: true,
  });
  await client.completions.create({ model: "base", prompt: [[5, 6], [8]] });
  expect(server.engine.seen.slice(-2).map(({ prompt }) => prompt)).toEqual([[5, 6], [8]]);
});

test("a completion is streamed with its echo", async () => {
  const stream = await client.completions.create({
    model: "base",
    prompt: "Count:",
    echo: true,
    stream: true,
    logprobs: 1,
  });
  let text = "";
  const tokens: string[] = [];
  let finish: string | null = null;
  for await (const chunk of stream) {
    const choice = chunk.choices[0]!;
    text += choice.text;
    tokens.push(...(choice.logprobs?.tokens ?? []));
    finish = choice.finish_reason ?? finish;
  }
  expect(text).toBe(`Count:${WORDS}`);
  expect(tokens.join("")).toBe(text);
  expect(finish).toBe("stop");
});

test("errors have the classes that the client expects, and name field and code", async () => {
  const unknown = client.chat.completions.create({ model: "nobody", messages: hello });
  await expect(unknown).rejects.toThrow(NotFoundError);
  await expect(unknown).rejects.toMatchObject({ code: "model_not_found", param: "model" });
  const strange = client.chat.completions.create({
    model: "base",
    messages: hello,
    audio: { voice: "alloy", format: "mp3" },
  });
  await expect(strange).rejects.toThrow(BadRequestError);
  await expect(strange).rejects.toMatchObject({ code: "unsupported_parameter", param: "audio" });
  const batches = client.batches.list();
  await expect(batches).rejects.toThrow(NotFoundError);
  await expect(batches).rejects.toMatchObject({ code: "unknown_url" });
  await expect(
    client.chat.completions.create({ model: "base", messages: hello, max_tokens: 100_000 }),
  ).rejects.toMatchObject({ status: 400, code: "context_length_exceeded" });
  await expect(client.chat.completions.create({ model: "broken", messages: hello })).rejects.toMatchObject({
    status: 422,
    code: "bad_adapter",
    message: expect.not.stringContaining("/srv"),
  });
});

test("a full engine is busy, for streams too", async () => {
  await using full = await makeServer({ engine: { capacity: 0 } });
  const impatient = full.client();
  for (const stream of [false, true]) {
    const refused = impatient.chat.completions.create({ model: "base", messages: hello, stream });
    await expect(refused).rejects.toThrow(RateLimitError);
    const { status, headers } = await full.send("/v1/completions", { model: "base", prompt: "x", stream });
    expect([status, headers.get("retry-after")]).toEqual([429, "1"]);
  }
});

test("a stream of several answers does not begin if one of them is not accepted", async () => {
  await using narrow = await makeServer({ engine: { capacity: 2 } });
  for (const more of [{ n: 3 }, { prompt: ["a", "b", "c"] }]) {
    const body = { model: "base", prompt: "x", stream: true, ...more };
    const { status, json } = await narrow.send("/v1/completions", body);
    expect([status, json.error.code]).toEqual([429, "busy"]);
    await expect.poll(() => narrow.engine.running).toBe(0);
  }
  expect(narrow.engine.seen).toEqual([]); // one refusal, and not one for each answer
});

test("a choice that is refused in the middle of a stream ends the stream with an error, and cancels the other choices", async () => {
  await using narrow = await makeServer({ server: { limits: { choicesAtOnce: 2 } } });
  const { engine } = narrow;
  engine.hold(1);
  const { submit } = engine;
  engine.submit = (request) => {
    if (engine.seen.length === 2) throw new MosError("busy", "too many requests wait");
    return submit({ ...request, maxTokens: engine.seen.length === 0 ? 1 : 200 });
  };
  const body = { model: "base", messages: hello, n: 3, stream: true };
  const { status, text } = await narrow.send("/v1/chat/completions", body);
  expect(status).toBe(200);
  const last = JSON.parse(text.trimEnd().split("\n\n").at(-1)!.slice("data: ".length));
  const error = { message: "too many requests wait", type: "rate_limit_error", param: null, code: "busy" };
  expect(last).toEqual({ error });
  expect(text).not.toContain("[DONE]");
  await expect.poll(() => [engine.running, engine.cancelled]).toEqual([0, 1]);
  engine.seen.length = 0;
  const other = narrow.client();
  const read = async () => {
    const stream = other.chat.completions.create({ model: "base", messages: hello, n: 3, stream: true });
    for await (const _ of await stream);
  };
  await expect(read()).rejects.toThrow(APIError);
});

test("a stream starts with its first answer while the others wait", async () => {
  await using narrow = await makeServer();
  const { engine } = narrow;
  const { submit } = engine;
  let release: () => void = () => undefined;
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  engine.submit = async function* (request) {
    if (engine.seen.length > 0) await released;
    yield* submit(request);
  };
  const patient = narrow.client();
  const stream = await patient.chat.completions.create({
    model: "base",
    messages: hello,
    n: 2,
    stream: true,
  });
  const ended: number[] = [];
  for await (const { choices } of stream) {
    const [choice] = choices;
    if (choice?.finish_reason === "stop") ended.push(choice.index);
    if (ended.length === 1) release();
  }
  expect(ended).toEqual([0, 1]);
});
