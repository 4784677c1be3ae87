import { expect, test, vi } from "vitest";
import { closeWhenIdle, limitConcurrency } from "./concurrency.ts";

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("no more than `max` run at a time, and all of them run", async () => {
  const limited = limitConcurrency(2);
  let [running, max] = [0, 0];
  const results = await Promise.allSettled(
    Array.from({ length: 9 }, (_, i) =>
      limited(async () => {
        max = Math.max(max, ++running);
        await settled();
        running--;
        if (i === 3) throw new Error("a task that fails frees its place, too");
        return i;
      }),
    ),
  );
  expect(max).toBe(2);
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(8);
});

test("an aborted task leaves the queue", async () => {
  const limited = limitConcurrency(1);
  const controller = new AbortController();
  const first = limited(settled);
  const second = limited(settled, controller.signal);
  const third = limited(async () => "third");
  controller.abort();
  await expect(second).rejects.toMatchObject({ code: "cancelled" });
  await first;
  expect(await third).toBe("third");
  await expect(limited(settled, controller.signal)).rejects.toMatchObject({ code: "cancelled" });
});

test("what is idle for long enough is closed, and what is in use or was used again is not", async () => {
  vi.useFakeTimers();
  try {
    const close = vi.fn();
    const use = closeWhenIdle(10, close);
    const ends: (() => void)[] = [];
    const start = () => use(() => new Promise<void>((resolve) => ends.push(resolve)));
    const both = [start(), start()];
    ends[0]?.();
    await both[0];
    await vi.advanceTimersByTimeAsync(60_000);
    expect(close).not.toHaveBeenCalled();
    ends[1]?.();
    await both[1];
    await vi.advanceTimersByTimeAsync(9_999);
    await expect(use(() => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
    await vi.advanceTimersByTimeAsync(9_999);
    expect(close).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(close).toHaveBeenCalledOnce();
    expect(await use(async () => 1)).toBe(1);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(close).toHaveBeenCalledTimes(2);
  } finally {
    vi.useRealTimers();
  }
});
