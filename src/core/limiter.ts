import { MosError } from "./error.ts";

const stopped = (signal: AbortSignal | undefined): MosError =>
  new MosError("cancelled", "stopped before its turn", { cause: signal?.reason });

/**
 * Runs at most `most` pieces of work at once; the others wait their turn, first come first served.
 *
 * @throws MosError what `cancelled` makes where the signal comes before the turn, and whatever the work throws.
 * @example
 * const turn = limiter(2);
 * await Promise.all(files.map((file) => turn(() => read(file))));
 */
export function limiter(
  most: number,
  cancelled: (signal: AbortSignal | undefined) => MosError = stopped,
): <T>(work: () => Promise<T>, signal?: AbortSignal) => Promise<T> {
  let free = most;
  const waiting = new Set<() => void>();
  const turn = (signal: AbortSignal | undefined): Promise<void> =>
    new Promise((resolve, reject) => {
      const take = (): void => {
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      const leave = (): void => {
        waiting.delete(take);
        reject(cancelled(signal));
      };
      waiting.add(take);
      signal?.addEventListener("abort", leave, { once: true });
    });
  return async (work, signal) => {
    if (signal?.aborted === true) throw cancelled(signal);
    if (free > 0) free--;
    else await turn(signal);
    try {
      return await work();
    } finally {
      // who ends hands its place on, so that nobody can slip in between
      const [next] = waiting;
      if (next === undefined) free++;
      else {
        waiting.delete(next);
        next();
      }
    }
  };
}
