import { setTimeout as sleep } from "node:timers/promises";
import { MosError } from "mixture-of-shards";

/** Seconds between attempts, and of all attempts. */
const [AGAIN, LONGEST] = [1, 600];

/** How long is waited. */
export interface Patience {
  /** Whether waiting has no sense any more. */
  readonly isOver: () => boolean;
  readonly onWait: (error: unknown) => void;
}

/** A database that cannot be reached, or a storage folder that is full or gone, may be back in a while. */
const isPassing = (error: unknown): boolean =>
  error instanceof MosError && ["network", "storage"].includes(error.code);

/** Tries again what failed for a reason that may pass; for ten minutes. */
export async function patiently<T>(work: () => Promise<T>, { isOver, onWait }: Patience): Promise<T> {
  const until = performance.now() + LONGEST * 1000;
  for (let attempt = 0; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (!isPassing(error) || isOver() || performance.now() > until) throw error;
      if (attempt === 0) onWait(error);
      await sleep(AGAIN * 1000);
    }
  }
}
