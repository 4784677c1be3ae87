import { afterEach, describe, expect, test } from "vitest";
import { connection } from "./connection.ts";
import { eventsOf, readEvents } from "./stream.ts";

async function* pieces(...parts: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* parts;
}

const collect = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const found: T[] = [];
  for await (const item of items) found.push(item);
  return found;
};

// other files of the same process count on it
afterEach(() => {
  connection.value = "up";
});

const TEXT = [
  ": a comment\n",
  'data: {"text":"größer 😀"}\n\n',
  "event: delta\r\nid: 7\r\ndata:first\r\ndata: second\r\n\r\n",
  "\n\ndata: by\rdata: returns\r\rdata: [DONE]\n\n",
  "data: never finished\n",
].join("");
const EVENTS = ['{"text":"größer 😀"}', "first\nsecond", "by\nreturns", "[DONE]"];

describe("server-sent events", () => {
  test("are the same wherever the bytes are cut", async () => {
    const bytes = new TextEncoder().encode(TEXT);
    for (let cut = 0; cut <= bytes.length; cut++)
      expect(await collect(readEvents(pieces(bytes.subarray(0, cut), bytes.subarray(cut))))).toEqual(EVENTS);
    const single = [...bytes].map((byte) => Uint8Array.of(byte));
    expect(await collect(readEvents(pieces(...single)))).toEqual(EVENTS);
  });

  test("end at [DONE], and their body is let go", async () => {
    const body = 'data: {"n":1}\n\ndata: [DONE]\n\ndata: {"n":2}\n\n';
    expect(await collect(eventsOf(new Response(body)))).toEqual([{ n: 1 }]);
    let isCancelled = false;
    const endless = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(new TextEncoder().encode('data: {"n":1}\n\n')),
      cancel: () => {
        isCancelled = true;
      },
    });
    for await (const event of eventsOf(new Response(endless))) {
      expect(event).toEqual({ n: 1 });
      break;
    }
    expect(isCancelled).toBe(true);
  });

  test("throw what the server says went wrong", async () => {
    const body = 'data: {"error":{"message":"no room","code":"busy","param":null}}\n\n';
    const answer = new Response(body, { headers: { "x-request-id": "r1" } });
    await expect(collect(eventsOf(answer))).rejects.toMatchObject({
      name: "ApiProblem",
      message: "no room",
      code: "busy",
      param: undefined,
      requestId: "r1",
    });
  });

  test("say that the server was lost in the middle", async () => {
    let turn = 0;
    const broken = new ReadableStream<Uint8Array>({
      pull: (controller) =>
        turn++ === 0
          ? controller.enqueue(new TextEncoder().encode('data: {"n":1}\n\n'))
          : controller.error(new TypeError("network error")),
    });
    const events = eventsOf(new Response(broken));
    expect((await events.next()).value).toEqual({ n: 1 });
    await expect(events.next()).rejects.toMatchObject({ status: 0 });
  });
});
