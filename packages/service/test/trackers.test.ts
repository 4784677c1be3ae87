// A job with an integration: its trainer gets the tracker with the address and the key that the worker has.
import { expect, test, vi } from "vitest";
import { openSlices } from "#store";
import { runWorker } from "#worker";
import type { TrainRequest } from "../src/worker/trainer.ts";
import { databases, openTables } from "./databases.ts";
import { fakeTrainer } from "./fake-trainer.ts";
import { queueJob } from "./queued-job.ts";

test.each(databases)("%s: a worker gives its trainer the trackers that it may use", async (_, open) => {
  await using opened = await openTables(open);
  const { database, objects, folder } = opened;
  vi.stubEnv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000");
  vi.stubEnv("MLFLOW_TRACKING_TOKEN", "secret");
  const tracked: Record<string, TrainRequest["track"]> = {};
  const asked = { project: "support", name: "acme" };
  const types = ["mlflow", "wandb", "trackio"];
  const jobs = new Map<string, string>();
  for (const type of types)
    jobs.set((await queueJob(opened, { integrations: [{ type, [type]: asked }] })).id, type);
  const trainer = fakeTrainer(async function* ({ out, track }) {
    const [id = ""] = [...jobs.keys()].filter((one) => out.includes(one));
    tracked[jobs.get(id) ?? ""] = track;
    yield { type: "failed", code: "bad_data", message: "x" };
  });
  const stopping = new AbortController();
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const working = runWorker({
    ...{ name: "w", objects, trainer, scratch: `${folder}/scratch`, slices: openSlices(database), log },
    ...{ modelName: "tiny", model: "path", signal: stopping.signal, trackers: ["mlflow"] },
    ...{ sliceSeconds: 60, leaseSeconds: 60, stopSeconds: 60, stallSeconds: 60, threads: 1 },
  });
  try {
    await vi.waitFor(() => expect(Object.keys(tracked).sort()).toEqual([...types].sort()), {
      timeout: 20_000,
    });
  } finally {
    stopping.abort();
    await working;
    vi.unstubAllEnvs();
  }
  const [id] = [...jobs].find(([, type]) => type === "mlflow") ?? [];
  expect(tracked["mlflow"]).toEqual({
    id, // by which another attempt finds the run
    ...{ to: "mlflow", url: "http://127.0.0.1:5000", key: "secret", project: "support", name: "acme" },
  });
  // which the worker may not use
  expect(tracked).toMatchObject({ wandb: undefined, trackio: undefined });
});
