import { randomStream } from "#core";

export interface OrderOptions {
  readonly seed: number;
  /** From 0; every epoch has its own order. */
  readonly epoch: number;
}

/** 0 … n − 1 in the order in which an epoch visits the examples. */
export const epochOrder = (n: number, { seed, epoch }: OrderOptions): Uint32Array =>
  randomStream(seed, `epoch ${epoch} examples`).permutation(n);

/** The items in a seeded random order, for rows and batches once they are filled. */
export function shuffled<T>(items: readonly T[], { seed, epoch }: OrderOptions): T[] {
  const order = randomStream(seed, `epoch ${epoch} rows`).permutation(items.length);
  return Array.from(order, (i) => items[i]).filter((item) => item !== undefined);
}
