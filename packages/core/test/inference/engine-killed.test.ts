import type { ChildProcess } from "node:child_process";
import { expect, test, vi } from "vitest";
import { openEngine } from "#inference";
import { recordForks } from "../../../../test/replace-builtin.ts";
import { openWorkerCore } from "../../src/inference/open-engine.ts";
import { catchRefusal, collectAnswer, request } from "./tiny-engine.ts";

const children = recordForks();

const settings = { model: "assets/tiny-english", threads: 1 };
const long = request({ maxTokens: 400, ignoreEos: true });

async function openRunning() {
  const engine = await openEngine(settings);
  const reads = engine.submit(long)[Symbol.asyncIterator]();
  for (let i = 0; i < 4; i++) await reads.next();
  const child = children.at(-1) as ChildProcess;
  const rest = catchRefusal(() => ({ [Symbol.asyncIterator]: () => reads }));
  return { engine, child, rest };
}

test("an engine whose process is killed fails all its requests, and can be closed", async () => {
  const { engine, child, rest } = await openRunning();
  const ask = (one: Promise<unknown>): Promise<string> =>
    one.then(
      () => "answered",
      (error) => error.code,
    );
  const asked = [ask(engine.stats()), ask(engine.refreshAdapters())];
  child.kill("SIGSTOP");
  const waiting = catchRefusal(() => engine.submit(long));
  const drained = ask(engine.drain());
  child.kill("SIGKILL");
  expect(await rest).toBe("device");
  expect(await waiting).toBe("device");
  expect(["device", "answered"]).toContain(await asked[0]);
  expect(["device", "answered"]).toContain(await asked[1]);
  expect(await drained).toBe("device");
  expect(await engine.closed).toMatchObject({ code: "device", message: expect.stringContaining("SIGKILL") });
  expect(await catchRefusal(() => engine.submit(long))).toBe("device");
  await expect(engine.stats()).rejects.toMatchObject({ code: "device" });
  await engine[Symbol.asyncDispose]();
});

test("an engine whose loop was not started is silent after silentSeconds, with 0 never, and is closed, too", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  try {
    for (const silentSeconds of [0, 40]) {
      const { core } = await openWorkerCore(settings, { onProgress: () => undefined, silentSeconds });
      vi.advanceTimersByTime(40_000);
      expect(core.isResponding).toBe(true);
      vi.advanceTimersByTime(5000);
      expect(core.isResponding).toBe(silentSeconds === 0);
      const child = children.at(-1) as ChildProcess;
      await core[Symbol.asyncDispose]();
      expect([child.exitCode, child.signalCode]).toEqual([0, null]);
      expect(await core.closed).toBeUndefined();
    }
  } finally {
    vi.useRealTimers();
  }
});

test("closing succeeds when the process dies meanwhile", async () => {
  const { engine, child, rest } = await openRunning();
  child.kill("SIGSTOP");
  const closed = Promise.all([engine[Symbol.asyncDispose](), engine[Symbol.asyncDispose]()]);
  child.kill("SIGKILL");
  await closed;
  expect(await rest).toBe("device");
  expect(child.signalCode).toBe("SIGKILL");
  expect(await engine.closed).toBeUndefined();
});

test("an engine whose process is stopped does not respond, goes on when it may, and is killed to be closed", {
  tags: "thorough",
}, async () => {
  const engine = await openEngine({ ...settings, silentSeconds: 2 });
  const child = children.at(-1) as ChildProcess;
  const asked = engine.submit(long);
  child.kill("SIGSTOP");
  const stats = engine.stats();
  await expect(stats).rejects.toMatchObject({
    code: "device",
    message: "the engine process does not respond",
  });
  expect(engine.isResponding).toBe(false);
  await expect(engine.stats()).rejects.toMatchObject({ code: "device" });
  child.kill("SIGCONT");
  await expect.poll(() => engine.isResponding).toBe(true);
  expect((await collectAnswer(asked)).ids).toHaveLength(400);
  expect((await engine.stats()).running).toBe(0);
  child.kill("SIGSTOP");
  await expect.poll(() => engine.isResponding).toBe(false);
  await engine[Symbol.asyncDispose]();
  expect(child.signalCode).toBe("SIGKILL");
  expect(await engine.closed).toMatchObject({
    code: "device",
    message: expect.stringMatching(/was killed$/),
  });
});

test("the process sends one message for each step, with the events of all its requests; closing cancels those that run and ends it", async () => {
  const { engine, child, rest } = await openRunning();
  let outputs = 0;
  // of several requests: this process may be late with those of the first alone
  child.on(
    "message",
    ({ event }: { readonly event?: { readonly output?: readonly (readonly unknown[])[] } }) => {
      if ((event?.output?.[0]?.length ?? 0) > 1) outputs++;
    },
  );
  const answers = Array.from({ length: 4 }, (_, i) =>
    collectAnswer(engine.submit({ prompt: [5, 6, 7 + i], maxTokens: 40, ignoreEos: true })),
  );
  const tokens = (await Promise.all(answers)).reduce((sum, { ids }) => sum + ids.length, 0);
  expect(tokens).toBe(160);
  expect(outputs).toBeGreaterThan(30);
  expect(outputs).toBeLessThan(60);

  // one whose events are not consumed can be cancelled, too
  const controller = new AbortController();
  const unread = engine.submit({ ...long, signal: controller.signal });
  await expect.poll(async () => (await engine.stats()).running).toBe(2);
  controller.abort();
  await expect.poll(async () => (await engine.stats()).running).toBeLessThan(2);
  expect((await collectAnswer(unread)).end.finishReason).toBe("cancelled");
  await engine[Symbol.asyncDispose]();
  await engine[Symbol.asyncDispose]();
  expect(await rest).toBe("answered");
  expect([child.exitCode, child.signalCode]).toEqual([0, null]);
});
