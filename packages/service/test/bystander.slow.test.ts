// What may hold up a server's thread, from one tenant while another one streams: the smaller attacks, each of them a case.
import { randomBytes } from "node:crypto";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { finetune } from "mixture-of-shards";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { watchBystander } from "./bystander.ts";
import { type Serving, startServing } from "./serving.ts";

/** Milliseconds of CPU of the thread that answers HTTP: the longest that others may wait. */
const LIMIT = 250;

let folder: string;
let serving: Serving;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-bystander-"));
  serving = await startServing(["mallory", "acme", "admin"], { model: await evilModel() });
}, 60_000);
afterAll(async () => {
  await serving[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});

/** The bundled model with a tokenizer that does not come to an end for some texts. */
async function evilModel(): Promise<string> {
  const model = join(folder, "model");
  await cp("assets/tiny-english", model, { recursive: true });
  const path = join(model, "tokenizer.json");
  const tokenizer = JSON.parse(await readFile(path, "utf8"));
  tokenizer.normalizer = { type: "Replace", pattern: { Regex: "(?:a+)+$" }, content: "b" };
  await writeFile(path, JSON.stringify(tokenizer));
  return model;
}

async function send(path: string, body?: object, { tenant = "mallory", headers = {} } = {}) {
  const response = await fetch(`${serving.address}${path}`, {
    method: body === undefined ? "GET" : "POST",
    headers: {
      ...{ authorization: `Bearer ${serving.keyFor(tenant)}`, "content-type": "application/json" },
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, text };
}

async function repeat<T>(times: number, attack: (i: number) => Promise<T>): Promise<readonly T[]> {
  const results: T[] = [];
  for (let i = 0; i < times; i++) results.push(await attack(i));
  return results;
}

const user = (content: string) => ({ model: "tiny", messages: [{ role: "user", content }] });

/** 1,000 ratings, each of which replaces the one before. */
async function rateOften(): Promise<void> {
  const { id } = await serving.client("mallory").responses.create({ model: "tiny", input: "Hi" });
  const answers = await repeat(1000, (i) => {
    // as it cannot be compressed, what it replaces is vacuumed meanwhile
    const correction = randomBytes(75_000).toString("base64");
    return send("/v1/feedback", { response_id: id, rating: i % 2 === 0 ? "up" : "down", correction });
  });
  expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
}

async function encodeForEver(): Promise<void> {
  const answers = await repeat(10, () => send("/v1/chat/completions", user(`${"a".repeat(60)}!`)));
  for (const { status, text } of answers)
    expect([status, text]).toEqual([422, expect.stringContaining("regular expressions")]);
}

async function signIn(): Promise<void> {
  const key = serving.keyFor("mallory");
  const own = { "x-mos-session": "1", "sec-fetch-site": "same-origin", origin: serving.address };
  const answers = await repeat(50, (i) =>
    send(
      "/studio/session",
      { key },
      {
        headers: { ...own, referer: `${serving.address}/${";a".repeat(i * 100)}/studio/` },
      },
    ),
  );
  expect(answers.filter(({ status }) => status !== 200)).toEqual([]);
}

async function callOften(): Promise<void> {
  const parameters = { type: "object", properties: { zone: { const: "utc" } }, required: ["zone"] };
  const tools = [{ type: "function", function: { name: "noon", parameters } }];
  const answers = await repeat(5, (seed) =>
    send("/v1/chat/completions", { ...user("Time?"), tools, tool_choice: "required", max_tokens: 200, seed }),
  );
  for (const { status, text } of answers)
    expect([status, JSON.parse(text).choices?.[0].message.tool_calls]).toMatchObject([200, { length: 1 }]);
}

async function overwriteAdapter(): Promise<void> {
  const out = join(serving.storage, "adapters", "live");
  const training = finetune({
    model: join(folder, "model"),
    data: "assets/quickstart/train.jsonl",
    out,
    adapter: { method: "lora", rank: 2 },
    settings: { steps: 1 },
    session: { threads: 1 },
  });
  for await (const _event of training);
  const ask = () => send("/v1/completions", { model: "live", prompt: "Hi", max_tokens: 4, temperature: 0 });
  const { text: before } = await vi.waitFor(async () => {
    const answer = await ask();
    expect(answer.status).toBe(200);
    return answer;
  }, 20_000);
  for (const name of ["adapter_model.safetensors", "adapter_config.json"]) {
    await writeFile(join(out, name), "garbage".repeat(1_000_000));
    await vi.waitFor(async () => {
      const { text } = await send("/v1/adapters", undefined, { tenant: "admin" });
      expect(JSON.parse(text).unavailable).toEqual([
        { id: "live", reason: expect.stringContaining("memory") },
      ]);
    }, 20_000);
    const { status, text } = await ask();
    const said = (json: string) => JSON.parse(json).choices[0].text;
    expect([status, said(text)]).toEqual([200, said(before)]);
  }
}

test.each([
  ["a response that is rated 1,000 times", rateOften],
  ["a tokenizer without an end", encodeForEver],
  ["a page's address with semicolons", signIn],
  ["calls of a tool that are demanded again and again", callOften],
  ["garbage in the folder of an adapter that is in use", overwriteAdapter],
])("%s holds up nobody else", { timeout: 300_000 }, async (_, attack) => {
  const { longestGap, slowestHealth, tokens } = await watchBystander(serving, "acme", attack);
  expect(longestGap).toBeLessThan(LIMIT);
  expect(slowestHealth).toBeLessThan(LIMIT);
  expect(tokens).toBeGreaterThan(0);
});
