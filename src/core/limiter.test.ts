import { expect, test } from "vitest";
import { limiter } from "./limiter.ts";

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("no more than so many run at once, and all have their turn", async () => {
  const turn = limiter(2);
  let [running, most] = [0, 0];
  const results = await Promise.allSettled(
    Array.from({ length: 9 }, (_, i) =>
      turn(async () => {
        most = Math.max(most, ++running);
        await settled();
        running--;
        if (i === 3) throw new Error("one that fails gives its place back, too");
        return i;
      }),
    ),
  );
  expect(most).toBe(2);
  expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(8);
});

test("whoever is stopped before the turn leaves the queue to the others", async () => {
  const turn = limiter(1);
  const controller = new AbortController();
  const first = turn(settled);
  const second = turn(settled, controller.signal);
  const third = turn(async () => "third");
  controller.abort();
  await expect(second).rejects.toMatchObject({ code: "cancelled" });
  await first;
  expect(await third).toBe("third");
  await expect(turn(settled, controller.signal)).rejects.toMatchObject({ code: "cancelled" });
});
