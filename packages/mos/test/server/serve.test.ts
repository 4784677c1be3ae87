// What the recipe puts together: keys with quotas over a restart, HTTPS, and options that cannot be used.
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import https from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { json } from "node:stream/consumers";
import { hashKey, type ServeOptions, serve } from "mixture-of-shards-server";
import { afterAll, beforeAll, expect, test } from "vitest";
import { expectRefusal } from "../bad-input/run-mos.ts";

const MODEL = "assets/tiny-english";
const quiet = { info: () => {}, warn: () => {}, error: () => {} };
const TLS = { tlsCert: "test/fixtures/tls/first.pem", tlsKey: "test/fixtures/tls/key.pem" };
let folder = "";
let apiKeys = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-serve-"));
  apiKeys = join(folder, "keys.jsonl");
  const line = { name: "acme", sha256: hashKey("k"), tokens_per_day: 30 };
  await writeFile(apiKeys, `${JSON.stringify(line)}\n`);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const open = (more: Partial<ServeOptions>) =>
  serve({ model: MODEL, port: 0, log: quiet, threads: 1, ...more });

/** Asks a server, over HTTPS where it has a certificate. */
const ask = async (
  address: string,
  path: string,
  body?: object,
): Promise<[status: number, json: unknown]> => {
  const { request } = address.startsWith("https:") ? https : http;
  const headers = { "content-type": "application/json", authorization: "Bearer k" };
  const options = { ca: readFileSync(TLS.tlsCert), headers, method: body === undefined ? "GET" : "POST" };
  return new Promise((resolve, reject) => {
    const asked = request(`${address}${path}`, options, async (answer) =>
      resolve([answer.statusCode ?? 0, await json(answer)]),
    );
    asked.on("error", reject).end(body === undefined ? undefined : JSON.stringify(body));
  });
};

test("tokens of a key are remembered over a restart; HTTPS, with the defaults of sampling in the list of models", async () => {
  const completion = { model: "tiny-english", prompt: "Once", max_tokens: 10, ignore_eos: true };
  const statuses: number[] = [];
  const askTwice = async (address: string): Promise<void> => {
    for (let i = 0; i < 2; i++) statuses.push((await ask(address, "/v1/completions", completion))[0]);
  };
  {
    await using server = await open({ apiKeys });
    await askTwice(server.address);
    await server.stop();
  }
  await using server = await open({ apiKeys, ...TLS, temperature: 0.7, topK: 5, maxTokens: 9 });
  expect(server.address).toMatch(/^https:/);
  await askTwice(server.address);
  expect(statuses.slice(0, 2)).toEqual([200, 200]);
  expect(statuses[3]).toBe(429);
  const given = { temperature: 0.7, top_k: 5, top_p: 1, repetition_penalty: 1, max_tokens: 9 };
  const [, models] = await ask(server.address, "/v1/models");
  expect(models).toMatchObject({ data: [{ id: "tiny-english", default_parameters: given }] });
  await server.stop();
  const { tokens } = JSON.parse(await readFile(`${apiKeys}.usage.json`, "utf8"));
  const used = Object.keys(tokens).filter((place) => place.startsWith("acme "));
  expect(tokens[used[0] ?? ""]).toBeGreaterThanOrEqual(20);
});

test("options that cannot be used are refused before the model is opened", async () => {
  const cases: readonly (readonly [Partial<ServeOptions>, RegExp])[] = [
    [{ tlsCert: TLS.tlsCert }, /--tls-cert requires --tls-key/],
    [{ tlsKey: TLS.tlsKey }, /--tls-key requires --tls-cert/],
    [{ tlsCert: TLS.tlsKey, tlsKey: TLS.tlsKey }, /not a PEM certificate/],
    [{ cors: ["https://app.example.com/"] }, /cors.*a list of different origins|an origin such as/],
    [
      { apiKeys, usageFile: join(folder, "none", "usage.json") },
      /token counts cannot be saved.*--usage-file/,
    ],
  ];
  for (const [more, message] of cases) await expect(open(more)).rejects.toThrow(message);
  const refused: readonly (readonly [string, string, RegExp])[] = [
    ["--cors", "app.example.com", /--cors.*an origin such as https:\/\/app\.example\.com, without a path/],
    ["--generation-config", "vllm", /--generation-config.*auto, none/],
  ];
  for (const [name, value, message] of refused)
    await expectRefusal(["serve", "--model", MODEL, name, value], { code: 2, message, untouched: folder });
});
