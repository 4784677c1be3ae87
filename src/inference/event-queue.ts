/** The events of one request on their way from the engine to its reader, in order, in the form in which they are held. */
export class EventQueue<T, Held = T> implements AsyncIterableIterator<T, void> {
  readonly #onLeave: () => void;
  readonly #read: (held: Held) => T;
  readonly #events: Held[] = [];
  #isClosed = false;
  #failure: unknown;
  #wake: (() => void) | undefined;

  /**
   * `onLeave` is called when the reader leaves, whether or not the queue is closed by then; `read` makes the reader's form
   * of an event.
   */
  constructor(
    onLeave: () => void = () => undefined,
    read: (held: Held) => T = (held) => held as unknown as T,
  ) {
    this.#onLeave = onLeave;
    this.#read = read;
  }

  push(...events: readonly Held[]): void {
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
      if (this.#events.length > 0) return { done: false, value: this.#read(this.#events.shift() as Held) };
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
