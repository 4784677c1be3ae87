import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect, test } from "vitest";
import { concurrently } from "./run-task.ts";

/** Work that ends on request, and counts. */
function harness() {
  const ends = new Map<number, () => void>();
  const state = { begun: [] as number[], running: 0, peak: 0, stopped: [] as number[] };
  const work = async (item: number, signal: AbortSignal): Promise<number> => {
    state.begun.push(item);
    state.peak = Math.max(state.peak, ++state.running);
    const stop = (): void => {
      state.stopped.push(item);
      ends.get(item)?.();
    };
    signal.addEventListener("abort", stop);
    await new Promise<void>((resolve) => ends.set(item, resolve));
    signal.removeEventListener("abort", stop);
    state.running--;
    if (item < 0) throw new Error(`item ${item}`);
    return item;
  };
  return { state, work, end: (item: number) => ends.get(item)?.() };
}

test("gives every result as it comes, with as many at a time as it may", async () => {
  const { state, work, end } = harness();
  const results = concurrently([1, 2, 3, 4], { concurrency: 2 }, work);
  const first = results.next();
  expect(state.begun).toEqual([1, 2]);
  end(2);
  expect((await first).value).toBe(2);
  const second = results.next();
  expect(state.begun).toEqual([1, 2, 3]);
  end(1);
  expect((await second).value).toBe(1);
  const third = results.next();
  end(4);
  end(3);
  expect(new Set([(await third).value, (await results.next()).value])).toEqual(new Set([3, 4]));
  expect((await results.next()).done).toBe(true);
  expect(state).toMatchObject({ peak: 2, running: 0, stopped: [] });
});

test("all of any number of items, never more at a time than allowed", () =>
  fc.assert(
    fc.asyncProperty(
      fc.array(fc.nat(3), { maxLength: 30 }),
      fc.integer({ min: 1, max: 8 }),
      async (waits, concurrency) => {
        let running = 0;
        const seen: number[] = [];
        for await (const index of concurrently([...waits.keys()], { concurrency }, async (index) => {
          expect(++running).toBeLessThanOrEqual(concurrency);
          await sleep(waits[index]);
          running--;
          return index;
        }))
          seen.push(index);
        expect(seen.toSorted((a, b) => a - b)).toEqual([...waits.keys()]);
      },
    ),
    { numRuns: 20 },
  ));

test("where one fails, no more are started, and the running ones are stopped and awaited", async () => {
  const { state, work, end } = harness();
  const results = concurrently([1, -2, 3, 4, 5], { concurrency: 3 }, work);
  const first = results.next();
  end(-2);
  await expect(first).rejects.toThrow("item -2");
  expect(state).toMatchObject({ begun: [1, -2, 3], running: 0 });
  expect(state.stopped).toEqual(expect.arrayContaining([1, 3]));
  expect((await results.next()).done).toBe(true);
});

test("where the consumer leaves, the same", async () => {
  const { state, work, end } = harness();
  setTimeout(() => end(2), 5);
  for await (const item of concurrently([1, 2, 3, 4, 5], { concurrency: 3 }, work)) {
    expect(item).toBe(2);
    break;
  }
  // the next one had begun in the place of the one that was given
  expect(state).toMatchObject({ begun: [1, 2, 3, 4], running: 0 });
  expect(state.stopped.toSorted()).toEqual([1, 3, 4]);
});

test("the signal stops what runs, however many listen, without a warning; it is let go of", async () => {
  const warnings: Error[] = [];
  const listener = (warning: Error): void => void warnings.push(warning);
  process.on("warning", listener);
  const controller = new AbortController();
  const { state, work } = harness();
  const items = Array.from({ length: 40 }, (_, i) => i);
  const failing = async (item: number, signal: AbortSignal): Promise<number> => {
    await work(item, signal);
    throw signal.reason;
  };
  const first = concurrently(items, { concurrency: 30, signal: controller.signal }, failing).next();
  controller.abort(new Error("enough"));
  await expect(first).rejects.toMatchObject({ code: "cancelled" });
  expect(state).toMatchObject({ running: 0 });
  expect(state.stopped).toHaveLength(30);
  const late = harness();
  const none = concurrently([1], { concurrency: 1, signal: controller.signal }, late.work).next();
  await expect(none).rejects.toMatchObject({ code: "cancelled" });
  expect(late.state.begun).toEqual([]);
  await sleep(5);
  process.off("warning", listener);
  expect(warnings).toEqual([]);
});
