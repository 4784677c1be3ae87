import { setImmediate } from "node:timers/promises";
import { MessageChannel } from "node:worker_threads";
import { expect, test } from "vitest";
import { MosError } from "#core";
import { type Answer, type CallRequest, type Channel, openCaller, serveCalls } from "./protocol.ts";

interface Call {
  readonly ended: string[];
}

/** A worker that counts, on a channel as that of a page. */
function connect() {
  const { port1, port2 } = new MessageChannel();
  const ended: string[] = [];
  async function* count({ argument }: CallRequest, signal: AbortSignal): Answer {
    try {
      for (let i = 0; i < (argument as number); i++) {
        if (signal.aborted) return "aborted";
        yield i;
      }
      if (argument === -1) throw new MosError("bad_model", "a.gguf: no tensors", { hint: "try b.gguf" });
      return "all";
    } finally {
      ended.push(String(argument));
    }
  }
  // Node's types of a port's listeners are its own
  const channel = (port: unknown) => port as Channel;
  serveCalls(channel(port1), count, () => setImmediate());
  port1.start();
  port2.start();
  const state: Call = { ended };
  return { ...state, caller: openCaller(channel(port2)), [Symbol.dispose]: () => port1.close() };
}

test("events come in order, and then the result", async () => {
  using worker = connect();
  const events = worker.caller.stream<number, string>("count", 3);
  const seen: unknown[] = [];
  for (;;) {
    const { done, value } = await events.next();
    seen.push(value);
    if (done === true) break;
  }
  expect(seen).toEqual([0, 1, 2, "all"]);
});

test("errors keep their code, message and hint", async () => {
  using worker = connect();
  const error = await worker.caller
    .stream("count", -1)
    .next()
    .catch((found: unknown) => found);
  expect(error).toMatchObject({
    name: "MosError",
    code: "bad_model",
    message: "a.gguf: no tensors\ntry b.gguf",
  });
  expect(error).toBeInstanceOf(MosError);
});

test("an aborted signal reaches the worker, and so does a loop that is left", async () => {
  using worker = connect();
  const stop = new AbortController();
  const events = worker.caller.stream<number, string>("count", 1e6, stop.signal);
  await events.next();
  stop.abort();
  for (;;) {
    const { done, value } = await events.next();
    if (done !== true) continue;
    expect(value).toBe("aborted");
    break;
  }
  for await (const _ of worker.caller.stream("count", 2e6)) break;
  while (worker.ended.length < 2) await setImmediate();
  expect(worker.ended).toEqual(["1000000", "2000000"]);
});

test("a worker that fails ends all calls, and those that come later", async () => {
  using worker = connect();
  const events = worker.caller.stream("count", 1e6);
  await events.next();
  worker.caller.fail(new MosError("device", "the worker failed"));
  const read = async () => {
    for await (const _ of events);
  };
  await expect(read()).rejects.toThrow("the worker failed");
  await expect(worker.caller.stream("count", 1).next()).rejects.toThrow("the worker failed");
});
