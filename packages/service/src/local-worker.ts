// One worker of a process, with the parts that the process has opened.
import { readdir, rm } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { makeTemporaryFolder } from "mixture-of-shards/cli";
import { startHeartbeat } from "#operations";
import { defaultSliceOptions, openSlices, openWatch, type Slices } from "#store";
import { runWorker } from "#worker";
import type { ServiceOptions } from "./options.ts";
import type { ServiceParts } from "./parts.ts";

/** The slices of a service whose leases last as its options say. */
export const openServiceSlices = (
  { database, queue }: ServiceParts,
  { leaseSeconds }: Pick<ServiceOptions, "leaseSeconds">,
): Slices => openSlices(database, queue, { ...defaultSliceOptions, leaseSeconds });

/** Prefix by machine or container: others may share the same folder for temporary files. */
const SCRATCH = `mos-jobs-${hostname()}-`;
/** Once in a process, before it has such folders of its own. */
let leftovers: Promise<void> | undefined;

/** Removes runs that killed workers of this machine have left, with their tenants' data. */
async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = name.startsWith(SCRATCH) ? Number.parseInt(name.slice(SCRATCH.length), 10) : Number.NaN;
    if (Number.isNaN(pid) || isAlive(pid)) continue;
    await rm(join(tmpdir(), name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Whether another process of this number runs. */
function isAlive(pid: number): boolean {
  if (pid === process.pid) return false;
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

/** Shown where it is asked who has a job. */
export const workerName = (index: number): string => `${hostname()}-${process.pid}-${index}`;

interface WorkOptions
  extends Pick<
    ServiceOptions,
    "model" | "sliceSeconds" | "leaseSeconds" | "stopSeconds" | "stallSeconds" | "threads" | "log"
  > {
  readonly name: string;
  readonly modelName: string;
  readonly parts: ServiceParts;
  readonly signal: AbortSignal;
}

/** One worker, until the signal is aborted. */
export async function work({ parts, model, modelName, ...options }: WorkOptions): Promise<void> {
  leftovers ??= removeLeftovers();
  await leftovers;
  const scratch = await makeTemporaryFolder(`${SCRATCH}${process.pid}-`);
  const { database, queue, objects, metrics } = parts;
  const heartbeat = startHeartbeat(openWatch(database), { name: options.name, models: [modelName] });
  try {
    await runWorker({
      ...options,
      queue,
      objects,
      scratch,
      models: new Map([[modelName, model]]),
      onSlice: metrics.sliceEnded,
      onStall: metrics.trainerStalled,
      slices: openServiceSlices(parts, options),
    });
  } finally {
    await heartbeat[Symbol.asyncDispose]();
    await rm(scratch, { recursive: true, force: true });
  }
}
