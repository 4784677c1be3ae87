// Sources of events that run side by side, merged in the order in which their events arrive.
import { setMaxListeners } from "node:events";
import { AsyncQueue } from "#core";

/** The number of a source, and an event of it. */
export type SourceEvent<Event> = readonly [source: number, event: Event];

/** Sources of events that run side by side. */
export interface MergedEvents<Event> {
  /** Resolves when the first event is there. @throws what a source has failed with until then. */
  ready(): Promise<void>;
  /** All events as they come. If one source fails, or the caller leaves the loop, the others are cancelled. */
  events(): AsyncGenerator<SourceEvent<Event>, void>;
}

export interface MergeOptions<Event> {
  /** Sources that run at a time. The others follow as these end. */
  readonly atOnce: number;
  readonly signal: AbortSignal;
  /** Called with each event before the reader has it. */
  readonly onEvent?: (source: number, event: Event) => void;
}

/** Milliseconds that sources have to end in when they are cancelled. */
const CANCEL_MILLISECONDS = 1000;

interface Pulled<Event> {
  readonly source: number;
  readonly iterator: AsyncIterator<Event>;
  readonly result: IteratorResult<Event>;
}

/**
 * Opens the first sources, each with a signal that fires when the merged events end.
 *
 * @throws what a source throws when it is opened; those before it are cancelled.
 */
export function mergeEvents<Event>(
  sources: readonly ((signal: AbortSignal) => AsyncIterable<Event>)[],
  { atOnce, signal, onEvent = () => undefined }: MergeOptions<Event>,
): MergedEvents<Event> {
  const own = new AbortController();
  setMaxListeners(0, own.signal); // one for each source, which is not a leak
  const open = new Set<AsyncIterator<Event>>();
  const arrivals = new AsyncQueue<Pulled<Event>>();
  let opened = 0;
  let late: NodeJS.Timeout | undefined;
  const stop = (): void => {
    own.abort();
    // an engine that does not answer does not end its requests
    late = setTimeout(() => arrivals.close(signal.reason), CANCEL_MILLISECONDS);
  };
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop);
  const openNext = (): void => {
    const source = opened++;
    const iterator = sources[source]?.(own.signal)[Symbol.asyncIterator]();
    if (iterator === undefined) return;
    open.add(iterator);
    pull(source, iterator);
  };
  const pull = (source: number, iterator: AsyncIterator<Event>): void =>
    void iterator.next().then(
      (result) => arrivals.push({ source, iterator, result }),
      (error: unknown) => arrivals.close(error),
    );
  const close = async (): Promise<void> => {
    signal.removeEventListener("abort", stop);
    clearTimeout(late);
    own.abort();
    await Promise.allSettled([...open].map((iterator) => iterator.return?.()));
  };
  async function* events(): AsyncGenerator<SourceEvent<Event>, void> {
    try {
      while (open.size > 0) {
        const { done, value } = await arrivals.next();
        if (done === true) return;
        const { source, iterator, result } = value;
        if (result.done === true) {
          open.delete(iterator);
          openNext();
        } else {
          pull(source, iterator);
          onEvent(source, result.value);
          yield [source, result.value];
        }
      }
    } finally {
      await close();
    }
  }
  try {
    while (opened < Math.min(atOnce, sources.length)) openNext();
  } catch (error) {
    void close();
    throw error;
  }
  return {
    events,
    async ready() {
      if (open.size === 0) return;
      try {
        await arrivals.ready();
      } catch (error) {
        await close();
        throw error;
      }
    },
  };
}
