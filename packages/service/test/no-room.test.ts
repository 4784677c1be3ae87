// A job that has no room where it is trained, or nothing to learn from, fails with what its trainer says, and the worker goes on
// with the next one.
import { join } from "node:path";
import { makeFolder } from "mixture-of-shards-core/files";
import { expect, test, vi } from "vitest";
import { openSlices } from "#store";
import { runWorker } from "#worker";
import { databases, openTables } from "./databases.ts";
import { fakeTrainer, readyReport } from "./fake-trainer.ts";
import { queueJob } from "./queued-job.ts";

const admin = { tenant: "", isAdmin: true };

/** Has no room for its first run, nothing to learn in its second, and never ends the others. */
function smallTrainer() {
  let runs = 0;
  return fakeTrainer(async function* ({ out }) {
    if (++runs === 1) {
      yield { type: "failed", code: "memory", message: `${out}: 91 GB are needed, and 14 GB are free` };
      return;
    }
    if (runs === 2) {
      yield { type: "failed", code: "no_signal", message: "no signal: all rewards of every group are equal" };
      return;
    }
    await makeFolder(out);
    yield readyReport(1e6);
    yield { type: "ended", isComplete: false };
  });
}

test.each(databases)(
  "%s: a job that has no room fails with numbers, one without a signal by its code, and the next one goes on",
  async (_, open) => {
    await using opened = await openTables(open);
    const { stores, objects, database, folder } = opened;
    const create = async (): Promise<string> => (await queueJob(opened)).id;
    const [large, even, next] = [await create(), await create(), await create()];
    const stopping = new AbortController();
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
    const working = runWorker({
      name: "w",
      slices: openSlices(database),
      objects,
      log,
      trainer: smallTrainer(),
      ...{ modelName: "tiny", model: "path" },
      scratch: join(folder, "scratch"),
      signal: stopping.signal,
      sliceSeconds: 1,
      leaseSeconds: 60,
      stopSeconds: 60,
      stallSeconds: 60,
      threads: 1,
    });
    try {
      await vi.waitFor(
        async () => {
          expect(await stores.jobs.find(admin, large)).toMatchObject({ status: "failed" });
          expect(await stores.jobs.find(admin, next)).toMatchObject({ status: "running" });
        },
        { timeout: 50_000, interval: 50 },
      );
      const { error } = await stores.jobs.find(admin, large);
      expect(error).toMatchObject({ code: "insufficient_memory" });
      expect(error?.message).toMatch(/91 GB.*14 GB/);
      expect(error?.message).not.toContain("/");
      const silent = await stores.jobs.find(admin, even);
      expect(silent).toMatchObject({ status: "failed", error: { code: "no_signal" } });
    } finally {
      stopping.abort();
      await working;
    }
  },
);
