// One worker of a process, with the parts that the process has opened.
import { rm } from "node:fs/promises";
import { hostname } from "node:os";
import type { ServiceOptions } from "mixture-of-shards/cli";
import { makeTemporaryFolder } from "mixture-of-shards/storage";
import { defaultSliceOptions, openSlices, openWatch, type Slices } from "#jobs";
import { startHeart } from "#signals";
import { runWorker } from "#worker";
import type { ServiceParts } from "./parts.ts";

/** The slices of a service whose leases last as its options say. */
export const slicesOf = (
  { database, queue }: ServiceParts,
  { leaseSeconds }: Pick<ServiceOptions, "leaseSeconds">,
): Slices => openSlices(database, queue, { ...defaultSliceOptions, leaseSeconds });

/** Shown where it is asked who has a job. */
export const workerName = (index: number): string => `${hostname()}-${process.pid}-${index}`;

interface WorkOptions
  extends Pick<ServiceOptions, "model" | "sliceSeconds" | "leaseSeconds" | "threads" | "log"> {
  readonly name: string;
  readonly modelName: string;
  readonly parts: ServiceParts;
  readonly signal: AbortSignal;
}

/** One worker, until the signal is aborted. */
export async function work({ parts, model, modelName, ...options }: WorkOptions): Promise<void> {
  const scratch = await makeTemporaryFolder("mos-jobs-");
  const { database, queue, objects, metrics } = parts;
  const heart = startHeart(openWatch(database), { name: options.name, models: [modelName] });
  try {
    await runWorker({
      ...{ ...options, queue, objects, scratch, models: new Map([[modelName, model]]) },
      onSlice: metrics.sliceEnded,
      slices: slicesOf(parts, options),
    });
  } finally {
    await heart[Symbol.asyncDispose]();
    await rm(scratch, { recursive: true, force: true });
  }
}
