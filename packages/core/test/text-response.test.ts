// An answer as a web Response, and what happens when its client leaves.
import { expect, test, vi } from "vitest";
import { AsyncQueue } from "#common";
import { type EngineEvent, openEngine } from "#inference";
import { textResponse, textStream } from "../src/index.ts";

const scheduled: EngineEvent = { type: "scheduled", digest: null };
const token = (text: string): EngineEvent => ({ type: "token", id: 1, text });

test("the body is the answer's text, and with sse its parts as events", async () => {
  await using engine = await openEngine({ model: "assets/tiny-english", inProcess: true, threads: 1 });
  const answer = () => engine.complete("Once upon a time", { maxTokens: 8 });
  let whole = "";
  for await (const event of answer()) if ("text" in event) whole += event.text;
  const plain = await textResponse(answer(), { status: 201, headers: { "x-own": "1" } });
  expect([plain.status, plain.headers.get("content-type"), plain.headers.get("x-own")]).toEqual([
    201,
    "text/plain; charset=utf-8",
    "1",
  ]);
  expect(await plain.text()).toBe(whole);
  const events = await textResponse(answer(), { format: "sse" });
  expect(events.headers.get("content-type")).toBe("text/event-stream");
  const parts = (await events.text()).split("\n\n").filter((part) => part !== "");
  expect(parts.pop()).toBe("data: [DONE]");
  expect(parts.map((part) => JSON.parse(part.replace("data: ", ""))).join("")).toBe(whole);
});

test("a client that leaves cancels the request at once, also while it is waited for a token", async () => {
  const left = vi.fn();
  const queue = new AsyncQueue<EngineEvent>(left);
  queue.push(scheduled, token("a"));
  const { body } = await textResponse(queue);
  const reader = body!.getReader();
  expect(new TextDecoder().decode((await reader.read()).value)).toBe("a");
  const waiting = reader.read();
  expect(left).not.toHaveBeenCalled();
  await reader.cancel();
  expect(left).toHaveBeenCalledOnce();
  expect((await waiting).done).toBe(true);
});

test("an error of the engine breaks the body off", async () => {
  const queue = new AsyncQueue<EngineEvent>();
  queue.push(token("a"));
  queue.close(new Error("the engine was closed"));
  const response = await textResponse(queue);
  await expect(response.text()).rejects.toThrow("the engine was closed");
});

test("an error before the first text is thrown to the route handler, which has sent nothing yet", async () => {
  await using engine = await openEngine({ model: "assets/tiny-english", inProcess: true, threads: 1 });
  await expect(textResponse(engine.chat("Hi", { adapter: "nobody" }))).rejects.toThrow(/no adapter "nobody"/);
});

test("an answer that its signal ends is no short answer: texts, responses, parts and messages throw the abort", async () => {
  await using engine = await openEngine({ model: "assets/tiny-english", inProcess: true, threads: 1 });
  const cause = new Error("no longer wanted");
  const messages = [{ role: "user", content: "Once upon a time" }];
  const failure = { code: "cancelled", cause };
  const chat = (signal: AbortSignal) => engine.chat(messages, { maxTokens: 200, signal });
  const readAll = async (parts: AsyncIterable<unknown>, stop?: AbortController) => {
    for await (const _ of parts) stop?.abort(cause);
  };
  const aborted = AbortSignal.abort(cause);
  await expect(chat(aborted).message()).rejects.toMatchObject(failure);
  await expect(readAll(chat(aborted).parts())).rejects.toMatchObject(failure);
  await expect(readAll(textStream(chat(aborted)))).rejects.toMatchObject(failure);
  await expect(textResponse(chat(aborted))).rejects.toMatchObject(failure);
  // after the first text
  const [early, late] = [new AbortController(), new AbortController()];
  await expect(readAll(textStream(chat(early.signal)), early)).rejects.toMatchObject(failure);
  const response = await textResponse(chat(late.signal));
  late.abort(cause);
  await expect(response.text()).rejects.toMatchObject(failure);
});
