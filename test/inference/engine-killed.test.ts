import type { ChildProcess } from "node:child_process";
import { expect, test, vi } from "vitest";
import { openEngine } from "#inference";
import { answerOf, refusalOf, request } from "./tiny-engine.ts";

const children: ChildProcess[] = [];
vi.mock("node:child_process", async (original) => {
  const actual = await original<typeof import("node:child_process")>();
  const fork = (...args: Parameters<typeof actual.fork>): ChildProcess => {
    const child = actual.fork(...args);
    children.push(child);
    return child;
  };
  return { ...actual, fork };
});

const settings = { model: "assets/tiny-english", threads: 1 };
const long = request({ maxTokens: 400, ignoreEos: true });

async function openRunning() {
  const engine = await openEngine(settings);
  const reads = engine.submit(long)[Symbol.asyncIterator]();
  for (let i = 0; i < 4; i++) await reads.next();
  const child = children.at(-1) as ChildProcess;
  const rest = refusalOf(() => ({ [Symbol.asyncIterator]: () => reads }));
  return { engine, child, rest };
}

test("an engine whose process is killed says so to everybody, and can be closed", async () => {
  const { engine, child, rest } = await openRunning();
  const asked = [engine.stats(), engine.drain(), engine.refreshAdapters()].map((one) =>
    one.then(
      () => "answered",
      (error) => error.code,
    ),
  );
  child.kill("SIGSTOP");
  const waiting = refusalOf(() => engine.submit(long));
  child.kill("SIGKILL");
  expect(await rest).toBe("device");
  expect(await waiting).toBe("device");
  expect(["device", "answered"]).toContain(await asked[0]);
  expect(await asked[1]).toBe("device");
  expect(await engine.closed).toMatchObject({ code: "device", message: expect.stringContaining("SIGKILL") });
  expect(await refusalOf(() => engine.submit(long))).toBe("device");
  await expect(engine.stats()).rejects.toMatchObject({ code: "device" });
  await engine[Symbol.asyncDispose]();
});

test("an engine whose process dies while it is closed is closed", async () => {
  const { engine, child, rest } = await openRunning();
  child.kill("SIGSTOP");
  const closed = Promise.all([engine[Symbol.asyncDispose](), engine[Symbol.asyncDispose]()]);
  child.kill("SIGKILL");
  await closed;
  expect(await rest).toBe("device");
  expect(child.signalCode).toBe("SIGKILL");
  expect(await engine.closed).toBeUndefined();
});

test("closing cancels what runs and ends the process; a request that nobody reads can be cancelled", async () => {
  const { engine, child, rest } = await openRunning();
  const controller = new AbortController();
  const unread = engine.submit({ ...long, signal: controller.signal });
  await expect.poll(async () => (await engine.stats()).running).toBe(2);
  controller.abort();
  await expect.poll(async () => (await engine.stats()).running).toBeLessThan(2);
  expect((await answerOf(unread)).end.reason).toBe("cancelled");
  await engine[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  expect(await rest).toBe("answered");
  expect([child.exitCode, child.signalCode]).toEqual([0, null]);
});
