// Whether the disks that a process needs can be used, as /ready says it to load balancers and the log to the operator.
import { setTimeout as sleep } from "node:timers/promises";
import { MosError } from "#core";
import { storageProblem } from "#files";
import type { ServerLog } from "./metrics.ts";

/** Milliseconds after which a disk that does not answer, such as one of a machine that is gone, counts as away. */
const PATIENCE = 5000;

/** Looks, and gives what anybody may know of the problem; undefined where there is none. */
export type StorageWatch = () => Promise<string | undefined>;

interface WatchOptions {
  /** Throws where a disk cannot be used. */
  readonly check: () => Promise<void>;
  readonly log: ServerLog;
}

/**
 * One look at a time, however many ask. The log has each problem once, with its place, and its end.
 *
 * @example
 * const problem = watchStorage({ check: () => expectWritable("/mnt/mos"), log });
 * await problem(); // "the server's storage is read-only now"
 */
export function watchStorage({ check, log }: WatchOptions): StorageWatch {
  let logged: string | undefined;
  let looking: Promise<void> | undefined;
  const look = async (): Promise<void> => {
    looking ??= check().finally(() => {
      looking = undefined;
    });
    await Promise.race([looking, tooLate()]);
  };
  return async () => {
    try {
      await look();
      if (logged !== undefined) log.info({}, "the storage is available again");
      logged = undefined;
      return undefined;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      if (reason !== logged) log.error({ reason }, "the server is not ready");
      logged = reason;
      return storageProblem(error);
    }
  };
}

async function tooLate(): Promise<never> {
  await sleep(PATIENCE, undefined, { ref: false });
  throw new MosError("storage", `the storage has not responded for ${PATIENCE / 1000} s`);
}
