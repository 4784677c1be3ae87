import { setMaxListeners } from "node:events";
import { MosError } from "mixture-of-shards";
import { AsyncQueue, limitConcurrency } from "mixture-of-shards-core/common";

export interface ConcurrencyOptions {
  /** Items at a time. */
  readonly concurrency: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Works on several items at a time and gives results as they come. Where one fails, or the consumer leaves, no further
 * item is begun; those that run are stopped by the signal that they were given, and awaited before it ends.
 *
 * @throws MosError `cancelled` by the signal, and what the work throws.
 * @example
 * for await (const sample of concurrently(questions, { concurrency: 16 }, predict)) await log.write(sample);
 */
export async function* concurrently<T, R>(
  items: readonly T[],
  { concurrency, signal }: ConcurrencyOptions,
  work: (item: T, signal: AbortSignal) => Promise<R>,
): AsyncGenerator<R, void> {
  const leaving = new AbortController();
  const stopping = AbortSignal.any([leaving.signal, ...(signal === undefined ? [] : [signal])]);
  // every item listens to it
  setMaxListeners(0, stopping);
  const limited = limitConcurrency(
    concurrency,
    () => new MosError("cancelled", "the evaluation was interrupted"),
  );
  const results = new AsyncQueue<R>();
  const fail = (error: unknown): void => {
    results.close(error);
    leaving.abort();
  };
  const settled = items.map((item) =>
    limited(() => work(item, stopping).then((result) => results.push(result), fail), stopping).catch(fail),
  );
  const all = Promise.all(settled).then(() => results.close());
  try {
    yield* results;
  } finally {
    leaving.abort();
    await all;
  }
}
