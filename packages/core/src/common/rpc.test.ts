import { setImmediate } from "node:timers/promises";
import { MessageChannel, type MessagePort } from "node:worker_threads";
import { MosError } from "mixture-of-shards-graph/common";
import { expect, onTestFinished, test } from "vitest";
import { withProgress } from "./concurrency.ts";
import { type CallContext, Caller, type Channel, serveCalls } from "./rpc.ts";

const portChannel = (port: MessagePort): Channel => ({
  send: (message) => port.postMessage(message),
  receive: (listener) => void port.on("message", listener),
});

/** A caller of a server of these methods. */
function connect() {
  const { port1, port2 } = new MessageChannel();
  const ended: number[] = [];
  const noted: string[] = [];
  const methods = {
    count: async (to: number, { signal, emit }: CallContext<number>): Promise<string> => {
      for (let i = 0; i < to && !signal.aborted; i++) {
        emit(i);
        await setImmediate();
      }
      ended.push(to);
      return signal.aborted ? "aborted" : "all";
    },
    ask: (questions: readonly string[], { deliver }: CallContext<string>): Promise<readonly unknown[]> =>
      Promise.all(questions.map(deliver)),
    refuse: () => {
      throw new MosError("bad_model", "a.gguf: no tensors", { hint: "try b.gguf" });
    },
    fail: () => {
      throw new TypeError("no number");
    },
    note: (what: string) => noted.push(what),
  };
  const run = (name: string, argument: never, context: CallContext<unknown>) =>
    methods[name as keyof typeof methods](argument, context as never);
  const calls = serveCalls(portChannel(port1), run);
  onTestFinished(() => port1.close());
  return { ended, noted, calls, caller: new Caller<typeof methods>(portChannel(port2)) };
}

test("events come in order, and then the result", async () => {
  const { caller } = connect();
  const events = caller.stream("count", 3);
  const seen: unknown[] = [];
  for (;;) {
    const { done, value } = await events.next();
    seen.push(value);
    if (done === true) break;
  }
  expect(seen).toEqual([0, 1, 2, "all"]);
});

test("what a method delivers waits for its reader, who may answer", async () => {
  const { caller } = connect();
  const events = caller.stream("ask", ["a", "b"]);
  expect(await events.next()).toEqual({ done: false, value: "a" });
  expect(await events.next("A")).toEqual({ done: false, value: "b" });
  expect(await events.next("B")).toEqual({ done: true, value: ["A", "B"] });
});

test("errors keep code, message and hint, and those that nobody expects their stack", async () => {
  const { caller } = connect();
  const refused = await caller.call("refuse", undefined).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(MosError);
  expect(refused).toMatchObject({ code: "bad_model", message: "a.gguf: no tensors\ntry b.gguf" });
  const unexpected = await caller.call("fail", undefined).catch((error: unknown) => error);
  expect(unexpected).toMatchObject({ name: "Error", stack: expect.stringContaining("rpc.test.ts") });
  expect(unexpected).not.toHaveProperty("code");
});

test("a method that is notified runs before a later call, and nothing comes back", async () => {
  const { caller, noted, calls } = connect();
  caller.notify("note", "first");
  await caller.call("note", "second");
  expect([noted, calls.size]).toEqual([["first", "second"], 0]);
});

test("a call is aborted by its signal, by a reader who leaves, and by its server", async () => {
  const { caller, ended, calls } = connect();
  const stop = new AbortController();
  const events = caller.stream("count", 1e6, { signal: stop.signal });
  await events.next();
  stop.abort();
  expect(await withProgress(events)).toBe("aborted");
  expect(await caller.call("count", 2e6, { signal: AbortSignal.abort() })).toBe("aborted");
  for await (const _ of caller.stream("count", 3e6)) break;
  const last = caller.stream("count", 4e6);
  await last.next();
  calls.abort();
  expect(await withProgress(last)).toBe("aborted");
  expect(ended).toEqual([1e6, 2e6, 3e6, 4e6]);
});

test("a connection that fails ends all calls, and those that come later", async () => {
  const { caller } = connect();
  const events = caller.stream("count", 1e6);
  await events.next();
  caller.fail(new MosError("device", "the worker failed"));
  await expect(withProgress(events)).rejects.toThrow("the worker failed");
  await expect(caller.call("count", 1)).rejects.toThrow("the worker failed");
});
