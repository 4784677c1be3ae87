// Health and readiness, an engine that ends, and the OpenAPI document.

import { MosError } from "mixture-of-shards-core/common";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { makeServer } from "./harness.ts";

test("/health and /ready say whether the engine is busy or gone", async () => {
  await using server = await makeServer();
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
  await server.engine.closed;
  expect(await answers()).toEqual([
    [503, "broken"],
    [503, "broken"],
  ]);
});

test("/ready looks at the disks of an extension; the log has what is wrong once, and where", async () => {
  let error: Error | undefined;
  const check = async (): Promise<void> => {
    if (error !== undefined) throw error;
  };
  await using server = await makeServer({
    server: { extension: { routes: () => undefined, health: { check } } },
  });
  const ready = async () => {
    const { status, json } = await server.send("/ready");
    return [status, json];
  };
  const lines = () => server.log.map(({ level, message, fields }) => [level, message, fields["reason"]]);
  expect(await ready()).toEqual([200, { status: "ready" }]);
  for (const [code, reason] of [
    ["EROFS", "the server's storage is read-only"],
    ["ENOENT", "the server's storage is missing"],
    ["EACCES", "the server is not allowed to use its storage"],
    ["EIO", "the server's storage cannot be used now"],
  ]) {
    server.log.length = 0;
    const cause = Object.assign(new Error(code), { code });
    error = new MosError("storage", `/mnt/secret: ${code}`, { cause });
    for (let i = 0; i < 3; i++)
      expect(await ready()).toEqual([503, { status: "storage_unavailable", reason }]);
    expect(lines()).toContainEqual(["error", "the server is not ready", `/mnt/secret: ${code}`]);
    expect(server.log.filter(({ level }) => level === "error")).toHaveLength(1);
    expect((await server.send("/health")).status).toBe(200);
  }
  error = undefined;
  expect(await ready()).toEqual([200, { status: "ready" }]);
  expect(lines()).toContainEqual(["info", "the storage is available again", undefined]);
});

test("requests whose engine ends, before them or in the middle, are answered with 503", async () => {
  await using server = await makeServer();
  server.engine.hold(1);
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

test("an engine that does not answer for a while is reported, and takes no requests until it does", async () => {
  await using server = await makeServer();
  server.engine.isResponding = false;
  const stuck = { status: "stuck", reason: "the engine process does not respond" };
  for (const path of ["/health", "/ready"])
    expect(await server.send(path)).toMatchObject({ status: 503, json: stuck });
  const refused = await server.send("/v1/completions", { model: "base", prompt: "x" });
  expect([refused.status, refused.json.error.code]).toEqual([503, "engine_unavailable"]);
  expect([refused.headers.get("retry-after"), refused.headers.get("connection")]).toEqual(["5", null]);
  expect((await server.send("/metrics")).status).toBe(503);
  server.engine.isResponding = true;
  expect((await server.send("/v1/completions", { model: "base", prompt: "x" })).status).toBe(200);
  expect((await server.send("/health")).status).toBe(200);
});

describe("a request whose time is over", () => {
  const limits = { answerSeconds: 300 };
  const asked = { model: "base", prompt: "x", max_tokens: 100 };
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
  afterEach(() => void vi.useRealTimers());
  const timeout = { type: "server_error", code: "request_timeout" };

  test("ends with an error, as a whole or in the middle of a stream, and its slot is free", async () => {
    await using server = await makeServer({ server: { limits } });
    server.engine.hold(1);
    const whole = server.send("/v1/completions", { ...asked, n: 2 });
    const streamed = server.send("/v1/completions", { ...asked, stream: true });
    await expect.poll(() => server.engine.running).toBe(3);
    vi.advanceTimersByTime(300_000);
    expect(await whole).toMatchObject({ status: 504, json: { error: timeout } });
    const { text } = await streamed;
    expect(text).toMatch(/"text":" one"[\s\S]*"code":"request_timeout"/);
    expect(text).not.toContain("[DONE]");
    await expect.poll(() => [server.engine.running, server.engine.cancelled]).toEqual([0, 3]);
  });

  test("ends although the engine does not end it", async () => {
    await using server = await makeServer({ server: { limits } });
    let asking = 0;
    const left: string[] = [];
    server.engine.submit = () => ({
      [Symbol.asyncIterator]: () => ({
        next: () => {
          asking++;
          return new Promise(() => undefined);
        },
        return: async () => {
          left.push("left");
          return { done: true, value: undefined };
        },
      }),
    });
    const sent = server.send("/v1/completions", { ...asked, n: 2 });
    await expect.poll(() => asking).toBe(2);
    // and a while for the engine to end it
    await vi.advanceTimersByTimeAsync(310_000);
    const answer = await sent;
    expect([answer.status, answer.json.error.code, left.length]).toEqual([504, "request_timeout", 2]);
  });
});

test("a request that the engine fails is a 500 without its reason, and the server takes others", async () => {
  await using server = await makeServer();
  server.engine.submit = async function* () {
    yield { type: "scheduled", digest: null };
    throw new MosError("device", "out of memory");
  };
  const { status, json } = await server.send("/v1/completions", { model: "base", prompt: "x" });
  expect([status, json.error.code]).toEqual([500, "internal_error"]);
  expect(JSON.stringify(json)).not.toContain("out of memory");
  expect((await server.send("/ready")).status).toBe(200);
});

test("an adapter whose numbers overflow has an error of its own", async () => {
  await using server = await makeServer();
  server.engine.submit = async function* () {
    yield { type: "scheduled", digest: null };
    throw new MosError("diverged", 'with the adapter "large" the numbers are not finite any more');
  };
  const { status, json } = await server.send("/v1/completions", { model: "base", prompt: "x" });
  expect([status, json.error]).toEqual([
    422,
    expect.objectContaining({ code: "not_finite", message: expect.stringContaining('"large"') }),
  ]);
});

test("the document describes the routes from their schemas, and its page loads nothing from elsewhere", async () => {
  await using server = await makeServer();
  const { json } = await server.send("/openapi.json");
  expect(Object.keys(json.paths)).toEqual(
    expect.arrayContaining(["/v1/chat/completions", "/v1/completions", "/v1/models", "/v1/adapters/{name}"]),
  );
  const { ChatRequest, CompletionRequest } = json.components.schemas;
  expect(ChatRequest.properties.temperature).toMatchObject({
    type: ["number", "null"],
    minimum: 0,
    maximum: 2,
  });
  expect(ChatRequest.required).toEqual(expect.arrayContaining(["model", "messages"]));
  expect(ChatRequest.additionalProperties).toBe(false);
  const { prompt } = CompletionRequest.properties;
  expect([prompt.type, prompt.anyOf.length]).toEqual([["string", "array"], 4]);
  expect(ChatRequest.properties.model.type).toBe("string");
  expect(ChatRequest.properties.stop.anyOf).toContainEqual({ type: "null" });
  expect(ChatRequest.properties.tool_choice.anyOf).toContainEqual({ type: "null" });
  expect(ChatRequest.properties.reasoning_effort.type).toContain("null");
  expect(ChatRequest.properties.messages.items.properties.content.anyOf).toContainEqual({ type: "null" });
  for (const [path, name] of [
    ["/v1/chat/completions", "ChatChunk"],
    ["/v1/completions", "CompletionChunk"],
  ]) {
    const { content } = json.paths[path!].post.responses[200];
    expect(content["text/event-stream"].schema).toEqual({ $ref: `#/components/schemas/${name}` });
    const { properties } = json.components.schemas[name!];
    expect(properties.choices.items.properties.finish_reason.type).toEqual(["string", "null"]);
    expect(properties.usage).toBeDefined();
  }
  for (const path of ["/health", "/ready"]) {
    const { schema } = json.paths[path].get.responses[200].content["application/json"];
    expect(schema.properties.status.enum).toContain((await server.send(path)).json.status);
  }
  const { text } = await server.send("/docs");
  expect(text).toContain("POST /v1/completions");
  expect(text).toContain('href="openapi.json"'); // also below a path
  expect(text).not.toMatch(/src=|https?:\/\//);
});
