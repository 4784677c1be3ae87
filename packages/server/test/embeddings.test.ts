// POST /v1/embeddings, through OpenAI's own client and without it, without a port.

import { MosError } from "mixture-of-shards-core/common";
import { BadRequestError, NotFoundError } from "openai";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openApp } from "../src/index.ts";
import { type Harness, type HarnessOptions, makeServer } from "./harness.ts";

let server: Harness;
const open = async (options: HarnessOptions = {}): Promise<void> => {
  server = await makeServer({ engine: { adapters: ["acme", "broken"] }, ...options });
};
beforeEach(() => open());
afterEach(() => server[Symbol.asyncDispose]());

const post = (body: object, headers = {}) =>
  server.send("/v1/embeddings", { model: "base", ...body }, headers);
const vectors = (answer: { readonly data: readonly { readonly embedding: readonly number[] }[] }) =>
  answer.data.map(({ embedding }) => embedding);

describe("OpenAI's client", () => {
  test("gets vectors of length 1 in the order of its texts, in its own format and as numbers", async () => {
    const client = server.client();
    const input = ["one", "two words", "and three more words"];
    const answer = await client.embeddings.create({ model: "base", input }); // in base64, which the client decodes
    expect(answer).toMatchObject({ object: "list", model: "base" });
    expect(answer.data.map(({ index, object }) => [index, object])).toEqual(
      [0, 1, 2].map((i) => [i, "embedding"]),
    );
    const tokens = server.engine.seen.reduce((sum, { prompt }) => sum + prompt.length, 0);
    expect(answer.usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens });
    const numbers = await client.embeddings.create({ model: "base", input, encoding_format: "float" });
    expect(vectors(numbers).map((vector) => vector.map(Math.fround))).toEqual(vectors(answer));
    for (const vector of vectors(answer)) expect(Math.hypot(...vector)).toBeCloseTo(1, 6);
    for (const [i, text] of input.entries()) {
      const alone = await client.embeddings.create({ model: "base", input: text });
      expect(vectors(alone)).toEqual([vectors(answer)[i]]);
    }
  });

  test("gets those of an adapter, and fewer dimensions", async () => {
    const client = server.client();
    const [base] = vectors(await client.embeddings.create({ model: "base", input: "one" }));
    const adapted = await client.embeddings.create({ model: "acme", input: "one" });
    expect(adapted.model).toBe("acme");
    expect(vectors(adapted)[0]).toEqual(base!.map((value) => -value));
    const [two] = vectors(await client.embeddings.create({ model: "base", input: "one", dimensions: 2 }));
    const length = Math.hypot(base![0]!, base![1]!);
    expect(two!.map((value) => value.toFixed(6))).toEqual(
      base!.slice(0, 2).map((value) => (value / length).toFixed(6)),
    );
  });

  test("gets errors of its own classes", async () => {
    const client = server.client();
    await expect(client.embeddings.create({ model: "nobody", input: "x" })).rejects.toThrow(NotFoundError);
    await expect(client.embeddings.create({ model: "base", input: "" })).rejects.toThrow(BadRequestError);
    await expect(client.embeddings.create({ model: "broken", input: "x" })).rejects.toMatchObject({
      status: 422,
    });
  });
});

test("token ids are texts, too, and reach the engine as they are", async () => {
  await post({ input: [5, 6, 7] });
  await post({ input: [[5, 6], [7]] });
  const seen = server.engine.seen.map(({ prompt, pooling, adapter }) => [prompt, pooling, adapter]);
  expect(seen).toEqual([[5, 6, 7], [5, 6], [7]].map((prompt) => [prompt, "last", null]));
});

test("a text gets what the tokenizer adds to whole texts", async () => {
  const { tokenizer } = server.engine.text;
  const encode = (text: string, options: object = {}) => [
    ...tokenizer.encode(text, { addSpecialTokens: false }),
    ...("addSpecialTokens" in options ? [] : [2]),
  ];
  await open({ engine: { text: { ...server.engine.text, tokenizer: { ...tokenizer, encode } } } });
  await post({ input: "one" });
  expect(server.engine.seen.at(-1)!.prompt.at(-1)).toBe(2);
  expect((await post({ input: ["one", ""] })).json.error).toMatchObject({ param: "input.1" });
});

test.each([
  ["no input", {}, "invalid_value", "input"],
  ["an empty list", { input: [] }, "invalid_value", "input"],
  ["ids mixed with texts", { input: [1, "x"] }, "invalid_value", "input"],
  ["an empty text", { input: "" }, "invalid_value", "input"],
  ["an empty text among others", { input: ["x", ""] }, "invalid_value", "input.1"],
  ["an empty list of ids", { input: [[1], []] }, "invalid_value", "input"],
  ["a long text", { input: ["x", "x", "word ".repeat(300)] }, "context_length_exceeded", "input.2"],
  ["long ids among others", { input: [[1], Array(300).fill(1)] }, "context_length_exceeded", "input.1"],
  ["long ids", { input: Array(300).fill(1) }, "context_length_exceeded", "input"],
  ["an unknown id", { input: [[1], [10_000_000]] }, "invalid_value", "input.1"],
  ["too many texts", { input: Array(2049).fill("x") }, "invalid_value", "input"],
  ["no dimensions", { input: "x", dimensions: 0 }, "invalid_value", "dimensions"],
  ["too many dimensions", { input: "x", dimensions: 5 }, "invalid_value", "dimensions"],
  ["another format", { input: "x", encoding_format: "int8" }, "invalid_value", "encoding_format"],
  ["an unknown field", { input: "x", truncate: true }, "unknown_parameter", "truncate"],
])("%s is refused", async (_, body, code, param) => {
  const { status, json } = await post(body);
  expect([status, json.error.code, json.error.param]).toEqual([400, code, param]);
  expect(json.error.message).toContain(param);
  expect(server.engine.seen).toEqual([]);
});

test("2,048 texts are taken at once, of which the engine has 16 at a time", async () => {
  await open({ engine: { capacity: 16 } });
  const { json } = await post({
    input: Array.from({ length: 2048 }, (_, i) => [i % 500]),
    user: "me",
    dimensions: null,
  });
  expect(json.data).toHaveLength(2048);
  expect(json.data.map(({ index }: { index: number }) => index)).toEqual([...Array(2048).keys()]);
  expect(json.usage.prompt_tokens).toBe(2048);
});

test("a model with a pooling that is not supported refuses embeddings, without its path, and chats", async () => {
  const pooling = new MosError(
    "unsupported",
    "/srv/secret/model/modules.json: pooling by cls is not supported",
  );
  await open({ engine: { text: { ...server.engine.text, pooling } } });
  const { status, json } = await post({ input: "x" });
  expect([status, json.error.code, json.error.param]).toEqual([400, "unsupported_value", "model"]);
  expect(json.error.message).toBe("modules.json: pooling by cls is not supported");
  expect((await server.send("/v1/completions", { model: "base", prompt: "x" })).status).toBe(200);
});

test("embeddings count in quotas and metrics, and what does not fit is refused", async () => {
  const keys = { find: async () => ({ name: "acme", isAdmin: true, tokensPerDay: 40, mayUse: () => true }) };
  await open({ server: { keys, limits: { embeddingsInFlight: 200 } } });
  const authorization = { authorization: "Bearer acme" };
  const embed = (count: number) => post({ input: Array.from({ length: count }, () => [1]) }, authorization);
  // the last of them has nothing left to reserve
  expect((await embed(40)).status).toBe(200);
  expect((await embed(1)).json.error).toMatchObject({ code: "insufficient_quota" });
  const { text } = await server.send("/metrics", undefined, authorization);
  expect(text).toContain('mos_key_tokens_total{kind="prompt",key="acme"} 40');
  expect(text).toContain('mos_http_requests_total{route="/v1/embeddings",model="base",status="200"} 1');
  expect((await embed(51)).json.error).toMatchObject({ code: "busy" });
});

test("a client that leaves cancels its texts", async () => {
  await open();
  server.engine.hold();
  const leave = new AbortController();
  const body = JSON.stringify({ model: "base", input: Array(20).fill("x") });
  const headers = { "content-type": "application/json" };
  const answer = server.fetch("/v1/embeddings", { method: "POST", body, headers, signal: leave.signal });
  await expect.poll(() => server.engine.running).toBe(16);
  leave.abort();
  expect((await answer).status).toBe(503);
  expect([server.engine.running, server.engine.cancelled, server.engine.seen.length]).toEqual([0, 16, 16]);
});

test("a real model's vectors come through an app", async () => {
  const app = await openApp({ model: "assets/tiny-english", threads: 1 });
  try {
    const embed = async (input: unknown) => {
      const body = JSON.stringify({ model: "tiny-english", input });
      const headers = { "content-type": "application/json" };
      const request = new Request("http://localhost/v1/embeddings", { method: "POST", body, headers });
      return JSON.parse(await (await app.fetch(request)).text());
    };
    const input = [
      "When can I come in?",
      "What are your opening hours?",
      "Once upon a time there was a dragon.",
    ];
    const all = vectors(await embed(input));
    expect(all.map((vector) => vector.length)).toEqual([128, 128, 128]);
    const ids = app.engine.text.tokenizer.encode(input[2]!);
    expect(vectors(await embed([ids]))[0]!.map((x) => x.toFixed(4))).toEqual(
      all[2]!.map((x) => x.toFixed(4)),
    );
  } finally {
    await app.stop();
  }
});
