// Hostile and mistaken requests, and what a key may see and do.
import { mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MosError } from "mixture-of-shards-core/common";
import { loadTextFromFolder } from "mixture-of-shards-core/text";
import { afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { startCpuTimer } from "../../../test/cpu-time.ts";
import { hashKey, openKeyFile } from "../src/index.ts";
import { type Harness, makeServer } from "./harness.ts";

const chat = (model: string, more: object = {}) => ({
  model,
  messages: [{ role: "user", content: "Hello" }],
  ...more,
});
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

describe("without keys", () => {
  let server: Harness;
  beforeAll(async () => {
    server = await makeServer({
      engine: { adapters: ["acme"], maxLength: 256 },
      server: { limits: { bodyBytes: 1_000_000 } },
    });
  });

  /** The server still answers, and no request keeps running. */
  const stillServes = async () => {
    expect((await server.send("/v1/chat/completions", chat("base"))).status).toBe(200);
    await expect.poll(() => server.engine.running).toBe(0);
  };

  const post = async (body: Buffer | string, type = "application/json") => {
    const response = await server.fetch("/v1/chat/completions", {
      method: "POST",
      body,
      headers: { "content-type": type },
    });
    return { status: response.status, error: ((await response.json()) as { error: { code: string } }).error };
  };

  test.each([
    ["malformed JSON", '{"model": "base", ', 400, "invalid_json"],
    ["an array instead of an object", "[1, 2]", 400, "invalid_json"],
    ["no body", "", 400, "invalid_json"],
    ["deep nesting", "[".repeat(400_000), 400, "invalid_json"],
    ["bytes that are not UTF-8", Buffer.from([0x7b, 0x22, 0xff, 0xfe, 0x22, 0x7d]), 400, "invalid_json"],
    ["many wrong messages", `{"model":"base","messages":[${"1,".repeat(400_000)}1]}`, 400, "invalid_value"],
    ["a million objects", `{"model":"base","messages":[${"{},".repeat(300_000)}{}]}`, 400, "invalid_json"],
    ["a million members", `{"a":{${'"":1,'.repeat(190_000)}"":1}}`, 400, "invalid_json"],
    [
      "many token ids",
      `{"model":"base","prompt":[${"1,".repeat(400_000)}1]}`,
      400,
      "context_length_exceeded",
    ],
    ["many prompts", `{"model":"base","prompt":[${'"",'.repeat(300_000)}""]}`, 400, "invalid_value"],
    [
      "a list of stops that is too long",
      JSON.stringify(chat("base", { stop: Array(5000).fill("x") })),
      400,
      "invalid_value",
    ],
    [
      "many wrong parts",
      JSON.stringify(chat("base", { messages: [{ role: "user", content: Array(90_000).fill(1) }] })),
      400,
      "invalid_value",
    ],
  ])("%s is refused", async (_, body, status, code) => {
    const answer = await post(body);
    expect([answer.status, answer.error.code]).toEqual([status, code]);
    await stillServes();
  });

  test("nothing of a body with too many values is parsed or checked, and no field is repeated as a whole", async () => {
    const parse = vi.spyOn(JSON, "parse");
    try {
      const { status } = await server.send("/v1/chat/completions", { messages: Array(150_000).fill({}) });
      expect(status).toBe(400);
      expect(parse.mock.calls.filter(([text]) => text.includes("messages"))).toEqual([]);
    } finally {
      parse.mockRestore();
    }
    const name = "k".repeat(200_000);
    for (const more of [{ [name]: 1 }, { metadata: { [name]: 1 } }, { stream_options: { [name]: true } }])
      expect((await server.send("/v1/chat/completions", chat("base", more))).text.length).toBeLessThan(1000);
  });

  test("an unknown or unsupported field is named, at any depth", async () => {
    const { json } = await server.send("/v1/chat/completions", chat("base", { temprature: 1 }));
    expect(json.error).toMatchObject({
      code: "unknown_parameter",
      param: "temprature",
      message: "unknown field temprature; did you mean temperature?",
    });
    const nested = await server.send(
      "/v1/chat/completions",
      chat("base", { stream_options: { usage: true } }),
    );
    expect(nested.json.error.param).toBe("stream_options.usage");
    const meant = await server.send(
      "/v1/chat/completions",
      chat("base", { stream_options: { includeUsage: true } }),
    );
    expect(meant.json.error.message).toMatch(/includeUsage; did you mean include_usage\?$/);
    for (const more of [
      { guided_json: {} },
      { audio: { voice: "alloy" } },
      { web_search_options: {} },
      { modalities: ["text", "audio"] },
    ]) {
      const { status, json } = await server.send("/v1/chat/completions", chat("base", more));
      expect([status, json.error.code, json.error.param]).toEqual([
        400,
        "unsupported_parameter",
        Object.keys(more)[0],
      ]);
    }
    const completion = await server.send("/v1/completions", { model: "base", prompt: "x", suffix: "y" });
    expect(completion.json.error).toMatchObject({ code: "unsupported_parameter", param: "suffix" });
    const best = await server.send("/v1/completions", { model: "base", prompt: "x", n: 2, best_of: 3 });
    expect(best.json.error).toMatchObject({ code: "unsupported_parameter", param: "best_of" });
  });

  test("only uncompressed JSON is accepted, so that a web page cannot send requests without a preflight", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
      expect((await post(JSON.stringify(chat("base")), type)).status).toBe(415);
    const encoding = { "content-encoding": "gzip" };
    expect((await server.send("/v1/chat/completions", chat("base"), encoding)).status).toBe(415);
  });

  test("prompts that cannot fit are refused before they are tokenised", async () => {
    const texts = ["word ".repeat(100_000), "a".repeat(900_000), "é".repeat(300_000), " ".repeat(900_000)];
    for (const content of texts) {
      const spent = startCpuTimer();
      const { status, json } = await server.send("/v1/completions", { model: "base", prompt: content });
      expect([status, json.error.code]).toEqual([400, "context_length_exceeded"]);
      expect(spent()).toBeLessThan(3000);
    }
    const ids = Array.from({ length: 100_000 }, () => 5);
    const { json } = await server.send("/v1/completions", { model: "base", prompt: ids });
    expect(json.error).toMatchObject({ code: "context_length_exceeded", param: "prompt" });
    const strange = await server.send("/v1/completions", { model: "base", prompt: [10_000_000] });
    expect(strange.json.error).toMatchObject({ code: "invalid_value", param: "prompt" });
    const wrong = await server.send("/v1/completions", { model: "base", prompt: [[1], "x"] });
    expect(wrong.json.error).toMatchObject({ code: "invalid_value", param: "prompt" });
    const many = await server.send("/v1/completions", { model: "base", prompt: ["a", "b"], n: 100 });
    expect(many.json.error).toMatchObject({ code: "invalid_value", param: "n" });
    await stillServes();
  });

  test.each([
    ["POST", "/v1/files", 404],
    ["GET", "/v1/files/file-1/content", 404],
    ["POST", "/v1/fine_tuning/jobs", 404],
    ["GET", "/v1/webhooks", 404],
    ["DELETE", "/v1/models/base", 405],
  ])("%s %s, which fine-tuning as a service has, says how to get it", async (method, path, wanted) => {
    const answer = await server.fetch(path, { method });
    expect(answer.status).toBe(wanted);
    const code = wanted === 404 ? "unknown_url" : "method_not_allowed";
    const message = expect.stringContaining("start it with mos serve --state FOLDER");
    expect(await answer.json()).toMatchObject({ error: { code, message } });
  });

  test("who serves may say in other words how to get them", async () => {
    await using hinted = await makeServer({ server: { serviceHint: "ask the operator" } });
    const answer = await hinted.fetch("/v1/files");
    expect(await answer.json()).toMatchObject({
      error: { message: expect.stringMatching(/fine-tuning jobs; ask the operator$/) },
    });
  });

  test("unknown routes and methods have the same form of error", async () => {
    const missing = await server.send("/v1/images/generations", {});
    expect([missing.status, missing.json.error.code]).toEqual([404, "unknown_url"]);
    const versionless = await server.send("/chat/completions", {});
    expect(versionless.json.error).toMatchObject({
      code: "unknown_url",
      message: "no route /chat/completions; end the client's base URL in /v1",
    });
    const wrong = await server.send("/v1/chat/completions");
    expect([wrong.status, wrong.json.error.code, wrong.headers.get("allow")]).toEqual([
      405,
      "method_not_allowed",
      "POST",
    ]);
    expect((await server.send("/v1/models/%E0%A4%A")).status).toBe(404);
    expect(missing.headers.get("x-request-id")).toMatch(/^req_[0-9a-f]{32}$/);
  });

  test("clients may not change adapters", async () => {
    const { status, json } = await server.send("/v1/adapters", { name: "x" });
    expect([status, json.error.code]).toEqual([403, "admin_key_required"]);
  });
});

test("a text that the model's tokenizer does not come to an end with is no fault of the server", async () => {
  const text = await loadTextFromFolder("assets/tiny-english");
  const encode = (): never => {
    throw new MosError("bad_model", "tokenizer.json: its regular expressions take more than 2 s");
  };
  await using server = await makeServer({
    engine: { text: { ...text, tokenizer: { ...text.tokenizer, encode } } },
  });
  for (const [path, body] of [
    ["/v1/chat/completions", chat("base")],
    ["/v1/completions", { model: "base", prompt: "Hello" }],
    ["/v1/embeddings", { model: "base", input: "Hello" }],
  ] as const) {
    const { status, json } = await server.send(path, body);
    expect([path, status, json.error.code]).toEqual([path, 422, "bad_model"]);
    expect(json.error.message).toMatch(/tokenizer\.json: its regular expressions take more than 2 s/);
  }
});

test("a web page whose host name was rebound to this machine is refused", async () => {
  await using server = await makeServer({ server: { hosts: ["localhost", "127.0.0.1"] } });
  expect((await server.send("/v1/models")).status).toBe(200);
  expect((await server.fetch("http://evil.example/v1/models")).status).toBe(403);
});

describe("with keys", () => {
  const keys = {
    acme: "key-of-acme",
    zeta: "key-of-zeta",
    operator: "key-of-operator",
    gone: "key-that-is-revoked",
  };
  let folder: string;
  let file: string;
  let server: Harness;
  const lines = [
    { name: "acme", sha256: hashKey(keys.acme), adapters: ["acme-*"], max_concurrent: 1 },
    { name: "zeta", sha256: hashKey(keys.zeta), adapters: ["zeta"], requests_per_minute: 3 },
    { name: "operator", sha256: hashKey(keys.operator), admin: true },
    { name: "gone", sha256: hashKey(keys.gone), revoked: true },
  ];
  let clock = Date.UTC(2026, 0);

  const write = async (content: readonly object[]) => {
    await writeFile(`${file}.new`, content.map((line) => `${JSON.stringify(line)}\n`).join(""));
    await rename(`${file}.new`, file);
  };

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "mos-keys-"));
    file = join(folder, "keys.jsonl");
    await write(lines);
    const now = () => clock;
    const log = { info: () => undefined, error: () => undefined };
    server = await makeServer({
      engine: { adapters: ["acme-1", "acme-2", "zeta"] },
      server: { now, keys: await openKeyFile(file, { now, log }) },
    });
  });
  afterEach(() => rm(folder, { recursive: true }));

  test("missing, wrong and revoked keys are refused alike", async () => {
    const headers = [
      {},
      bearer("wrong"),
      bearer(keys.gone),
      bearer(`${keys.acme} `.repeat(2)),
      bearer("k".repeat(5000)),
      { authorization: keys.acme },
    ];
    for (const header of headers)
      for (const path of ["/v1/models", "/v1/nothing", "/metrics"]) {
        const { status, json } = await server.send(path, undefined, header as Record<string, string>);
        expect([status, json.error.code]).toEqual([401, "invalid_api_key"]);
      }
    for (const path of ["/health", "/ready", "/openapi.json", "/docs"])
      expect((await server.send(path)).status).toBe(200);
    expect(JSON.stringify(server.log)).not.toContain("key-of");
  });

  test("another tenant's adapter looks like a missing one", async () => {
    const { json: models } = await server.send("/v1/models", undefined, bearer(keys.acme));
    expect(models.data.map(({ id }: { id: string }) => id)).toEqual(["base", "acme-1", "acme-2"]);
    const alone = await server.send("/v1/completions", { model: "zeta", prompt: "x" }, bearer(keys.acme));
    const unknown = await server.send(
      "/v1/completions",
      { model: "unknown", prompt: "x" },
      bearer(keys.acme),
    );
    expect(alone.status).toBe(404);
    expect(alone.text.replace("zeta", "unknown")).toBe(unknown.text);
    expect((await server.send("/v1/models/zeta", undefined, bearer(keys.acme))).status).toBe(404);
    const { json: own } = await server.send(
      "/v1/completions",
      { model: "acme-1", prompt: "x" },
      bearer(keys.acme),
    );
    expect(own.choices[0].text).toMatch(/^ acme-1:/);
    expect(server.engine.seen.at(-1)!.tenant).toBe("acme");
    const { json: adapters } = await server.send("/v1/adapters", undefined, bearer(keys.acme));
    expect(adapters.data.map(({ id }: { id: string }) => id)).toEqual(["acme-1", "acme-2"]);
  });

  test("a key has limits for requests at a time and per minute", async () => {
    server.engine.hold();
    const first = server.send("/v1/completions", { model: "base", prompt: "x" }, bearer(keys.acme));
    await expect.poll(() => server.engine.running).toBe(1);
    const second = await server.send("/v1/completions", { model: "base", prompt: "x" }, bearer(keys.acme));
    expect([second.status, second.json.error.code]).toEqual([429, "concurrency_limit_exceeded"]);
    server.engine.release();
    expect((await first).status).toBe(200);
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++)
      statuses.push((await server.send("/v1/models", undefined, bearer(keys.zeta))).status);
    expect(statuses).toEqual([200, 200, 200, 429]);
    const refused = await server.send("/v1/models", undefined, bearer(keys.zeta));
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(10);
    clock += 21_000;
    expect((await server.send("/v1/models", undefined, bearer(keys.zeta))).status).toBe(200);
  });

  test("metrics are for administrators", async () => {
    await server.send("/v1/completions", { model: "acme-1", prompt: "x" }, bearer(keys.acme));
    expect((await server.send("/metrics", undefined, bearer(keys.acme))).status).toBe(403);
    const { status, text } = await server.send("/metrics", undefined, bearer(keys.operator));
    expect(status).toBe(200);
    expect(text).toMatch(
      /^vllm:lora_requests_info\{max_lora="16",running_lora_adapters="acme,zeta",waiting_lora_adapters="late"\} \d+/m,
    );
    expect(text).toMatch(/^vllm:num_requests_waiting 1$/m);
    expect(text).toMatch(/^mos_adapter_hits_total 3$/m);
    expect(text).toMatch(
      /^mos_http_requests_total\{route="\/v1\/completions",model="acme-1",status="200"\} 1$/m,
    );
    expect(text).toMatch(/^mos_inter_token_seconds_count [1-9]/m);
  });

  test("a key is revoked without a restart, and a broken file changes nothing", async () => {
    const status = async () => (await server.send("/v1/models", undefined, bearer(keys.acme))).status;
    expect(await status()).toBe(200);
    await writeFile(file, "{ broken");
    clock += 2000;
    expect(await status()).toBe(200);
    await write(lines.map((line) => ({ ...line, ...(line.name === "acme" ? { revoked: true } : {}) })));
    clock += 2000;
    expect(await status()).toBe(401);
    expect(await readFile(file, "utf8")).not.toContain(keys.acme);
  });
});
