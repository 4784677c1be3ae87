import { expect, test } from "vitest";
import { limitConcurrency } from "./concurrency.ts";

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
