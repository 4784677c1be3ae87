/** The events of one request on their way from the engine to its reader, in order. */
export class EventQueue<T> implements AsyncIterableIterator<T, void> {
  readonly #onLeave: () => void;
  readonly #events: T[] = [];
  #isClosed = false;
  #failure: unknown;
  #wake: (() => void) | undefined;

  /** `onLeave` is called when the reader leaves, whether or not the queue is closed by then. */
  constructor(onLeave: () => void = () => undefined) {
    this.#onLeave = onLeave;
  }

  push(...events: readonly T[]): void {
    this.#events.push(...events);
    this.#wake?.();
  }

  /** Ends the queue; a failure is thrown to the reader after the events before it. The first call counts. */
  close(failure?: unknown): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#failure = failure;
    this.#wake?.();
  }

  /** One call at a time, as `for await` makes them. */
  async next(): Promise<IteratorResult<T, void>> {
    for (;;) {
      if (this.#events.length > 0) return { done: false, value: this.#events.shift() as T };
      if (this.#isClosed) break;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<T, void>> {
    this.#onLeave();
    this.close();
    this.#failure = undefined;
    this.#events.length = 0;
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
