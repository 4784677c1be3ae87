// Several answers of one request, side by side: their events as they come.
import { setMaxListeners } from "node:events";

/** An event and the number of the answer that it belongs to. */
export interface Numbered<Event> {
  readonly choice: number;
  readonly event: Event;
}

export interface MergeOptions {
  /** Sources that run at a time; the others follow as these end. */
  readonly atOnce: number;
  readonly signal: AbortSignal;
  /** Resolves when each source that was opened and fails at once has failed: that is told before any event. */
  readonly settled?: () => Promise<unknown>;
}

/**
 * The events of all sources. When one fails, or the caller breaks out, the signal that the sources were opened with
 * fires, so that none goes on alone.
 */
export async function* mergeEvents<Event>(
  sources: readonly ((signal: AbortSignal) => AsyncIterable<Event>)[],
  { atOnce, signal, settled }: MergeOptions,
): AsyncGenerator<Numbered<Event>, void> {
  const own = new AbortController();
  setMaxListeners(0, own.signal); // one of each source, which is no leak
  const stop = (): void => own.abort();
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop);
  const failures: unknown[] = [];
  const active = new Map<number, Promise<Pulled<Event>>>();
  let opened = 0;
  const openNext = (): void => {
    const choice = opened++;
    const source = sources[choice];
    if (source !== undefined) pull(choice, source(own.signal)[Symbol.asyncIterator]());
  };
  const pull = (choice: number, iterator: AsyncIterator<Event>): void => {
    const next = iterator.next().then((result) => ({ choice, iterator, result }));
    // it is told where it is awaited, or the caller has left
    next.catch((error: unknown) => failures.push(error));
    active.set(choice, next);
  };
  try {
    while (opened < Math.min(atOnce, sources.length)) openNext();
    // what it cannot say, the sources can
    if (active.size > 1) await settled?.().catch(() => undefined);
    if (failures.length > 0) throw failures[0];
    while (active.size > 0) {
      const { choice, iterator, result } = await Promise.race(active.values());
      active.delete(choice);
      if (result.done === true) openNext();
      else {
        pull(choice, iterator);
        yield { choice, event: result.value };
      }
    }
  } finally {
    signal.removeEventListener("abort", stop);
    own.abort();
    await Promise.allSettled([...active.values()].map(async (next) => (await next).iterator.return?.()));
  }
}

interface Pulled<Event> {
  readonly choice: number;
  readonly iterator: AsyncIterator<Event>;
  readonly result: IteratorResult<Event>;
}

/**
 * Waits until so many answers have an event, so that what refuses them is known before a stream begins. Gives the same
 * events from the first one on.
 */
export async function prime<Event>(
  events: AsyncGenerator<Numbered<Event>, void>,
  count: number,
): Promise<AsyncGenerator<Numbered<Event>, void>> {
  const seen: Numbered<Event>[] = [];
  const choices = new Set<number>();
  while (choices.size < count) {
    const { done, value } = await events.next();
    if (done === true) break;
    seen.push(value);
    choices.add(value.choice);
  }
  return replay(seen, events);
}

async function* replay<Event>(
  seen: readonly Numbered<Event>[],
  events: AsyncGenerator<Numbered<Event>, void>,
): AsyncGenerator<Numbered<Event>, void> {
  try {
    yield* seen;
    yield* events;
  } finally {
    await events.return();
  }
}
