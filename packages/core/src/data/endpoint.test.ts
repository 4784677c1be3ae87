import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { type EndpointOptions, endpointUrl, openChatClient } from "./endpoint.ts";

type Reply = (response: ServerResponse, request: IncomingMessage) => void;

const status =
  (code: number, body: string, headers: Readonly<Record<string, string>> = {}): Reply =>
  (response) =>
    response.writeHead(code, headers).end(body);
const completion = (content: string | null) =>
  status(
    200,
    JSON.stringify({
      choices: [{ message: { content } }],
      usage: { prompt_tokens: 7, completion_tokens: 3 },
    }),
  );

/** A server that gives these replies one after the other, and a client that asks it without waiting. */
async function serve(replies: readonly Reply[], options: Partial<EndpointOptions> = {}) {
  const seen: { path: string | undefined; key: string | undefined; body: Record<string, unknown> }[] = [];
  const left = [...replies];
  const server = createServer(async (request, response) => {
    let text = "";
    for await (const part of request) text += part;
    seen.push({ path: request.url, key: request.headers.authorization, body: JSON.parse(text) });
    (left.shift() ?? status(500, "no reply left"))(response, request);
  }).listen(0, "127.0.0.1");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
  const waits: number[] = [];
  const client = openChatClient({
    url,
    sleep: async (seconds) => void waits.push(seconds),
    ...options,
  });
  const ask = (signal?: AbortSignal) =>
    client({ model: "teacher", messages: [{ role: "user", content: "Hi" }], max_tokens: 64 }, signal);
  const close = async () => {
    server.closeAllConnections();
    await once(server.close(), "close");
  };
  return { ask, seen, waits, close };
}

test("asks by OpenAI's API, with the key", async () => {
  const { ask, seen } = await serve([completion("Hello")], { key: "secret" });
  expect(await ask()).toEqual({
    choices: [{ message: { content: "Hello" } }],
    usage: { prompt_tokens: 7, completion_tokens: 3 },
  });
  const body = { model: "teacher", messages: [{ role: "user", content: "Hi" }], max_tokens: 64 };
  expect(seen).toEqual([{ path: "/v1/chat/completions", key: "Bearer secret", body }]);
});

test("tries again after errors of the server and broken connections, and honours Retry-After", async () => {
  const reasons: string[] = [];
  const date = new Date(1e12).toUTCString();
  const later = new Date(1e12 + 90_000).toUTCString();
  const { ask, seen, waits } = await serve(
    [
      status(500, "oops"),
      status(429, '{"error": {"message": "slow down"}}', { "retry-after": "7" }),
      status(503, "", { "retry-after": later, date }),
      status(429, "", { "retry-after": "99999" }),
      (response) => response.destroy(),
      completion(null),
    ],
    { onRetry: (reason) => reasons.push(reason) },
  );
  expect(await ask()).toMatchObject({ choices: [{ message: { content: null } }] });
  expect(waits).toEqual([1, 7, 90, 600, 4]);
  expect(seen).toHaveLength(6);
  expect(reasons[1]).toMatch(/answered 429 "slow down"$/);
  expect(reasons[4]).toMatch(/does not answer/);
});

test("a server that says when it has time is asked again for ten minutes, and then eight times", async () => {
  const { ask, seen } = await serve(Array(99).fill(status(429, "", { "retry-after": "20" })));
  await expect(ask()).rejects.toThrow(/the teacher answered 429/);
  expect(seen).toHaveLength(600 / 20 + 8);
  const hasty = await serve(Array(99).fill(status(429, "", { "retry-after": "0" })));
  await expect(hasty.ask()).rejects.toThrow(/the teacher answered 429/);
  expect(hasty.seen).toHaveLength(8);
});

test("gives up after eight attempts, and at once where another one would not help", async () => {
  const failing = await serve(Array(9).fill(status(500, "oops")));
  await expect(failing.ask()).rejects.toMatchObject({
    code: "network",
    message: expect.stringMatching(/the teacher answered 500/),
  });
  expect(failing.seen).toHaveLength(8);
  for (const [code, message] of [
    [401, /answered 401.*--key-variable/],
    [404, /answered 404; check the URL, and that it serves teacher/],
    [400, /answered 400 "too long"/],
  ] as const) {
    const { ask, seen } = await serve([
      status(code, '{"error": {"message": "too long"}}'.slice(code === 400 ? 0 : 99)),
    ]);
    await expect(ask()).rejects.toThrow(message);
    expect(seen).toHaveLength(1);
  }
  for (const [body, message] of [
    ["<html>", /answered 200 without a chat completion: "<html>"; check that the URL/],
    ['{"choices": []}', /without a chat completion: "{\\"choices\\": \[\]}"/],
    ['{"error": {"message": "no credit"}}', /without a chat completion: "no credit"/],
  ] as const) {
    const { ask, seen } = await serve([status(200, body)]);
    await expect(ask()).rejects.toThrow(message);
    expect(seen).toHaveLength(1);
  }
});

test("a teacher that nobody started is an error at once, and one that is restarted is waited for", async () => {
  const waits: number[] = [];
  const sleep = async (seconds: number) => void waits.push(seconds);
  const { ask, close } = await serve([completion("a")], { sleep });
  const absent = await serve([], { sleep });
  await absent.close();
  await expect(absent.ask()).rejects.toThrow(
    /does not answer \(.*ECONNREFUSED.*\); start it, or check the URL/,
  );
  expect(waits).toEqual([]);
  await ask();
  await close();
  await expect(ask()).rejects.toThrow(/does not answer/);
  expect(waits).toHaveLength(7);
  const late = await serve([], { isAwaited: true });
  await late.close();
  await expect(late.ask()).rejects.toThrow(/does not answer \(.*ECONNREFUSED.*\)$/);
  expect(late.waits).toHaveLength(7);
});

test("uses the newer name of the limit where a model refuses the older one", async () => {
  const refusal = status(
    400,
    `{"error": {"message": "Use 'max_completion_tokens' instead of 'max_tokens'"}}`,
  );
  const { ask, seen } = await serve([refusal, completion("a"), completion("b")]);
  await ask();
  await ask();
  const fields = seen.map(({ body }) => Object.keys(body).filter((name) => name.startsWith("max")));
  expect(fields).toEqual([["max_tokens"], ["max_completion_tokens"], ["max_completion_tokens"]]);
});

test("follows no redirection, which could take the key elsewhere", async () => {
  const { ask, seen } = await serve(Array(8).fill(status(307, "", { location: "http://127.0.0.1:1/" })), {
    key: "secret",
  });
  await expect(ask()).rejects.toThrow(/does not answer/);
  expect(seen).toHaveLength(8);
});

/** Writes until the other end has enough. */
const endless: Reply = (response) => {
  const write = (): void => {
    while (!response.destroyed && response.write(Buffer.alloc(2 ** 16, "x")));
    response.once("drain", write);
  };
  write();
};

test("reads at most 16 MB of an answer, and asks no second time", async () => {
  const { ask, seen } = await serve([endless]);
  await expect(ask()).rejects.toThrow(/the teacher answered more than 16.0 MB; check the URL/);
  expect(seen.length).toBe(1);
});

test("a signal ends an answer that goes on and on", async () => {
  const stop = new AbortController();
  const { ask } = await serve([
    (response, request) => {
      endless(response, request);
      setImmediate(() => stop.abort());
    },
  ]);
  await expect(ask(stop.signal)).rejects.toThrow("stopped asking the teacher");
});

test("a signal ends a request, a pause, and what has not begun", async () => {
  const stop = new AbortController();
  const hanging = await serve([() => stop.abort()]);
  await expect(hanging.ask(stop.signal)).rejects.toMatchObject({ code: "cancelled" });
  await expect(hanging.ask(stop.signal)).rejects.toMatchObject({ code: "cancelled" });
  expect(hanging.seen).toHaveLength(1);
  const pause = new AbortController();
  const busy = await serve([status(429, "", { "retry-after": "500" })], { sleep: async () => pause.abort() });
  await expect(busy.ask(pause.signal)).rejects.toMatchObject({ code: "cancelled" });
});

test("the address of chat completions, from what people give", () => {
  const url = (base: string) => endpointUrl(base, "chat/completions").href;
  for (const base of [
    "http://a:1",
    "http://a:1/",
    "http://a:1/v1",
    "http://a:1/v1/",
    "http://a:1/v1/chat/completions",
    "http://a:1/v1/completions",
  ])
    expect(url(base)).toBe("http://a:1/v1/chat/completions");
  expect(url("https://a/openai/deployments/x?api-version=1")).toBe(
    "https://a/openai/deployments/x/chat/completions?api-version=1",
  );
  for (const base of ["", "a:1", "ftp://a", "http://user:key@a/v1", "file:///etc/passwd"])
    expect(() => url(base)).toThrow(/give the base URL of an OpenAI-compatible API/);
});

test("a request ends after its seconds, however often it may be made again", async () => {
  const silent: Reply = () => undefined;
  const { ask, seen, waits } = await serve([status(500, "no"), silent], { seconds: 1.2 });
  await expect(ask()).rejects.toThrow(/no answer in 1 s/);
  expect([seen.length, waits]).toEqual([2, [1]]);
  const { ask: busy, seen: asked } = await serve([status(503, "later", { "retry-after": "60" })], {
    seconds: 59,
  });
  await expect(busy()).rejects.toThrow(/answered 503/);
  expect(asked).toHaveLength(1);
});
