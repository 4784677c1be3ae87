/**
 * Works on several items at a time and gives results as they come. Where one fails, or the consumer leaves, no further
 * item is begun; those that run are awaited before it ends.
 *
 * @example
 * for await (const answer of sideBySide(questions, 16, ask)) write(answer);
 */
export async function* sideBySide<T, R>(
  items: readonly T[],
  most: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R, void> {
  type Settled = { readonly id: number } & ({ readonly value: R } | { readonly error: unknown });
  const running = new Map<number, Promise<Settled>>();
  let next = 0;
  const begin = (id: number): void => {
    running.set(
      id,
      work(items[id] as T).then(
        (value) => ({ id, value }),
        (error: unknown) => ({ id, error }),
      ),
    );
  };
  try {
    while (next < items.length || running.size > 0) {
      while (next < items.length && running.size < most) begin(next++);
      const settled = await Promise.race(running.values());
      running.delete(settled.id);
      if ("error" in settled) throw settled.error;
      yield settled.value;
    }
  } finally {
    await Promise.all(running.values());
  }
}
