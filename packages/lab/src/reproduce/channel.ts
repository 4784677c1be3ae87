/** Many senders, one reader, in the order of sending. */
export interface Channel<T> extends AsyncIterable<T> {
  send(item: T): void;
  /** The reader gets what was sent before, and then the end, or this error. */
  close(error?: unknown): void;
}

export function channel<T>(): Channel<T> {
  const items: T[] = [];
  let wake: (() => void) | undefined;
  let closed: { readonly error: unknown } | undefined;
  const ring = (): void => {
    wake?.();
    wake = undefined;
  };
  return {
    send(item) {
      items.push(item);
      ring();
    },
    close(error) {
      closed ??= { error };
      ring();
    },
    async *[Symbol.asyncIterator]() {
      for (;;) {
        const item = items.shift();
        if (item !== undefined) yield item;
        else if (closed === undefined)
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        else if (closed.error !== undefined) throw closed.error;
        else return;
      }
    },
  };
}
