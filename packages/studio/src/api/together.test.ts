import { afterEach, expect, test, vi } from "vitest";
import { fetchTogether } from "./together.ts";

afterEach(() => vi.unstubAllGlobals());

const init = (model: string, signal?: AbortSignal): RequestInit => ({
  method: "POST",
  body: JSON.stringify({ model }),
  ...(signal === undefined ? {} : { signal }),
});

/** A server that a test feeds by hand. */
function serve() {
  let stream: ReadableStreamDefaultController<Uint8Array> | undefined;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => {
      stream = controller;
    },
  });
  const asked = vi.fn(async (_url: string, _init: RequestInit) => new Response(body));
  vi.stubGlobal("fetch", asked);
  const send = (part: object | string): void =>
    stream?.enqueue(
      new TextEncoder().encode(`data: ${typeof part === "string" ? part : JSON.stringify(part)}\n\n`),
    );
  return { asked, send, close: () => stream?.close() };
}

test("requests of one moment are one request, and each has its own answer", async () => {
  const { asked, send } = serve();
  const both = [fetchTogether("../v1/completions", init("a")), fetchTogether("../v1/completions", init("b"))];
  await vi.waitFor(() => expect(asked).toHaveBeenCalledTimes(1));
  expect(JSON.parse(String(asked.mock.calls[0]?.[1].body))).toEqual({
    requests: ["a", "b"].map((model) => ({ path: "/v1/completions", body: { model } })),
  });
  send({ index: 1, status: 404, headers: { "x-request-id": "req_1" } });
  send({ index: 1, text: '{"error":{}}' });
  send({ index: 0, status: 200 });
  send({ index: 1, end: "whole" });
  send({ index: 0, text: "one " });
  send({ index: 0, text: "two" });
  send({ index: 0, end: "whole" });
  send("[DONE]");
  const [first, second] = await Promise.all(both);
  expect([first?.status, await first?.text()]).toEqual([200, "one two"]);
  expect([second?.status, second?.headers.get("x-request-id"), await second?.text()]).toEqual([
    404,
    "req_1",
    '{"error":{}}',
  ]);
});

test("an answer that is cut off fails alone, and a lost connection fails the rest", async () => {
  const { send, close } = serve();
  const [a, b] = [
    fetchTogether("../v1/completions", init("a")),
    fetchTogether("../v1/completions", init("b")),
  ];
  send({ index: 0, status: 200 });
  send({ index: 0, end: "cut" });
  await expect((await a).text()).rejects.toThrow("cut off");
  send({ index: 1, status: 200 });
  close();
  await expect((await b).text()).rejects.toThrow("the connection was lost");
});

test("the connection is closed when everybody has left", async () => {
  const { asked, send } = serve();
  const leaving = [new AbortController(), new AbortController()];
  const answers = leaving.map(({ signal }) => fetchTogether("../v1/completions", init("a", signal)));
  await vi.waitFor(() => expect(asked).toHaveBeenCalled());
  const closed = asked.mock.calls[0]?.[1].signal;
  send({ index: 0, status: 200 });
  await answers[0];
  leaving[0]?.abort();
  expect(closed?.aborted).toBe(false);
  leaving[1]?.abort();
  expect(closed?.aborted).toBe(true);
  await expect(answers[1]).rejects.toThrow();
});

test("a request that is alone goes its own way", async () => {
  const { asked } = serve();
  await fetchTogether("../v1/completions", init("a"));
  expect(asked.mock.calls[0]?.[0]).toBe("../v1/completions");
});
