import { mkdtemp, open, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { openRunFolder } from "./run/folder.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-tensorboard-"));
});
afterEach(() => rm(folder, { recursive: true }));

const openRun = () =>
  openRunFolder(
    { claimed: undefined, folder, isResumed: false, state: { step: 0, evaluated: undefined } },
    { tensorboard: true },
  );

const metric = {
  ...({ type: "step", epoch: 0, accuracy: 0, learningRate: 1e-3, gradientNorm: 1 } as const),
  ...{ step: 1, loss: 2, tokens: 9, targetTokens: 9, examples: 1, seconds: 0 },
};

/** Makes writes of binary records fail, as those of event files are, after some that succeed. */
async function failRecords(after: number): Promise<Disposable> {
  const handle = await open(join(folder, "any"), "w");
  const prototype = Object.getPrototypeOf(handle) as typeof handle;
  await handle.close();
  const real = prototype.appendFile;
  let records = 0;
  const spy = vi.spyOn(prototype, "appendFile").mockImplementation(function (this: typeof handle, ...args) {
    if (typeof args[0] === "string" || records++ < after) return real.apply(this, args);
    return Promise.reject(Object.assign(new Error("no space left"), { code: "ENOSPC" }));
  });
  return { [Symbol.dispose]: () => spy.mockRestore() };
}

test("a run whose event file cannot be written says so, and which file it is", async () => {
  await using files = openRun();
  using _ = await failRecords(2);
  await files.begin();
  await files.write(metric);
  await expect(files.write({ ...metric, step: 2 })).rejects.toMatchObject({
    code: "storage",
    message: expect.stringMatching(/events\.out\.tfevents\.\d+\.mos: /),
  });
});

test("an event file that cannot be begun leaves nothing behind", async () => {
  await using files = openRun();
  using _ = await failRecords(0);
  await expect(files.begin()).rejects.toMatchObject({ code: "storage" });
  expect(await readdir(folder)).not.toContain("tensorboard");
});
