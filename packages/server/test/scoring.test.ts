// Completions that score texts, as lm-evaluation-harness asks for them.

import { loadTextFromFolder } from "mixture-of-shards-core/text";
import { beforeAll, expect, test } from "vitest";
import { type Harness, makeServer } from "./harness.ts";

let server: Harness;
beforeAll(async () => {
  server = await makeServer();
});

/** The request that local-completions sends for a log-likelihood. */
const scoring = (prompt: unknown) => ({
  model: "base",
  prompt,
  temperature: 0,
  max_tokens: 1,
  logprobs: 1,
  seed: 1234,
  echo: true,
});

test("token ids have one entry each, null first, and one more for the token generated", async () => {
  const prompt = [
    [10, 11, 12],
    [20, 21],
  ];
  const { json } = await server.send("/v1/completions", scoring(prompt));
  for (const [i, choice] of json.choices.entries()) {
    const { tokens, token_logprobs, top_logprobs, text_offset } = choice.logprobs;
    const count = prompt[i]!.length + 1;
    expect([tokens.length, token_logprobs.length, top_logprobs.length, text_offset.length]).toEqual(
      Array(4).fill(count),
    );
    expect([token_logprobs[0], top_logprobs[0]]).toEqual([null, null]);
    // what the harness computes: the sum without the last token, and whether each token is the likeliest
    const scored = token_logprobs.slice(1, -1);
    const isGreedy = scored.every(
      (value: number, place: number) => value === Math.max(...Object.values<number>(top_logprobs[place + 1])),
    );
    expect(isGreedy).toBe(true);
    expect(tokens.join("")).toBe(choice.text);
    expect(text_offset[0]).toBe(0);
    expect(text_offset.at(-1)).toBe(choice.text.length - tokens.at(-1).length);
  }
  expect(server.engine.seen.at(-1)).toMatchObject({
    logprobs: 1,
    promptLogprobs: 1,
    maxTokens: 1,
    ignoreEos: true,
  });
});

test("offsets count characters, also where a character spans several tokens", async () => {
  const text = "An émeu 🦤 ran";
  const { json } = await server.send("/v1/completions", scoring(text));
  const { tokens, text_offset } = json.choices[0].logprobs;
  expect(json.choices[0].text.startsWith(text)).toBe(true);
  expect(tokens.some((token: string) => token.startsWith("bytes:\\x"))).toBe(true);
  expect(text_offset.at(-1)).toBe([...text].length);
  expect([...text_offset].sort((a: number, b: number) => a - b)).toEqual(text_offset);
});

test("half a character at the end of a prompt, and invalid bytes, count as the U+FFFD that the text shows", async () => {
  const { tokenizer } = await loadTextFromFolder("assets/tiny-english");
  const [half = 0] = tokenizer.encode("🦤", { addSpecialTokens: false });
  expect(tokenizer.decode([half])).toBe("\uFFFD");
  const [word = 0] = tokenizer.encode("cat", { addSpecialTokens: false });
  const { json } = await server.send("/v1/completions", scoring([word, half, word, half]));
  const [{ text, logprobs }] = json.choices;
  const shown = tokenizer.decode([word]).length;
  expect(logprobs.text_offset).toEqual([0, shown, shown + 1, 2 * shown + 1, 2 * shown + 2]);
  expect(text.slice(logprobs.text_offset.at(-1))).toBe(logprobs.tokens.at(-1));
});

test("special tokens written in a prompt are part of its text", async () => {
  const { tokenizer } = await loadTextFromFolder("assets/tiny-english");
  const id = tokenizer.eosTokens[0]!;
  const special = Buffer.from(tokenizer.idToBytes(id)).toString();
  const { json } = await server.send("/v1/completions", scoring(`${special}one`));
  const [{ text, logprobs }] = json.choices;
  const at = logprobs.tokens.indexOf(special);
  expect(text.slice(logprobs.text_offset[at + 1])).toMatch(/^one/);
});

test("a prompt alone is scored with max_tokens 0", async () => {
  const { json } = await server.send("/v1/completions", { ...scoring("one two"), max_tokens: 0 });
  const [choice] = json.choices;
  expect(choice.text).toBe("one two");
  expect(choice.logprobs.tokens.join("")).toBe("one two");
  expect(choice.finish_reason).toBe("length");
  expect(json.usage.completion_tokens).toBe(0);
});

test("answers beyond the concurrency limit run after the first ones", async () => {
  await using slow = await makeServer({
    engine: { capacity: 2 },
    server: { limits: { choicesAtOnce: 2 } },
  });
  const prompt = Array.from({ length: 9 }, (_, i) => [10 + i]);
  const { status, json } = await slow.send("/v1/completions", { model: "base", prompt });
  expect([status, json.choices.length]).toEqual([200, 9]);
  expect(slow.engine.seen.map((request) => request.prompt)).toEqual(prompt);
});

const texts = (count: number) => Array.from({ length: count }, () => "one two three four five six seven");

test("a request for more log-probabilities than one may hold is told what would do", async () => {
  await using small = await makeServer({ server: { limits: { logprobs: 1000 } } });
  const chat = {
    model: "base",
    messages: [{ role: "user", content: "Hi" }],
    logprobs: true,
    top_logprobs: 19,
  };
  const refused = await small.send("/v1/chat/completions", { ...chat, n: 4, max_tokens: 20 });
  expect([refused.status, refused.json.error.message]).toEqual([
    400,
    "4 answers of 20 tokens with 19 alternatives each are 1600 log-probabilities; at most 1000 are allowed: ask for 12 tokens, fewer answers, or fewer alternatives",
  ]);
  expect(small.engine.seen).toEqual([]);
  expect((await small.send("/v1/chat/completions", { ...chat, n: 4, max_tokens: 12 })).status).toBe(200);
  const without = { ...chat, logprobs: false, top_logprobs: undefined, n: 128, max_tokens: 20 };
  expect((await small.send("/v1/chat/completions", without)).status).toBe(200);
  const scored = await small.send("/v1/completions", { ...scoring(texts(100)), logprobs: 5 });
  expect([scored.status, scored.json.error.param]).toEqual([400, "logprobs"]);
});

test("requests share a budget of log-probabilities, which each gives back at its end", async () => {
  await using small = await makeServer({
    server: { limits: { logprobsInFlight: 150, choicesAtOnce: 2 } },
  });
  const asked = { model: "base", prompt: "x", max_tokens: 5, logprobs: 9 };
  small.engine.hold();
  const first = small.send("/v1/completions", { ...asked, n: 2 });
  await expect.poll(() => small.engine.running).toBe(2);
  const over = await small.send("/v1/completions", { ...asked, n: 2 });
  expect([over.status, over.json.error.code, over.headers.get("retry-after")]).toEqual([429, "busy", "5"]);
  const beside = small.send("/v1/completions", asked);
  await expect.poll(() => small.engine.running).toBe(3);
  small.engine.release();
  expect([(await first).status, (await beside).status]).toEqual([200, 200]);
  // a stream holds what runs at a time
  for (let i = 0; i < 3; i++)
    expect((await small.send("/v1/completions", { ...asked, n: 3, stream: true })).text).toContain("[DONE]");
});

test("an answer that is too long to be made at once is the same, and ends its request with its last part", async () => {
  const prompt = texts(60);
  const asked = { ...scoring(prompt), logprobs: 20 };
  const { status, headers, text, json } = await server.send("/v1/completions", asked);
  expect([status, headers.get("content-type"), headers.get("content-length")]).toEqual([
    200,
    "application/json",
    null,
  ]);
  expect(text.length).toBeGreaterThan(2 * 65_536);
  expect(text).toBe(JSON.stringify(json));
  const alone = await server.send("/v1/completions", { ...asked, prompt: prompt[0] });
  expect(json.choices.map((choice: object) => ({ ...choice, index: 0 }))).toEqual(
    prompt.map(() => alone.json.choices[0]),
  );
  const requests = server.log.filter(({ message }) => message === "request");
  expect(requests.at(-2)?.fields).toMatchObject({ status: 200, completionTokens: 60 });
});
