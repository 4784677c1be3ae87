import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { mergeEvents } from "./choices.ts";

/** A source of numbers that ends early when its signal fires, and counts how many run. */
function makeSource(values: readonly number[], running: { now: number; max: number }) {
  return async function* (signal: AbortSignal): AsyncGenerator<number> {
    running.now++;
    running.max = Math.max(running.max, running.now);
    try {
      for (const value of values) {
        if (value % 3 === 0) await sleep(0);
        if (signal.aborted) return;
        yield value;
      }
    } finally {
      running.now--;
    }
  };
}

test("every event comes once, in its source's order, and never more sources run than may", async () => {
  const sources = fc.array(fc.array(fc.nat(20), { maxLength: 8 }), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(sources, fc.integer({ min: 1, max: 4 }), fc.boolean(), async (lists, atOnce, waits) => {
      const running = { now: 0, max: 0 };
      const seen: number[][] = lists.map(() => []);
      const { signal } = new AbortController();
      const merged = mergeEvents(
        lists.map((list) => makeSource(list, running)),
        { atOnce, signal, onEvent: (source, event) => seen[source]!.push(event) },
      );
      const received: number[][] = lists.map(() => []);
      if (waits && lists.length > 0) await merged.ready();
      for await (const [source, event] of merged.events()) received[source]!.push(event);
      expect(received).toEqual(lists);
      expect(seen).toEqual(received);
      expect(running.now).toBe(0);
      expect(running.max).toBeLessThanOrEqual(atOnce);
    }),
    { numRuns: 100 },
  );
});

test("a source that fails ends the others, and so does a caller that leaves", async () => {
  const running = { now: 0, max: 0 };
  const { signal } = new AbortController();
  const broken = async function* (): AsyncGenerator<number> {
    await sleep(5);
    yield 1;
    throw new Error("broken");
  };
  const endless = makeSource(
    Array.from({ length: 1e6 }, () => 3),
    running,
  );
  const read = async (): Promise<void> => {
    for await (const _ of mergeEvents([endless, broken, endless], { atOnce: 3, signal }).events());
  };
  await expect(read()).rejects.toThrow("broken");
  expect(running.now).toBe(0);
  for await (const _ of mergeEvents([endless, endless], { atOnce: 2, signal }).events()) break;
  expect(running.now).toBe(0);
});

test("a source that cannot be opened, and one that fails before any event, end the others before an answer begins", async () => {
  const running = { now: 0, max: 0 };
  const { signal } = new AbortController();
  const endless = makeSource(
    Array.from({ length: 1e6 }, () => 3),
    running,
  );
  const busy = (): never => {
    throw new Error("busy");
  };
  expect(() => mergeEvents([endless, endless, busy], { atOnce: 3, signal })).toThrow("busy");
  await expect.poll(() => running.now).toBe(0);
  const broken = async function* (): AsyncGenerator<number> {
    yield Promise.reject(new Error("broken"));
  };
  const waiting = async function* (own: AbortSignal): AsyncGenerator<number> {
    await sleep(60_000, undefined, { signal: own }).catch(() => undefined);
    yield* endless(own);
  };
  await expect(mergeEvents([waiting, broken], { atOnce: 2, signal }).ready()).rejects.toThrow("broken");
  expect(running.now).toBe(0);
});

test("the caller's signal reaches the sources", async () => {
  const running = { now: 0, max: 0 };
  const controller = new AbortController();
  const endless = makeSource(
    Array.from({ length: 1e6 }, () => 3),
    running,
  );
  let count = 0;
  for await (const _ of mergeEvents([endless, endless], { atOnce: 2, signal: controller.signal }).events())
    if (++count === 5) controller.abort();
  expect(count).toBeLessThan(10);
  expect(running.now).toBe(0);
});

test("many sources that listen to one signal cause no warning of a leak", async () => {
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on("warning", note);
  const listening = async function* (signal: AbortSignal): AsyncGenerator<number> {
    signal.addEventListener("abort", () => undefined);
    yield 1;
  };
  const sources = Array.from({ length: 16 }, () => listening);
  const { signal } = new AbortController();
  for await (const _ of mergeEvents(sources, { atOnce: 16, signal }).events());
  await sleep(0);
  process.off("warning", note);
  expect(warnings).toEqual([]);
});
