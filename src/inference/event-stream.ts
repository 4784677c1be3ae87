/** Events of one request on their way to whoever reads them, in order. */
export class EventStream<T> {
  readonly #events: T[] = [];
  #failure: unknown;
  #closed = false;
  #wake: (() => void) | undefined;

  push(...events: readonly T[]): void {
    this.#events.push(...events);
    this.#wake?.();
  }

  /** Nothing comes any more; a failure is thrown to the reader behind the events before it. */
  close(failure?: unknown): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#failure = failure;
    this.#wake?.();
  }

  async *read(): AsyncGenerator<T, void> {
    for (;;) {
      yield* this.#events.splice(0);
      if (this.#events.length > 0) continue;
      if (this.#closed) break;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
    if (this.#failure !== undefined) throw this.#failure;
  }
}
