// Fields that OpenAI's and vLLM's clients send: what each means to the engine, and what is refused.
import { beforeAll, describe, expect, test } from "vitest";
import { type Harness, makeServer } from "./harness.ts";

let server: Harness;
beforeAll(async () => {
  server = await makeServer();
});

const hello = [{ role: "user", content: "Hello" }];
const chat = (more: object) =>
  server.send("/v1/chat/completions", { model: "base", messages: hello, ...more });
const complete = (more: object) => server.send("/v1/completions", { model: "base", prompt: "Once", ...more });
const promptText = () => server.engine.text.tokenizer.decode(server.engine.seen.at(-1)!.prompt);

test("penalties, biases and conditions of the end reach the engine, of chats and completions", async () => {
  const fields = {
    presence_penalty: -1.5,
    frequency_penalty: 0.5,
    repetition_penalty: 1.1,
    logit_bias: { "5": -100, "17": 3.5 },
    top_k: -1,
    min_tokens: 2,
    ignore_eos: true,
    stop_token_ids: [7, 8],
    stop: ["", "a", "b", "c", "d", "e", ""],
    skip_special_tokens: true,
  };
  for (const send of [chat, complete]) {
    expect((await send(fields)).status).toBe(200);
    const { sampling, ...request } = server.engine.seen.at(-1)!;
    expect(sampling).toMatchObject({
      presencePenalty: -1.5,
      frequencyPenalty: 0.5,
      repetitionPenalty: 1.1,
      topK: 0,
      logitBias: new Map([
        [5, -100],
        [17, 3.5],
      ]),
    });
    expect(request).toMatchObject({
      minTokens: 2,
      ignoreEos: true,
      stopTokens: [7, 8],
      stop: ["a", "b", "c", "d", "e"],
    });
  }
  expect((await chat({ stop: "" })).status).toBe(200);
  expect(server.engine.seen.at(-1)!.stop).toEqual([]);
});

test("fields that change no answer are accepted", async () => {
  const { status } = await chat({
    store: true,
    metadata: { purpose: "test" },
    user: "u",
    prediction: { type: "content", content: "x" },
    safety_identifier: "s",
    service_tier: "flex",
    prompt_cache_key: "k",
    prompt_cache_retention: "24h",
    reasoning_effort: "low",
    verbosity: "medium",
    tools: [],
    tool_choice: "auto",
    functions: [],
    function_call: "none",
    parallel_tool_calls: false,
    response_format: { type: "text" },
    modalities: ["text"],
    web_search_options: null,
    audio: null,
  });
  expect(status).toBe(200);
});

test.each([
  [
    "logit_bias",
    { logit_bias: { "512000": 1 } },
    /logit_bias has "512000"; token ids are whole numbers from 0 to/,
  ],
  ["logit_bias", { logit_bias: { "1.5": 1 } }, /"1\.5"/],
  ["logit_bias.5", { logit_bias: { "5": 101 } }, /logit_bias\.5/],
  ["logit_bias", { logit_bias: Object.fromEntries(Array.from({ length: 1025 }, (_, i) => [i, 1])) }, /1024/],
  ["stop_token_ids", { stop_token_ids: [512_000] }, /stop_token_ids has 512000/],
  ["presence_penalty", { presence_penalty: 2.5 }, /presence_penalty/],
  ["frequency_penalty", { frequency_penalty: -3 }, /frequency_penalty/],
  ["min_tokens", { min_tokens: 9, max_tokens: 8 }, /min_tokens is 9, more than the answer may have \(8\)/],
  ["stop", { stop: Array.from({ length: 17 }, String) }, /stop/],
])("%s is refused, for chats and completions", async (param, fields, message) => {
  for (const send of [chat, complete]) {
    const { status, json } = await send(fields);
    expect([status, json.error]).toEqual([
      400,
      {
        type: "invalid_request_error",
        param,
        code: "invalid_value",
        message: expect.stringMatching(message),
      },
    ]);
  }
});

test.each([
  ["metadata", { metadata: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, "v"])) }],
  ["metadata", { metadata: { ["k".repeat(65)]: "v" } }],
  ["metadata.k", { metadata: { k: "v".repeat(513) } }],
  ["metadata.k", { metadata: { k: 1 } }],
  ["chat_template_kwargs", { chat_template_kwargs: "x" }],
  ["chat_template_kwargs", { chat_template_kwargs: { messages: [] } }],
  ["chat_template_kwargs", { chat_template_kwargs: { add_generation_prompt: false } }],
  ["chat_template_kwargs", { chat_template_kwargs: { bos_token: "x" } }],
  ["continue_final_message", { continue_final_message: true }],
  ["continue_final_message", { continue_final_message: true, add_generation_prompt: true }],
])("%s of a chat is refused: %j", async (param, fields) => {
  const { status, json } = await chat(fields);
  expect([status, json.error.param]).toEqual([400, param]);
});

describe("messages", () => {
  test("of an assistant may have no content, and reasoning and cache control are ignored", async () => {
    await chat({ messages: [...hello, { role: "assistant", content: "" }, ...hello] });
    const plain = server.engine.seen.at(-1)!.prompt;
    const cached = { cache_control: { type: "ephemeral" } };
    for (const answer of [
      { role: "assistant", content: null },
      { role: "assistant", content: null, reasoning_content: "Let me think." },
      { role: "assistant", reasoning: "Let me think.", ...cached },
    ]) {
      const parts = [{ type: "text", text: "Hello", ...cached }];
      const messages = [{ role: "user", content: parts, ...cached }, answer, ...hello];
      expect((await chat({ messages })).status).toBe(200);
      expect(server.engine.seen.at(-1)!.prompt).toEqual(plain);
    }
  });

  test("of an assistant as the Agents SDK sends them back: a part with the members of the message", async () => {
    const send = (content: unknown) =>
      chat({ messages: [...hello, { role: "assistant", content }, ...hello] });
    await send("I see.");
    const plain = server.engine.seen.at(-1)!.prompt;
    const members = { role: "assistant", refusal: null, reasoning_content: "Hm.", tool_calls: [{ id: "a" }] };
    const { status, json } = await send([{ type: "text", text: "I see.", ...members }]);
    expect([status, json.error]).toEqual([200, undefined]);
    expect(server.engine.seen.at(-1)!.prompt).toEqual(plain);
  });

  test.each([
    ["an image", { type: "image_url", image_url: { url: "data:image/png;base64,AAAA" } }],
    ["an image", { type: "input_image", image_url: "https://example.com/a.png" }],
    ["audio", { type: "input_audio", input_audio: { data: "AAAA", format: "wav" } }],
    ["a file", { type: "file", file: { file_id: "file-1" } }],
  ])("with %s are refused in words of their own: %j", async (what, part) => {
    const content = [{ type: "text", text: "What is this?" }, part];
    const { status, json } = await chat({ messages: [...hello, { role: "user", content }] });
    expect(status).toBe(400);
    expect(json.error).toMatchObject({
      message: `messages.1.content.1 is ${what} (type "${part.type}"); this server's models read text only`,
      type: "invalid_request_error",
      param: "messages.1.content.1",
      code: "unsupported_value",
    });
  });

  test("end with an assistant's beginning, which the answer continues", async () => {
    await chat({});
    const start = promptText();
    const messages = [...hello, { role: "assistant", content: "I say" }];
    const prefill = { messages, continue_final_message: true, add_generation_prompt: false };
    const { json } = await chat(prefill);
    expect(promptText()).toBe(`${start}I say`);
    expect(server.engine.seen.at(-1)!.continuesPrompt).toBe(true);
    expect(json.choices[0].message.content).toBe(" one two three four five six");
    await chat({ add_generation_prompt: false });
    expect(start.startsWith(promptText())).toBe(true);
    expect(promptText()).not.toBe(start);
  });
});

describe("log-probabilities of an answer without tokens are empty lists:", () => {
  const none = { max_tokens: 5, stop: " one" };
  const events = (text: string) =>
    text
      .split("\n\n")
      .filter((line) => line.startsWith("data: {"))
      .map((line) => JSON.parse(line.slice("data: ".length)));

  test("of a chat", async () => {
    const { json } = await chat({ ...none, logprobs: true });
    expect(json.choices[0].logprobs).toEqual({ content: [], refusal: null });
    const { text } = await chat({ ...none, logprobs: true, stream: true });
    const lists = events(text).flatMap(({ choices }) =>
      choices.map((one: { logprobs: unknown }) => one.logprobs),
    );
    expect(lists).toContainEqual({ content: [], refusal: null });
    expect((await chat(none)).json.choices[0].logprobs).toBeNull();
  });

  test("of a completion", async () => {
    const empty = { tokens: [], token_logprobs: [], top_logprobs: [], text_offset: [] };
    const { json } = await complete({ ...none, logprobs: 1 });
    expect(json.choices[0].logprobs).toEqual(empty);
    const { text } = await complete({ ...none, logprobs: 1, stream: true });
    expect(events(text).at(-1).choices[0].logprobs).toEqual(empty);
    expect((await complete(none)).json.choices[0].logprobs).toBeNull();
  });
});

test("cached tokens of a prompt count once, however many choices it has", async () => {
  const { json } = await complete({
    prompt: [
      [5, 6, 7],
      [8, 9],
    ],
    n: 2,
  });
  // the fake engine says of every prompt that all but its last token were cached
  expect(json.usage).toMatchObject({ prompt_tokens: 5, prompt_tokens_details: { cached_tokens: 3 } });
});
