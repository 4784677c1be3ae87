import { expect, test } from "vitest";
import { coalesce } from "./manager.ts";

/** A promise that the test resolves. */
function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("a call during a run gets a run that starts later, and all such calls share it", async () => {
  const runs: ReturnType<typeof deferred>[] = [];
  const call = coalesce(() => {
    const run = deferred();
    runs.push(run);
    return run.promise;
  });
  const ended: string[] = [];
  const first = call().then(() => ended.push("first"));
  const [second, third] = [call().then(() => ended.push("second")), call().then(() => ended.push("third"))];
  await settled();
  expect(runs).toHaveLength(1);
  runs[0]!.resolve();
  await first;
  await settled();
  expect(ended).toEqual(["first"]);
  expect(runs).toHaveLength(2);
  runs[1]!.resolve();
  await Promise.all([second, third]);
  void call();
  expect(runs).toHaveLength(3);
});

test("the next run starts after a failed one", async () => {
  let runs = 0;
  const call = coalesce(async () => {
    await settled();
    if (runs++ === 0) throw new Error("first");
  });
  const [first, second] = [call(), call()];
  await expect(first).rejects.toThrow("first");
  await second;
  expect(runs).toBe(2);
});
