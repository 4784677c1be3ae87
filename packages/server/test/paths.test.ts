// No answer names a path of the server: the real engine, and everything about files that can go wrong.
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { saveAdapter } from "mixture-of-shards-core/adapters";
import { MosError } from "mixture-of-shards-core/common";
import { loadBase, toLayerShapes } from "mixture-of-shards-core/models";
import { afterAll, beforeAll, expect, test } from "vitest";
import { randomAdapter } from "../../core/test/random-adapter.ts";
import { hashKey, type RunningServer, serve } from "../src/index.ts";
import { makeServer } from "./harness.ts";

const MODEL = "assets/tiny-english";
const headers = { authorization: "Bearer operator", "content-type": "application/json" };
let base: string;
let adapters: string;
let server: RunningServer;
const files = { config: {} as Record<string, unknown>, tensors: Buffer.alloc(0) };

/** Asks, and expects an error without a path. */
async function refused(path: string, method: string, body?: object): Promise<[number, string]> {
  const init = { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) };
  const response = await fetch(`${server.address}${path}`, init);
  const text = await response.text();
  for (const secret of [base, adapters, resolve(MODEL), process.cwd(), tmpdir(), homedir(), ".partial"])
    expect(text).not.toContain(secret);
  return [response.status, JSON.parse(text).error.message];
}
const upload = (config: object, tensors: Uint8Array = files.tensors) =>
  refused("/v1/adapters", "POST", {
    name: "sent",
    adapter_config: config,
    adapter_model: Buffer.from(tensors).toString("base64"),
  });
const ask = (model: string) => refused("/v1/completions", "POST", { model, prompt: "Once", max_tokens: 1 });

async function place(name: string, config: object, tensors: Uint8Array = files.tensors): Promise<void> {
  await mkdir(join(adapters, name));
  await writeFile(join(adapters, name, "adapter_model.safetensors"), tensors);
  await writeFile(join(adapters, name, "adapter_config.json"), JSON.stringify(config));
}

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), "mos-paths-"));
  adapters = join(base, "adapters");
  await mkdir(adapters);
  await writeFile(
    join(base, "keys.jsonl"),
    JSON.stringify({ name: "operator", sha256: hashKey("operator"), admin: true }),
  );
  const { config, fingerprint } = await loadBase(MODEL);
  const adapter = randomAdapter({ method: "lora", rank: 2 }, toLayerShapes(config), { seed: 1 });
  await saveAdapter(join(adapters, "good"), adapter, { base: { name: resolve(MODEL), fingerprint } });
  files.config = JSON.parse(await readFile(join(adapters, "good/adapter_config.json"), "utf8"));
  files.tensors = await readFile(join(adapters, "good/adapter_model.safetensors"));
  const notFinite = Buffer.from(files.tensors);
  notFinite.writeFloatLE(Number.NaN, notFinite.length - 4); // only loading finds it
  await place("broken", files.config, notFinite);
  await place("later", files.config);
  await place("short", files.config, files.tensors.subarray(0, 1000));
  const apiKeys = join(base, "keys.jsonl");
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  server = await serve({ model: MODEL, adapters, apiKeys, port: 0, threads: 1, log });
});
afterAll(async () => {
  await server?.stop();
  await server?.[Symbol.asyncDispose]();
  await rm(base, { recursive: true });
});

test("adapters that a client asks for: broken, cut off, unknown, or gone since", async () => {
  expect(await ask("broken")).toEqual([422, expect.stringContaining("the server's log has the reason")]);
  expect((await ask("broken"))[0]).toBeGreaterThanOrEqual(400);
  expect((await ask("short"))[0]).toBe(404);
  expect((await ask("unknown"))[0]).toBe(404);
  await rm(join(adapters, "later"), { recursive: true });
  expect((await ask("later"))[0]).toBe(404);
});

test("uploads: cut off, of another base, with wrong settings, of nothing", async () => {
  expect(await upload(files.config, files.tensors.subarray(0, 1000))).toEqual([
    400,
    expect.stringMatching(/^adapter_model\.safetensors: /),
  ]);
  expect((await upload(files.config, Buffer.alloc(0)))[0]).toBe(400);
  const marks = Object.keys(files.config).filter((field) => /fingerprint|identity/.test(field));
  expect(marks.length).toBeGreaterThan(0);
  const foreign = Object.fromEntries(marks.map((field) => [field, `sha256:${"0".repeat(64)}`]));
  expect((await upload({ ...files.config, ...foreign }))[0]).toBe(400);
  for (const config of [{}, { ...files.config, r: 3 }, { ...files.config, peft_type: "NONE" }])
    expect((await upload(config))[0]).toBe(400);
  expect((await readdir(adapters)).filter((name) => name.startsWith("."))).toEqual([]);
});

test("the disk: a file in the way, a folder that is gone", async () => {
  await writeFile(join(adapters, "sent"), "a file");
  expect((await upload(files.config))[0]).toBe(503);
  await rm(join(adapters, "sent"), { recursive: true });
  await rename(adapters, `${adapters}.away`);
  expect((await upload(files.config))[0]).toBe(503);
  expect((await refused("/v1/adapters/good", "DELETE"))[0]).toBe(404);
  await rename(`${adapters}.away`, adapters);
});

/** Errors of the engine whose messages reach clients, now or one day. */
const MESSAGES: readonly (readonly [thrown: string, shown: string])[] = [
  [
    `${join("/srv/adapters", "acme", "adapter_config.json")}: it is gone`,
    "acme/adapter_config.json: it is gone",
  ],
  [`no room beside ${resolve("assets/model.gguf")}; stop it`, "no room beside assets/model.gguf; stop it"],
  [`${join(tmpdir(), "mos-1", "x")} is full`, "mos-1/x is full"],
  ["the folder /srv/adapters is away", "the folder adapters is away"],
  ["could not read (/opt/other/place/file.bin)", "could not read (file.bin)"],
  ["use cpu/memory, or 1/2 of it, at most", "use cpu/memory, or 1/2 of it, at most"],
  ['there is no adapter "/models/mine"', 'there is no adapter "/models/mine"'],
];

test.each(MESSAGES)("an error of the engine, %j, in an answer and in a stream", async (thrown, shown) => {
  await using fake = await makeServer({
    engine: { look: async () => Promise.reject(new MosError("memory", thrown)), adapters: ["acme"] },
    server: { adapterFolder: "/srv/adapters" },
  });
  const fail = async function* () {
    yield { type: "scheduled", digest: null } as const;
    throw new MosError("memory", thrown);
  };
  fake.engine.submit = fail;
  for (const stream of [false, true]) {
    const { text } = await fake.send("/v1/completions", { model: "base", prompt: "x", stream });
    expect(text).toContain(JSON.stringify(shown));
  }
});
