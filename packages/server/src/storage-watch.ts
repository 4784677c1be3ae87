// Health of the disks that a process needs, reported by /ready to load balancers and by the log to the operator.
import { setTimeout as sleep } from "node:timers/promises";
import { MosError } from "mixture-of-shards-core/common";
import { storageProblem } from "mixture-of-shards-core/files";
import type { ServerLog } from "./metrics.ts";

/** Milliseconds after which a disk that does not answer, such as one of a machine that is gone, counts as away. */
const RESPONSE_TIMEOUT = 5000;

/**
 * A function that looks, by a check that throws where a disk cannot be used, and gives what anybody may know of the problem;
 * undefined where there is none. One look at a time, however many ask. The log has each problem once, with its place, and its end.
 *
 * @example
 * const problem = watchStorage({ check: () => assertWritable("/mnt/mos"), log });
 * await problem(); // "the server's storage is read-only"
 */
export function watchStorage({
  check,
  log,
}: {
  readonly check: () => Promise<void>;
  readonly log: ServerLog;
}) {
  let logged: string | undefined;
  let looking: Promise<void> | undefined;
  const probe = async (): Promise<void> => {
    looking ??= check().finally(() => {
      looking = undefined;
    });
    await Promise.race([looking, timeoutError()]);
  };
  return async (): Promise<string | undefined> => {
    try {
      await probe();
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

async function timeoutError(): Promise<never> {
  await sleep(RESPONSE_TIMEOUT, undefined, { ref: false });
  throw new MosError("storage", `the storage has not responded for ${RESPONSE_TIMEOUT / 1000} s`);
}
