// Tests that need a socket: bytes that are not HTTP, clients that leave, stopping.
import { once } from "node:events";
import { connect } from "node:net";
import { APIUserAbortError } from "openai";
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { type SocketHarness, sendBytes, startServer } from "./harness.ts";

const chat = (model: string, more: object = {}) => ({
  model,
  messages: [{ role: "user" as const, content: "Hello" }],
  ...more,
});
const hello = chat("base").messages;

let server: SocketHarness;
beforeAll(async () => {
  server = await startServer({
    server: { limits: { bodyBytes: 1_000_000 } },
  });
});
afterAll(() => server[Symbol.asyncDispose]());

/** The server still answers, and no request keeps running. */
const stillServes = async () => {
  expect((await server.send("/v1/chat/completions", chat("base"))).status).toBe(200);
  await expect.poll(() => server.engine.running).toBe(0);
};

test("a body of 1 GB is refused by its content-length, one without a length once it is too large", async () => {
  const head = "POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n";
  const answer = await sendBytes(server.port, [`${head}content-length: 1000000000\r\n\r\n`, "{"]);
  expect(answer).toMatch(/^HTTP\/1\.1 413 /);
  expect(answer).toContain('"code":"request_too_large"');
  const chunk = Buffer.concat([Buffer.from("40000\r\n"), Buffer.alloc(0x40000, 0x20), Buffer.from("\r\n")]);
  const grown = await sendBytes(server.port, [
    `${head}transfer-encoding: chunked\r\n\r\n`,
    ...Array.from({ length: 8 }, () => chunk),
  ]);
  expect(grown).toMatch(/^HTTP\/1\.1 413 /);
  await stillServes();
});

test("too many headers, and bytes that are not HTTP, get errors of the same form", async () => {
  const flood = Array.from({ length: 2000 }, (_, i) => `x-${i}: ${"y".repeat(50)}\r\n`).join("");
  const flooded = await sendBytes(server.port, [`GET /health HTTP/1.1\r\nhost: x\r\n${flood}\r\n`]);
  expect(flooded).toMatch(/^HTTP\/1\.1 431 /);
  expect(flooded).toContain('{"error":{"message"');
  expect(await sendBytes(server.port, ["\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])).toMatch(
    /^HTTP\/1\.1 400 /,
  );
  expect(await sendBytes(server.port, ["GET //[ HTTP/1.1\r\nhost: [\r\nconnection: close\r\n\r\n"])).toMatch(
    /^HTTP\/1\.1 400 /,
  );
  await stillServes();
});

test("invalid HTTP from a client during its answer adds nothing to the answer", async () => {
  await using slow = await startServer();
  slow.engine.hold(1);
  const body = JSON.stringify(chat("base", { stream: true }));
  const head = `POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  const socket = connect(slow.port, "127.0.0.1");
  let received = "";
  socket.on("error", () => undefined);
  socket.on("data", (data) => {
    received += data.toString();
    if (received.includes("one")) socket.write("no HTTP\r\n\r\n");
  });
  socket.write(head + body);
  await once(socket, "close");
  expect(received).toContain('"content":" one"');
  expect(received.match(/HTTP\/1\.1/g)).toHaveLength(1);
  await expect.poll(() => slow.engine.running).toBe(0);
});

test("a web page whose host name was rebound to this machine is refused", async () => {
  await using server = await startServer({ server: { hosts: ["localhost", "127.0.0.1"] } });
  expect((await server.send("/v1/models")).status).toBe(200);
  const request = "GET /v1/models HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n";
  const strange = await sendBytes(server.port, [request]);
  expect(strange).toMatch(/^HTTP\/1\.1 403 /);
});

test("a client that disconnects cancels its request, during a stream or before an answer", async () => {
  await using slow = await startServer();
  const { engine } = slow;
  engine.hold(1);
  const leaving = slow.client();
  const stream = await leaving.chat.completions.create({ model: "base", messages: hello, stream: true });
  for await (const chunk of stream) if (chunk.choices[0]?.delta.content) break;
  await expect.poll(() => [engine.cancelled, engine.running]).toEqual([1, 0]);
  const controller = new AbortController();
  const waiting = leaving.chat.completions.create(
    { model: "base", messages: hello },
    { signal: controller.signal },
  );
  await expect.poll(() => engine.running).toBe(1);
  controller.abort();
  await expect(waiting).rejects.toThrow(APIUserAbortError);
  await expect.poll(() => [engine.cancelled, engine.running]).toEqual([2, 0]);
  const logged = () => slow.log.filter(({ message }) => message === "request").map(({ fields }) => fields);
  await expect.poll(() => logged().map(({ status }) => status)).toEqual([499, 499]);
  expect(logged().map(({ error }) => error)).toEqual([undefined, "client_left"]);
});

test("a client that has not read its answer when its time is over is dropped, and what was held for it is free", {
  tags: "thorough",
}, async () => {
  await using server = await startServer({
    server: { limits: { answerSeconds: 1, logprobsInFlight: 350_000 } },
  });
  const prompt = Array.from({ length: 64 }, () => Array.from({ length: 220 }, (_, i) => 10 + i));
  const asked = { model: "base", prompt, echo: true, logprobs: 20, max_tokens: 1 };
  const body = JSON.stringify(asked);
  const socket = connect(server.port, "127.0.0.1");
  socket.on("error", () => undefined);
  socket.pause();
  const head = `POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n`;
  socket.write(head + body);
  await expect.poll(() => server.engine.seen.length).toBe(64);
  const other = { ...asked, prompt: prompt.slice(0, 20) };
  expect((await server.send("/v1/completions", other)).status).toBe(429);
  const ended = () => server.log.filter(({ fields }) => fields["error"] === "the client reads too slowly");
  await expect.poll(() => ended().length).toBe(1);
  const closed = once(socket, "close");
  socket.resume();
  await closed;
  expect((await server.send("/v1/completions", other)).status).toBe(200);
});

describe("stopping", () => {
  const chat = { model: "base", messages: [{ role: "user", content: "Hi" }] };

  test("finishes running requests, and refuses new connections", async () => {
    const server = await startServer();
    server.engine.hold();
    const running = server.send("/v1/chat/completions", chat);
    await expect.poll(() => server.engine.running).toBe(1);
    const closed = server.close(3600); // no longer than they take
    server.engine.release();
    expect((await running).status).toBe(200);
    expect((await running).headers.get("connection")).toBe("close");
    await closed;
    await expect(server.send("/health")).rejects.toThrow();
  });

  test("cuts off requests after the grace period, with an error", async () => {
    const server = await startServer();
    server.engine.hold(1);
    const whole = server.send("/v1/chat/completions", chat);
    const streamed = server.send("/v1/chat/completions", { ...chat, stream: true });
    await expect.poll(() => server.engine.running).toBe(2);
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const closed = server.close(30);
    vi.advanceTimersByTime(30_000);
    await closed; // without more time
    expect([(await whole).status, (await whole).json.error.code]).toEqual([503, "shutting_down"]);
    expect((await streamed).text).toContain('"code":"shutting_down"');
    expect(server.engine.cancelled).toBe(2);
  });
});
