import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { mergeEvents, prime } from "./merge-events.ts";

/** A source of numbers that ends early when its signal fires, and counts how many run. */
function sourceOf(values: readonly number[], running: { now: number; most: number }) {
  return async function* (signal: AbortSignal): AsyncGenerator<number> {
    running.now++;
    running.most = Math.max(running.most, running.now);
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
    fc.asyncProperty(sources, fc.integer({ min: 1, max: 4 }), fc.nat(4), async (lists, atOnce, primed) => {
      const running = { now: 0, most: 0 };
      const { signal } = new AbortController();
      const merged = mergeEvents(
        lists.map((list) => sourceOf(list, running)),
        { atOnce, signal },
      );
      const received: number[][] = lists.map(() => []);
      for await (const { choice, event } of await prime(merged, Math.min(primed, lists.length)))
        received[choice]!.push(event);
      expect(received).toEqual(lists);
      expect(running.now).toBe(0);
      expect(running.most).toBeLessThanOrEqual(atOnce);
    }),
    { numRuns: 100 },
  );
});

test("a source that fails ends the others, and so does a caller that leaves", async () => {
  const running = { now: 0, most: 0 };
  const { signal } = new AbortController();
  const broken = async function* (): AsyncGenerator<number> {
    await sleep(5);
    yield 1;
    throw new Error("broken");
  };
  const endless = sourceOf(
    Array.from({ length: 1e6 }, () => 3),
    running,
  );
  const read = async (): Promise<void> => {
    for await (const _ of mergeEvents([endless, broken, endless], { atOnce: 3, signal }));
  };
  await expect(read()).rejects.toThrow("broken");
  expect(running.now).toBe(0);
  for await (const _ of mergeEvents([endless, endless], { atOnce: 2, signal })) break;
  expect(running.now).toBe(0);
});

test("what fails at once is told before any event, wherever it stands", async () => {
  const running = { now: 0, most: 0 };
  const { signal } = new AbortController();
  const refused = async function* (): AsyncGenerator<number> {
    yield sleep(2).then(() => Promise.reject(new Error("refused")));
  };
  const sources = [sourceOf([1, 2, 4], running), sourceOf([1, 2, 4], running), refused];
  const merged = mergeEvents(sources, { atOnce: 3, signal, settled: () => sleep(20) });
  await expect(merged.next()).rejects.toThrow("refused");
  expect(running.now).toBe(0);
  const untold = mergeEvents(sources.slice(0, 2), {
    atOnce: 2,
    signal,
    settled: () => Promise.reject(new Error("unknown")),
  });
  expect(await untold.next()).toMatchObject({ value: { choice: 0, event: 1 } });
  await untold.return();
});

test("the caller's signal reaches the sources", async () => {
  const running = { now: 0, most: 0 };
  const controller = new AbortController();
  const endless = sourceOf(
    Array.from({ length: 1e6 }, () => 3),
    running,
  );
  let count = 0;
  for await (const _ of mergeEvents([endless, endless], { atOnce: 2, signal: controller.signal }))
    if (++count === 5) controller.abort();
  expect(count).toBeLessThan(10);
  expect(running.now).toBe(0);
});

test("many sources that listen to the signal are no warning of a leak", async () => {
  const warnings: Error[] = [];
  const note = (warning: Error): void => void warnings.push(warning);
  process.on("warning", note);
  const listening = async function* (signal: AbortSignal): AsyncGenerator<number> {
    signal.addEventListener("abort", () => undefined);
    yield 1;
  };
  const sources = Array.from({ length: 16 }, () => listening);
  const { signal } = new AbortController();
  for await (const _ of mergeEvents(sources, { atOnce: 16, signal }));
  await sleep(0);
  process.off("warning", note);
  expect(warnings).toEqual([]);
});
