import { expect, test } from "vitest";
import { oneAtATime } from "./manager.ts";

/** Work that ends when it is told to. */
function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("who asks while work runs gets a run that starts after asking, shared by all who ask", async () => {
  const runs: ReturnType<typeof deferred>[] = [];
  const ask = oneAtATime(() => {
    const run = deferred();
    runs.push(run);
    return run.promise;
  });
  const ended: string[] = [];
  const first = ask().then(() => ended.push("first"));
  const [second, third] = [ask().then(() => ended.push("second")), ask().then(() => ended.push("third"))];
  await settled();
  expect(runs).toHaveLength(1);
  runs[0]!.resolve();
  await first;
  await settled();
  expect(ended).toEqual(["first"]);
  expect(runs).toHaveLength(2);
  runs[1]!.resolve();
  await Promise.all([second, third]);
  void ask();
  expect(runs).toHaveLength(3);
});

test("a run that fails does not keep the next from starting", async () => {
  let runs = 0;
  const ask = oneAtATime(async () => {
    await settled();
    if (runs++ === 0) throw new Error("first");
  });
  const [first, second] = [ask(), ask()];
  await expect(first).rejects.toThrow("first");
  await second;
  expect(runs).toBe(2);
});
