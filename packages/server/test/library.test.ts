// The server as a program of the library has it: on a port, or as a part of another server; and answers as streams.
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as whole } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { getRequestListener } from "@hono/node-server";
import { Hono } from "hono";
import { type Engine, openEngine, textStream } from "mixture-of-shards-core/inference";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openApp, type ServedApp, serve } from "../src/index.ts";

const MODEL = "assets/tiny-english";
/** Goes on for long enough to be stopped before its end. */
const ENDLESS = { maxTokens: 400, ignoreEos: true } as const;

let adapters: string;
beforeAll(async () => {
  adapters = await mkdtemp(join(tmpdir(), "mos-library-"));
});
afterAll(() => rm(adapters, { recursive: true }));

const completion = (base: string, more: object): Request =>
  new Request(`${base}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny-english", prompt: "Once upon a time", temperature: 0, ...more }),
  });

test("a server on a port answers, and disposing it closes the port and ends what runs", async () => {
  await mkdir(adapters, { recursive: true });
  const server = await serve({ model: MODEL, adapters, port: 0, threads: 1 });
  const answer = await fetch(completion(server.address, { max_tokens: 4 }));
  expect(await answer.json()).toMatchObject({ model: "tiny-english", usage: { completion_tokens: 4 } });
  expect(await (await server.fetch(new Request(`${server.address}/v1/models`))).json()).toMatchObject({
    data: [{ id: "tiny-english" }],
  });
  const running = await fetch(
    completion(server.address, { max_tokens: 400, ignore_eos: true, stream: true }),
  );
  await server[Symbol.asyncDispose]();
  expect(await running.text()).toMatch(/shutting_down|"finish_reason"/);
  await expect(fetch(`${server.address}/health`)).rejects.toThrow("fetch failed");
  expect(await server.engine.closed).toBeUndefined();
}, 30_000);

let app: ServedApp;
beforeAll(async () => {
  app = await openApp({ model: MODEL, threads: 1 });
}, 30_000);
afterAll(() => app[Symbol.asyncDispose]());

test("a custom tool is called with a text of its grammar in Lark", async () => {
  const ask = async (definition: string) => {
    const grammar = { syntax: "lark", definition };
    const answer = await app.fetch(
      new Request("http://localhost/v1/chat/completions", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          model: "tiny-english",
          messages: [{ role: "user", content: "What is one and one?" }],
          tools: [{ type: "custom", custom: { name: "add", format: { type: "grammar", grammar } } }],
          tool_choice: "required",
          temperature: 0,
        }),
      }),
    );
    return JSON.parse(await answer.text());
  };
  // brackets that close are beyond regular expressions, and JSON escapes the quotes
  const { choices } = await ask('start: "(" sum "+" "\\"1\\"" ")"\nsum: start | /[0-9]/');
  const { input } = choices[0].message.tool_calls[0].custom;
  expect(input).toMatch(/^\(+[0-9](\+"1"\))+$/);
  expect(input.split("(")).toHaveLength(input.split(")").length);
  expect(await ask("start: missing")).toMatchObject({ error: { param: "tools[0].custom.format" } });
});

const running = async ({ engine }: Pick<ServedApp, "engine"> = app) => (await engine.stats()).running;

describe("without a port", () => {
  test("it is a part of a server in Hono, under any path and host", async () => {
    const own = new Hono().get("/", (context) => context.text("own")).mount("/llm", app.fetch);
    expect(await (await own.request("https://example.org/")).text()).toBe("own");
    const answer = await own.request(completion("https://example.org/llm", { max_tokens: 4 }));
    expect([answer.status, await answer.json()]).toMatchObject([200, { usage: { completion_tokens: 4 } }]);
    expect((await own.request("https://example.org/llm/v1/nothing")).status).toBe(404);
  });

  test("it is a part of a server in Node, whose clients cancel by leaving", async () => {
    const server = createServer(getRequestListener(app.fetch)).listen(0, "127.0.0.1");
    await once(server, "listening");
    const before = (await app.engine.stats()).completionTokens;
    const leaving = new AbortController();
    const request = completion(serverAddress(server), { max_tokens: 400, ignore_eos: true, stream: true });
    const answer = await fetch(request, { signal: leaving.signal });
    await answer.body?.getReader().read();
    expect(answer.status).toBe(200);
    leaving.abort();
    await expect.poll(running).toBe(0);
    expect((await app.engine.stats()).completionTokens - before).toBeLessThan(400);
    server.closeAllConnections();
    server.close();
  });
});

test("without a port, a stream that is not read in time fails and harms no other, and a host can drain", {
  tags: "thorough",
}, async () => {
  const forPorts = { tlsCert: "none.pem" };
  await using app = await openApp({
    model: MODEL,
    threads: 1,
    requestTimeout: 1,
    drainSeconds: 10,
    ...forPorts,
  });
  const ask = (more: object) => app.fetch(completion("http://localhost", { ignore_eos: true, ...more }));
  const slow = (await ask({ max_tokens: 400, stream: true })).body?.getReader();
  expect((await slow?.read())?.done).toBe(false);
  await sleep(3500);
  const rest = async () => {
    while ((await slow?.read())?.done === false);
  };
  await expect(rest()).rejects.toThrow("the client reads too slowly");
  const last = (await ask({ max_tokens: 20, stream: true })).text();
  await app.stop();
  expect(await last).toContain("[DONE]");
  expect((await ask({ max_tokens: 4 })).status).toBe(503);
  expect(await app.engine.closed).toBeUndefined();
});

const serverAddress = (server: Server): string =>
  `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

describe("an answer as a stream", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine({ model: MODEL, threads: 1 });
  }, 30_000);
  afterAll(() => engine[Symbol.asyncDispose]());

  test("has the whole text, also what is held back for the end", async () => {
    const options = { maxTokens: 24, stop: ["A boat leaves at six. And"] };
    let text = "";
    let held = "";
    for await (const event of engine.complete("Once upon a time", options)) {
      if (event.type === "token" || event.type === "finish") text += event.text;
      if (event.type === "finish") held = event.text;
    }
    expect(held).not.toBe("");
    expect(await whole(textStream(engine.complete("Once upon a time", options)))).toBe(text);
    const parts: string[] = [];
    for await (const part of textStream(engine.complete("Once upon a time", options))) parts.push(part);
    expect(parts.length).toBeGreaterThan(3);
    expect(parts).not.toContain("");
  });

  test("is cancelled by whoever leaves its loop, by its signal, and as a web stream", async () => {
    for await (const _ of textStream(engine.complete("Once", ENDLESS))) break;
    await expect.poll(() => running({ engine })).toBe(0);
    const controller = new AbortController();
    const aborted = async () => {
      for await (const _ of textStream(engine.complete("Once", { ...ENDLESS, signal: controller.signal })))
        controller.abort();
    };
    await expect(aborted()).rejects.toMatchObject({ code: "cancelled", cause: { name: "AbortError" } });
    await expect.poll(() => running({ engine })).toBe(0);
    const reader = ReadableStream.from(textStream(engine.complete("Once", ENDLESS))).getReader();
    await reader.read();
    await reader.cancel();
    await expect.poll(() => running({ engine })).toBe(0);
  });

  test("is cancelled by a client that leaves, and waits for one that reads slowly", async () => {
    const server = createServer((_, response) => {
      pipeline(textStream(engine.complete("Once", ENDLESS)), response).catch(() => undefined);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const before = (await engine.stats()).completionTokens;
    const leaving = new AbortController();
    const answer = await fetch(serverAddress(server), { signal: leaving.signal });
    await answer.body?.getReader().read();
    leaving.abort();
    await expect.poll(() => running({ engine })).toBe(0);
    expect((await engine.stats()).completionTokens - before).toBeLessThan(400);
    server.closeAllConnections();
    server.close();

    let taken = 0;
    const slow = new WritableStream<string>({
      write: async () => {
        taken++;
        await new Promise((resolve) => setTimeout(resolve, 5));
      },
    });
    let made = 0;
    const counted = (async function* () {
      for await (const part of textStream(engine.complete("Once", { maxTokens: 40, ignoreEos: true }))) {
        made++;
        expect(made - taken).toBeLessThan(4);
        yield part;
      }
    })();
    await ReadableStream.from(counted).pipeTo(slow);
    expect(taken).toBe(made);
  });
});
