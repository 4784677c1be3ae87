// Values that are read again and again while somebody looks at them.
import { type ReadonlySignal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { backOff, connection } from "./connection.ts";
import { isAbort } from "./problem.ts";

/** A value that is read again and again. */
export interface Poll<T> {
  /** What was read last; undefined before the first answer. It stays while reading fails. */
  readonly data: ReadonlySignal<T | undefined>;
  /** Why the last attempt failed; undefined after one that did not. */
  readonly error: ReadonlySignal<unknown>;
  /** Reads now, as after a change that this page made. */
  refresh(): Promise<void>;
  stop(): void;
}

/** How a value is read. */
export interface PollOptions {
  /** Milliseconds from an answer to the next request; 0 reads once. */
  readonly every: number;
  readonly signal?: AbortSignal;
}

const isHidden = (): boolean => globalThis.document?.visibilityState === "hidden";

/**
 * Reads a value, and again some time after each answer, so that requests never overlap. It rests while the page is hidden or the
 * server away, and begins at once when that ends; other failures make it slower.
 */
export function poll<T>(
  read: (signal: AbortSignal) => Promise<T>,
  { every, signal: outer }: PollOptions,
): Poll<T> {
  const data = signal<T | undefined>(undefined);
  const error = signal<unknown>(undefined);
  const ended = new AbortController();
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let running: Promise<void> | undefined;

  const attempt = async (): Promise<void> => {
    try {
      const value = await read(ended.signal);
      if (ended.signal.aborted) return;
      data.value = value;
      error.value = undefined;
      failures = 0;
    } catch (cause) {
      if (ended.signal.aborted || isAbort(cause)) return;
      error.value = cause;
      failures++;
    }
  };
  const schedule = (): void => {
    clearTimeout(timer);
    if (ended.signal.aborted || isHidden() || connection.value === "away") return;
    if (failures > 0) timer = setTimeout(run, Math.max(every, backOff(failures)));
    else if (every > 0) timer = setTimeout(run, every);
  };
  const run = (): Promise<void> => {
    clearTimeout(timer);
    running ??= attempt().finally(() => {
      running = undefined;
      schedule();
    });
    return running;
  };
  const resume = (): void => {
    clearTimeout(timer);
    const wantsMore = every > 0 || failures > 0 || data.peek() === undefined;
    if (!ended.signal.aborted && !isHidden() && connection.value === "up" && wantsMore) void run();
  };
  const stop = (): void => {
    ended.abort();
    clearTimeout(timer);
    unsubscribe();
    globalThis.document?.removeEventListener("visibilitychange", resume);
  };
  const unsubscribe = connection.subscribe(resume); // calls it once now
  globalThis.document?.addEventListener("visibilitychange", resume);
  outer?.addEventListener("abort", stop, { once: true });
  return {
    data,
    error,
    stop,
    // what is being read now may be from before the change
    refresh: async () => {
      await running;
      await run();
    },
  };
}

/** Polls as long as a component is shown; anew when one of `inputs` changes. */
export function usePoll<T>(
  read: (signal: AbortSignal) => Promise<T>,
  options: Pick<PollOptions, "every">,
  inputs: readonly unknown[] = [],
): Poll<T> {
  const found = useMemo(() => poll(read, options), [options.every, ...inputs]);
  useEffect(() => found.stop, [found]);
  return found;
}
