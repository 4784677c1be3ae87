// Two tenants whose jobs never end have all workers; a third one's job begins when the first slice ends.
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { makeFolder } from "mixture-of-shards-core/files";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { type JobRow, openSlices } from "#store";
import { runWorker } from "#worker";
import { databases, openTables, type TestTables } from "./databases.ts";
import { fakeTrainer, readyReport } from "./fake-trainer.ts";
import { queueJob } from "./queued-job.ts";

/** Trains some milliseconds, keeps the base, and never comes to an end. */
const endlessTrainer = () =>
  fakeTrainer(async function* ({ out }) {
    await makeFolder(out);
    yield readyReport(1e6);
    await sleep(30);
    yield { type: "ended", isComplete: false };
  });

describe.each(databases)("%s", (_, open) => {
  let opened: TestTables;
  beforeAll(async () => {
    opened = await openTables(open);
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  const create = (tenant: string): Promise<JobRow> => queueJob(opened, { tenant, model: "one" });

  /** The tenants of slices in the order in which they ended, once `last` tenants have had one. */
  async function slicesUntil(last: readonly string[], late: () => Promise<unknown>): Promise<string[]> {
    const stopping = new AbortController();
    const tenants: string[] = [];
    const info = (fields: object): void => void tenants.push((fields as { tenant: string }).tenant);
    const log = { info, warn: () => undefined, error: () => undefined };
    const workers = [1, 2].map((number) =>
      runWorker({
        name: `w${number}`,
        slices: openSlices(opened.database),
        objects: opened.objects,
        log,
        ...{ modelName: "one", model: "path" },
        scratch: join(opened.folder, `${number}`),
        signal: stopping.signal,
        sliceSeconds: 1,
        leaseSeconds: 60,
        stopSeconds: 60,
        stallSeconds: 60,
        threads: 1,
        trainer: endlessTrainer(),
      }),
    );
    try {
      await vi.waitFor(() => expect(tenants.length).toBeGreaterThan(3), { timeout: 50_000 });
      await late();
      tenants.length = 0;
      await vi.waitFor(() => expect(new Set(tenants)).toEqual(new Set(last)), {
        timeout: 50_000,
        interval: 10,
      });
    } finally {
      stopping.abort();
      await Promise.all(workers);
    }
    return tenants;
  }

  test("though each of the two has many jobs", async () => {
    for (let i = 0; i < 5; i++) for (const tenant of ["acme", "zeta"]) await create(tenant);
    const order = await slicesUntil(["acme", "zeta", "late"], () => create("late"));
    // what ran when the job was made, and as many again that ended beside it
    expect(order.indexOf("late")).toBeLessThan(5);
  });
});
