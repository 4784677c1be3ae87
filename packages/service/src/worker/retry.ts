import { setTimeout as sleep } from "node:timers/promises";
import { MosError } from "mixture-of-shards";

/** Seconds between attempts, and of all attempts. */
const [AGAIN, MAX_PAUSE] = [1, 600];

/** Options of a retry. */
export interface RetryOptions {
  /** Tests whether to stop waiting. */
  readonly isOver: () => boolean;
  readonly onWait: (error: unknown) => void;
}

/** A database that cannot be reached, or a storage folder that is full or gone, may be back in a while. */
const isTransient = (error: unknown): boolean =>
  error instanceof MosError && ["network", "storage"].includes(error.code);

/** Tries again what failed for a reason that may pass; for ten minutes. */
export async function retryTransient<T>(
  work: () => Promise<T>,
  { isOver, onWait }: RetryOptions,
): Promise<T> {
  const until = performance.now() + MAX_PAUSE * 1000;
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isTransient(error) || isOver() || performance.now() > until) throw error;
      if (attempt === 0) onWait(error);
      await sleep(AGAIN * 1000);
    }
  }
}
