// Completions that score texts, as lm-evaluation-harness asks for them.
import { beforeAll, expect, test } from "vitest";
import { loadTextFromFolder } from "#text";
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
  const special = Buffer.from(tokenizer.bytesOf(id)).toString();
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
    engine: { delay: 5, capacity: 2 },
    server: { limits: { choicesAtOnce: 2 } },
  });
  const prompt = Array.from({ length: 9 }, (_, i) => [10 + i]);
  const { status, json } = await slow.send("/v1/completions", { model: "base", prompt });
  expect([status, json.choices.length]).toEqual([200, 9]);
  expect(slow.engine.seen.map((request) => request.prompt)).toEqual(prompt);
});
