// Whose task has the next free place.
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test } from "vitest";
import { createTurns } from "#worker";

const limits = { running: 2, runningPerTenant: 1, perTenant: 8, waiting: 64, retryAfter: 1, what: "tasks" };

/** Tasks that end when they are told to, and the order in which they began. */
function tasks(change: Partial<typeof limits> = {}) {
  const takeTurn = createTurns({ ...limits, ...change });
  const began: string[] = [];
  const ends = new Map<string, () => void>();
  const ask = (name: string, signal = new AbortController().signal): Promise<string> =>
    takeTurn(
      () =>
        new Promise<string>((resolve) => {
          began.push(name);
          ends.set(name, () => resolve(name));
        }),
      { tenant: name.slice(0, 1), signal },
    );
  const end = async (name: string): Promise<void> => {
    ends.get(name)?.();
    await nextTurn();
  };
  return { ask, began, end };
}

test("one tenant's slow tasks leave a place to the others, who have their turns in it", async () => {
  const { ask, began, end } = tasks();
  for (const name of ["a1", "a2", "a3", "a4", "b1", "b2", "c1"]) void ask(name);
  await nextTurn();
  expect(began).toEqual(["a1", "b1"]);
  await end("b1");
  expect(began.at(-1)).toBe("c1"); // its first, before the second of another
  await end("c1");
  expect(began.at(-1)).toBe("b2");
  void ask("c2");
  await end("a1");
  expect(began.at(-1)).toBe("a2"); // c had its turn after a
  await end("a2");
  expect(began.at(-1)).toBe("c2");
  await end("c2");
  await end("b2");
  await end("a3");
  expect(began).toEqual(["a1", "b1", "c1", "b2", "a2", "c2", "a3", "a4"]);
});

test("who has left has no turn, a task that fails leaves its place, and too many are refused", async () => {
  const { ask, began, end } = tasks({ running: 1, perTenant: 2, waiting: 2, retryAfter: 5 });
  void ask("a1");
  const leaving = new AbortController();
  const left = ask("b1", leaving.signal);
  void ask("a2");
  await expect(ask("a3")).rejects.toMatchObject({ code: "busy", retryAfter: 5 });
  await expect(ask("c1")).rejects.toMatchObject({ code: "busy" });
  leaving.abort();
  await expect(left).rejects.toMatchObject({ code: "cancelled" });
  await expect(ask("d1", AbortSignal.abort())).rejects.toMatchObject({ code: "cancelled" });
  await end("a1");
  expect(began).toEqual(["a1", "a2"]);
  const takeTurn = createTurns(limits);
  const client = { tenant: "a", signal: new AbortController().signal };
  await expect(takeTurn(() => Promise.reject(new Error("broken")), client)).rejects.toThrow("broken");
  expect(await takeTurn(async () => 1, client)).toBe(1);
});
