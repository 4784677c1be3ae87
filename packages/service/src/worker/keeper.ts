// The run of a slice in the storage while it trains: where its worker is killed, another one goes on from there.
import { pathExists } from "mixture-of-shards-core/files";
import { readMeasurements } from "mixture-of-shards-core/training";
import type { Files, ObjectStore } from "#objects";
import type { Arrival, JobRow, Progress } from "#store";
import type { LeasedContext } from "./watch.ts";

/** Seconds after which a trainer makes a checkpoint. */
export const SAVE_SECONDS = 30;
/** Seconds between those that are stored at least: with the ones above, there is one each minute. */
const KEEP_SECONDS = 25;

/** What a slice that trains has come to, and its run in the storage, from which another worker goes on. */
export function runKeeper(
  job: JobRow,
  out: string,
  {
    slices,
    objects,
    wait,
    started,
    keepSeconds = KEEP_SECONDS,
  }: LeasedContext & { readonly started: number },
) {
  let since = started;
  const read = followProgress(out);
  const seconds = (): number => (performance.now() - since) / 1000;
  const progress = async (
    steps: number = job.steps ?? 0,
    unfinishedTokens = 0,
  ): Promise<Omit<Progress, "seconds">> => {
    const { step, tokens } = await read();
    // a slice that was stopped before it trained says nothing of the step that an earlier one began
    return { step, steps, trainedTokens: Math.max(tokens + unfinishedTokens, job.trained_tokens ?? 0) };
  };
  const keep = async (steps: number | undefined): Promise<void> => {
    if (seconds() < keepSeconds) return;
    // of its own: what the next one replaces is not kept until the slice ends
    const arrival = slices.arrive(job);
    try {
      const run = await runFiles(out, objects, arrival);
      const now = performance.now();
      await slices.keep(job, { run, ...(await progress(steps)), seconds: seconds() }, arrival.id);
      since = now;
    } finally {
      await arrival.end();
    }
  };
  return {
    seconds,
    progress,
    // the slice goes on without it, and at its end the storage is waited for
    keep: (steps: number | undefined) => keep(steps).catch(wait.onWait),
  };
}

/** Everything of a run but what only its process needs. */
export async function runFiles(out: string, objects: ObjectStore, arrival: Arrival): Promise<Files> {
  if (!(await pathExists(out))) return {};
  return objects.putFolder(
    out,
    (path) => path === "running.json" || path.split("/").some((part) => part.startsWith(".")),
    arrival,
  );
}

/** Follows the progress of a run by its metrics, each of which is read once. */
function followProgress(run: string) {
  let [step, tokens, position] = [0, 0, 0];
  return async (): Promise<{ readonly step: number; readonly tokens: number }> => {
    for await (const { measurement, end } of readMeasurements(run, position)) {
      position = end;
      if (measurement.type === "evaluation") continue;
      ({ step } = measurement);
      tokens += measurement.tokens;
    }
    return { step, tokens };
  };
}
