import { MosError } from "mixture-of-shards-graph/common";
import { unref } from "#platform";

const waitForAbort = (signal: AbortSignal | undefined): MosError =>
  new MosError("cancelled", "cancelled while waiting to start", { cause: signal?.reason });

/**
 * Runs at most `max` tasks at a time; the others wait in a queue, first in, first out.
 *
 * @returns a function that runs a task when there is room for it, unless its signal is aborted before.
 * @throws MosError from that function: what `cancelled` makes of an aborted signal, and whatever the task throws.
 */
export function limitConcurrency(
  max: number,
  cancelled: (signal: AbortSignal | undefined) => MosError = waitForAbort,
): <T>(task: () => Promise<T>, signal?: AbortSignal) => Promise<T> {
  let free = max;
  const queue = new Set<() => void>();
  const start = (signal: AbortSignal | undefined): Promise<void> =>
    new Promise((resolve, reject) => {
      const dequeue = (): void => {
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      const leave = (): void => {
        queue.delete(dequeue);
        reject(cancelled(signal));
      };
      queue.add(dequeue);
      signal?.addEventListener("abort", leave, { once: true });
    });
  return async (task, signal) => {
    if (signal?.aborted === true) throw cancelled(signal);
    if (free > 0) free--;
    else await start(signal);
    try {
      return await task();
    } finally {
      // a finished task hands its place to the next one directly, so that a new one cannot overtake the queue
      const [next] = queue;
      if (next === undefined) free++;
      else {
        queue.delete(next);
        next();
      }
    }
  };
}

/** Calls a function once a signal is aborted, now if it is already, unless what this returns is disposed of before. */
export function onAbort(signal: AbortSignal | undefined, call: () => void): Disposable {
  if (signal?.aborted === true) call();
  else signal?.addEventListener("abort", call, { once: true });
  return { [Symbol.dispose]: () => signal?.removeEventListener("abort", call) };
}

/**
 * A signal that is aborted with another one, or after some milliseconds (`isLate`), unless it is disposed of before. On Node 20
 * AbortSignal.any loses signals of AbortSignal.timeout, once these are collected.
 */
export function abortAfter(
  milliseconds: number,
  signal?: AbortSignal,
): Disposable & { readonly signal: AbortSignal; readonly isLate: boolean } {
  const stop = new AbortController();
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    stop.abort(new DOMException(`not done in ${milliseconds} ms`, "TimeoutError"));
  }, milliseconds);
  const following = onAbort(signal, () => stop.abort(signal?.reason));
  return {
    signal: stop.signal,
    get isLate() {
      return isLate;
    },
    [Symbol.dispose]() {
      clearTimeout(timer);
      following[Symbol.dispose]();
    },
  };
}

/** Closes what has not been used for so many seconds; the next use has to open it again. Returns a function that runs one use. */
export function closeWhenIdle(seconds: number, close: () => void): <T>(use: () => Promise<T>) => Promise<T> {
  let users = 0;
  let timer: NodeJS.Timeout | undefined;
  return async (use) => {
    clearTimeout(timer);
    users++;
    try {
      return await use();
    } finally {
      if (--users === 0) timer = unref(setTimeout(close, seconds * 1000));
    }
  };
}

/** Runs a generator to its end, shows its events, such as those of a download, and gives what it returns. */
export async function withProgress<Event, Result>(
  events: AsyncIterable<Event, Result>,
  show: (event: Event) => unknown = () => undefined,
): Promise<Result> {
  const iterator = events[Symbol.asyncIterator]();
  let step = await iterator.next();
  for (; step.done !== true; step = await iterator.next()) await show(step.value);
  return step.value;
}
