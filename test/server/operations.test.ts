// Scoring as lm-evaluation-harness does it, adapters by upload, draining, the document.
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, readlink, rm, symlink, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { MosError } from "#core";
import { writeSafetensors } from "#formats";
import { type ApiKey, hashOfKey, type KeyRing } from "#server";
import { loadTextFromFolder } from "#text";
import { type Harness, startServer } from "./harness.ts";

describe("scoring", () => {
  let server: Harness;
  beforeAll(async () => {
    server = await startServer();
  });
  afterAll(() => server[Symbol.asyncDispose]());

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
      // what the harness computes: a sum without the last, and whether each is the likeliest
      const scored = token_logprobs.slice(1, -1);
      const isGreedy = scored.every(
        (value: number, place: number) =>
          value === Math.max(...Object.values<number>(top_logprobs[place + 1])),
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

  test("offsets count characters, also where a character has several tokens", async () => {
    const text = "An émeu 🦤 ran";
    const { json } = await server.send("/v1/completions", scoring(text));
    const { tokens, text_offset } = json.choices[0].logprobs;
    expect(json.choices[0].text.startsWith(text)).toBe(true);
    expect(tokens.some((token: string) => token.startsWith("bytes:\\x"))).toBe(true);
    expect(text_offset.at(-1)).toBe([...text].length);
    expect([...text_offset].sort((a: number, b: number) => a - b)).toEqual(text_offset);
  });

  test("half a character at the end of a prompt, and what is broken, count as the text shows them", async () => {
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

  test("special tokens that a prompt writes are part of its text", async () => {
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

  test("more answers than run at a time follow one another", async () => {
    await using slow = await startServer({
      engine: { delay: 5, capacity: 2 },
      server: { limits: { choicesAtOnce: 2 } },
    });
    const prompt = Array.from({ length: 9 }, (_, i) => [10 + i]);
    const { status, json } = await slow.send("/v1/completions", { model: "base", prompt });
    expect([status, json.choices.length]).toEqual([200, 9]);
    expect(slow.engine.seen.map((request) => request.prompt)).toEqual(prompt);
  });
});

describe("adapters", () => {
  const key = (name: string, isAdmin: boolean): ApiKey => ({ name, isAdmin, mayUse: () => true });
  const keys: KeyRing = {
    find: async (token) =>
      hashOfKey(token) === hashOfKey("admin")
        ? key("admin", true)
        : token === "user"
          ? key("user", false)
          : undefined,
  };
  const admin = { authorization: "Bearer admin" };
  let folder: string;
  let server: Harness;
  let tensors: Buffer;
  let isBlind = false;

  const namesIn = async (path: string) => (await readdir(path)).sort();
  /** An adapter is one that says so: the engine of the tests looks no further. */
  const look = async () => {
    if (isBlind) throw new MosError("storage", "the disk is away");
    const names = (await readdir(folder)).filter((name) => !name.startsWith("."));
    const configs = await Promise.all(
      names.map(
        async (name) => [name, await readFile(join(folder, name, "adapter_config.json"), "utf8")] as const,
      ),
    );
    return configs.filter(([, config]) => !config.includes("foreign")).map(([name]) => name);
  };

  beforeAll(async () => {
    const base = await mkdtemp(join(tmpdir(), "mos-adapters-"));
    folder = join(base, "adapters");
    await mkdir(folder);
    await writeSafetensors(join(base, "t.safetensors"), {
      a: { dtype: "F32", shape: [1], data: Float32Array.of(1) },
    });
    tensors = await readFile(join(base, "t.safetensors"));
    server = await startServer({
      engine: { look },
      server: {
        keys,
        adapterFolder: folder,
        limits: { uploadBytes: 100_000 },
        checkAdapter: async (path) => {
          const config = await readFile(join(path, "adapter_config.json"), "utf8");
          if (config.includes("wrong"))
            throw new MosError("bad_adapter", `${path}/adapter_config.json: this is wrong`);
        },
      },
    });
  });
  afterAll(async () => {
    await server[Symbol.asyncDispose]();
    await rm(join(folder, ".."), { recursive: true });
  });

  const upload = (name: string, config: object, headers: Record<string, string> = admin) =>
    server.send(
      "/v1/adapters",
      { name, adapter_config: config, adapter_model: tensors.toString("base64") },
      headers,
    );

  test("are added, called, replaced and removed", async () => {
    const added = await upload("acme", { version: 1 });
    expect([added.status, added.json]).toEqual([201, expect.objectContaining({ id: "acme", rank: 8 })]);
    expect(await namesIn(folder)).toEqual(["acme"]);
    expect(await namesIn(join(folder, "acme"))).toEqual(["adapter_config.json", "adapter_model.safetensors"]);
    const call = { model: "acme", prompt: "x" };
    expect((await server.send("/v1/completions", call, admin)).status).toBe(200);
    const form = new FormData();
    form.set("name", "acme");
    form.set("adapter_config", new Blob(['{"version": 2}']), "../../etc/passwd");
    form.set("adapter_model", new Blob([new Uint8Array(tensors)]), "x.bin");
    const replaced = await fetch(`${server.url}/v1/adapters`, { method: "POST", body: form, headers: admin });
    expect(replaced.status).toBe(201);
    expect(await readFile(join(folder, "acme/adapter_config.json"), "utf8")).toBe('{"version": 2}');
    expect(await namesIn(folder)).toEqual(["acme"]);
    const removed = await fetch(`${server.url}/v1/adapters/acme`, { method: "DELETE", headers: admin });
    expect(await removed.json()).toEqual({ id: "acme", object: "adapter", deleted: true });
    expect(await namesIn(folder)).toEqual([]);
    expect((await server.send("/v1/completions", call, admin)).status).toBe(404);
    const again = await fetch(`${server.url}/v1/adapters/acme`, { method: "DELETE", headers: admin });
    expect(again.status).toBe(404);
  });

  test("what is no adapter leaves the old one as it was", async () => {
    await upload("kept", { version: 1 });
    const before = await readFile(join(folder, "kept/adapter_config.json"), "utf8");
    const wrong = await upload("kept", { wrong: true });
    expect([wrong.status, wrong.json.error.code]).toEqual([400, "bad_adapter"]);
    expect(wrong.json.error.message).toBe("adapter_config.json: this is wrong");
    const foreign = await upload("kept", { foreign: true });
    expect([foreign.status, foreign.json.error.code]).toEqual([400, "bad_adapter"]);
    const broken = await server.send(
      "/v1/adapters",
      { name: "kept", adapter_config: {}, adapter_model: Buffer.from("nothing").toString("base64") },
      admin,
    );
    expect([broken.status, broken.json.error.code]).toEqual([400, "bad_adapter"]);
    expect(broken.text).not.toContain(folder);
    expect(await readFile(join(folder, "kept/adapter_config.json"), "utf8")).toBe(before);
    expect((await upload("new", { foreign: true })).status).toBe(400);
    expect(await namesIn(folder)).toEqual(["kept"]);
    expect((await server.send("/v1/completions", { model: "kept", prompt: "x" }, admin)).status).toBe(200);
  });

  test("what the engine could not look at is as it was: replaced, new or removed", async () => {
    const stands = join(folder, "stands");
    await upload("stands", { version: 1 });
    await mkdir(join(stands, "more"));
    await writeFile(join(stands, "more/README.md"), "ours");
    const before = await readFile(join(stands, "adapter_config.json"), "utf8");
    isBlind = true;
    const refused = [
      await upload("stands", { version: 2 }),
      await upload("another", {}),
      await fetch(`${server.url}/v1/adapters/stands`, { method: "DELETE", headers: admin }),
    ];
    isBlind = false;
    expect(refused.map(({ status }) => status)).toEqual([500, 500, 500]);
    expect(await readFile(join(stands, "adapter_config.json"), "utf8")).toBe(before);
    expect(await readFile(join(stands, "more/README.md"), "utf8")).toBe("ours");
    expect((await upload("stands", { foreign: true })).status).toBe(400);
    expect(await readFile(join(stands, "more/README.md"), "utf8")).toBe("ours");
    expect((await namesIn(folder)).filter((name) => name !== "kept")).toEqual(["stands"]);
    expect((await server.send("/v1/completions", { model: "stands", prompt: "x" }, admin)).status).toBe(200);
    await fetch(`${server.url}/v1/adapters/stands`, { method: "DELETE", headers: admin });
  });

  test("a folder that is a link is a link again", async () => {
    const elsewhere = join(folder, "../elsewhere");
    await mkdir(elsewhere);
    await writeFile(join(elsewhere, "adapter_config.json"), "{}");
    await symlink("../elsewhere", join(folder, "linked"));
    expect((await upload("linked", { foreign: true })).status).toBe(400);
    expect(await readlink(join(folder, "linked"))).toBe("../elsewhere");
    expect((await upload("linked", { version: 2 })).status).toBe(201);
    expect(await namesIn(elsewhere)).toEqual(["adapter_config.json"]);
    await rm(join(folder, "linked"), { recursive: true });
    await rm(elsewhere, { recursive: true });
  });

  test.each([
    "../evil",
    "..",
    ".",
    ".hidden",
    "a/b",
    "a\\b",
    "a\0b",
    "/etc",
    "",
    "ä",
    "a".repeat(129),
    "base",
  ])("the name %j is no name", async (name) => {
    const before = await namesIn(join(folder, ".."));
    const { status, json } = await upload(name, {});
    expect([status, json.error.param]).toEqual([400, "name"]);
    const path = `${server.url}/v1/adapters/${encodeURIComponent(name)}`;
    const removed = await fetch(path, { method: "DELETE", headers: admin });
    expect(removed.status).toBeGreaterThanOrEqual(400);
    expect(await namesIn(join(folder, ".."))).toEqual(before);
  });

  test("only administrators change them, and only so large ones", async () => {
    const refused = await upload("x", {}, { authorization: "Bearer user" });
    expect([refused.status, refused.json.error.code]).toEqual([403, "admin_key_required"]);
    const path = `${server.url}/v1/adapters/kept`;
    const removal = await fetch(path, { method: "DELETE", headers: { authorization: "Bearer user" } });
    expect(removal.status).toBe(403);
    const large = await upload("x", { filler: "x".repeat(200_000) });
    expect([large.status, large.json.error.code]).toEqual([413, "request_too_large"]);
    expect(existsSync(join(folder, "x"))).toBe(false);
  });

  test("a form of many parts is refused before it is parsed", async () => {
    const form = new FormData();
    form.set("name", "x");
    for (let i = 0; i < 8; i++) form.append("more", "");
    const response = await fetch(`${server.url}/v1/adapters`, { method: "POST", body: form, headers: admin });
    expect([response.status, await response.text()]).toEqual([400, expect.stringContaining("8 parts")]);
  });

  test("uploads of one name at the same time leave one of them whole", async () => {
    const all = await Promise.all(Array.from({ length: 8 }, (_, i) => upload("raced", { i })));
    expect(all.map(({ status }) => status)).toEqual(Array(8).fill(201));
    const { i } = JSON.parse(await readFile(join(folder, "raced/adapter_config.json"), "utf8"));
    expect(i).toBe(7);
    expect((await namesIn(folder)).filter((name) => name.startsWith("."))).toEqual([]);
  });
});

test("who asks hears that the engine is busy, or gone", async () => {
  await using server = await startServer();
  const asked = () => Promise.all(["/health", "/ready"].map((path) => server.send(path)));
  const answers = async () => (await asked()).map(({ status, json }) => [status, json.status]);
  const up = [
    [200, "up"],
    [200, "ready"],
  ];
  expect(await answers()).toEqual(up);
  server.engine.stats = () => new Promise(() => undefined);
  expect(await answers()).toEqual(up);
  server.engine.break();
  expect(await answers()).toEqual([
    [503, "broken"],
    [503, "broken"],
  ]);
});

test("requests whose engine is gone, before or in the middle, are told to come again", async () => {
  await using server = await startServer({ engine: { delay: 30 } });
  const whole = server.send("/v1/completions", { model: "base", prompt: "x" });
  const streamed = server.send("/v1/completions", { model: "base", prompt: "x", stream: true });
  await expect.poll(() => server.engine.running).toBe(2);
  server.engine.break();
  const unavailable = { type: "server_error", param: null, code: "engine_unavailable" };
  expect([(await whole).status, (await whole).json.error]).toEqual([
    503,
    expect.objectContaining(unavailable),
  ]);
  expect((await streamed).text).toContain('"code":"engine_unavailable"');
  const later = await server.send("/v1/completions", { model: "base", prompt: "x" });
  expect([later.status, later.json.error]).toEqual([503, expect.objectContaining(unavailable)]);
  expect(later.headers.get("retry-after")).toBe("5");
  expect((await server.send("/metrics")).status).toBe(503);
});

test("a step that fails is no end of the engine", async () => {
  await using server = await startServer();
  server.engine.submit = async function* () {
    yield { type: "scheduled", digest: null };
    throw new MosError("device", "out of memory");
  };
  const { status, json } = await server.send("/v1/completions", { model: "base", prompt: "x" });
  expect([status, json.error.code]).toEqual([500, "internal_error"]);
  expect((await server.send("/ready")).status).toBe(200);
});

describe("stopping", () => {
  const chat = { model: "base", messages: [{ role: "user", content: "Hi" }] };

  test("requests that run end as they would, and new ones find nobody", async () => {
    const server = await startServer({ engine: { delay: 20 } });
    const running = server.send("/v1/chat/completions", chat);
    await expect.poll(() => server.engine.running).toBe(1);
    const started = performance.now();
    const closed = server.close(5);
    expect((await running).status).toBe(200);
    expect((await running).headers.get("connection")).toBe("close");
    await closed;
    expect(performance.now() - started).toBeLessThan(1500);
    await expect(server.send("/health")).rejects.toThrow();
  });

  test("after its time a request is cut off, and says so", async () => {
    const server = await startServer({ engine: { delay: 100, answer: " one two".repeat(100) } });
    const whole = server.send("/v1/chat/completions", chat);
    const streamed = server.send("/v1/chat/completions", { ...chat, stream: true });
    await expect.poll(() => server.engine.running).toBe(2);
    const started = performance.now();
    await server.close(0.3);
    expect(performance.now() - started).toBeLessThan(1500);
    expect([(await whole).status, (await whole).json.error.code]).toEqual([503, "shutting_down"]);
    expect((await streamed).text).toContain('"code":"shutting_down"');
    expect(server.engine.cancelled).toBe(2);
  });

  test("a request that never comes to its end holds nobody up", async () => {
    const server = await startServer();
    const socket = connect(server.port, "127.0.0.1");
    socket.on("error", () => undefined);
    socket.write(
      "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{",
    );
    await sleep(200);
    const started = performance.now();
    await server.close(0.2);
    expect(performance.now() - started).toBeLessThan(6000);
    socket.destroy();
  });
});

test("the document describes the routes from their schemas, and the page loads nothing", async () => {
  await using server = await startServer();
  const { json } = await server.send("/openapi.json");
  expect(Object.keys(json.paths)).toEqual(
    expect.arrayContaining(["/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/adapters/{name}"]),
  );
  const { ChatRequest, CompletionRequest } = json.components.schemas;
  expect(ChatRequest.properties.temperature).toMatchObject({ type: "number", minimum: 0, maximum: 2 });
  expect(ChatRequest.required).toEqual(expect.arrayContaining(["model", "messages"]));
  expect(ChatRequest.additionalProperties).toBe(false);
  const { prompt } = CompletionRequest.properties;
  expect([prompt.type, prompt.anyOf.length]).toEqual([["string", "array"], 4]);
  for (const path of ["/health", "/ready"]) {
    const { schema } = json.paths[path].get.responses[200].content["application/json"];
    expect(schema.properties.status.enum).toContain((await server.send(path)).json.status);
  }
  const { text } = await server.send("/docs");
  expect(text).toContain("POST /v1/completions");
  expect(text).not.toMatch(/src=|https?:\/\//);
});
