/** An asynchronous queue: anything may write, one `for await` loop reads, in order. */
export class AsyncQueue<T> implements AsyncIterableIterator<T, void> {
  readonly #onLeave: () => void;
  readonly #items: T[] = [];
  #isClosed = false;
  #failure: unknown;
  #wake: (() => void) | undefined;

  /** @param onLeave Called when the reader leaves the loop, also where the queue is closed by then. */
  constructor(onLeave: () => void = () => undefined) {
    this.#onLeave = onLeave;
  }

  /** After `close` nothing is added. */
  push(...items: readonly T[]): void {
    if (this.#isClosed) return;
    this.#items.push(...items);
    this.#wake?.();
  }

  /** Ends the queue; a failure is thrown to the reader after the items before it. The first call counts. */
  close(failure?: unknown): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#failure = failure;
    this.#wake?.();
  }

  /**
   * Waits for the first item or the end, and leaves both to the reader.
   *
   * @throws the failure that the queue was closed with, whatever came before it.
   */
  async ready(): Promise<void> {
    if (this.#items.length === 0 && !this.#isClosed) await this.#change();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** One call at a time, as `for await` makes them. */
  async next(): Promise<IteratorResult<T, void>> {
    while (this.#items.length === 0 && !this.#isClosed) await this.#change();
    if (this.#items.length > 0) return { done: false, value: this.#items.shift() as T };
    const failure = this.#failure;
    this.#failure = undefined;
    if (failure !== undefined) throw failure;
    return { done: true, value: undefined };
  }

  /** Ends reading; what is pushed later is dropped. */
  async return(): Promise<IteratorResult<T, void>> {
    this.#onLeave();
    this.close();
    this.#failure = undefined;
    this.#items.length = 0;
    return { done: true, value: undefined };
  }

  /** The queue itself, for `for await`. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}
