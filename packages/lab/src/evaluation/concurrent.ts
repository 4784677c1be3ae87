import { setMaxListeners } from "node:events";

export interface ConcurrencyOptions {
  /** Items at a time. */
  readonly concurrency: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Works on several items at a time and gives results as they come. Where one fails, or the consumer leaves, no further
 * item is begun; those that run are stopped by the signal that they were given, and awaited before it ends.
 *
 * @example
 * for await (const sample of concurrently(questions, { concurrency: 16 }, predict)) await log.write(sample);
 */
export async function* concurrently<T, R>(
  items: readonly T[],
  { concurrency, signal }: ConcurrencyOptions,
  work: (item: T, signal: AbortSignal) => Promise<R>,
): AsyncGenerator<R, void> {
  type Settled = { readonly id: number } & ({ readonly value: R } | { readonly error: unknown });
  const running = new Map<number, Promise<Settled>>();
  const stopping = new AbortController();
  // every item listens to it
  setMaxListeners(0, stopping.signal);
  const stop = (): void => stopping.abort(signal?.reason);
  let next = 0;
  const begin = (id: number): void => {
    running.set(
      id,
      work(items[id] as T, stopping.signal).then(
        (value) => ({ id, value }),
        (error: unknown) => ({ id, error }),
      ),
    );
  };
  signal?.addEventListener("abort", stop, { once: true });
  if (signal?.aborted === true) stop();
  try {
    while (next < items.length || running.size > 0) {
      while (next < items.length && running.size < concurrency) begin(next++);
      const settled = await Promise.race(running.values());
      running.delete(settled.id);
      if ("error" in settled) throw settled.error;
      yield settled.value;
    }
  } finally {
    signal?.removeEventListener("abort", stop);
    stop();
    await Promise.all(running.values());
  }
}
