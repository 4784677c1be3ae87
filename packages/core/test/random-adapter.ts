// Adapters with random numbers in place of what training would have found.
import { type Adapter, bindMethod, createAdapter, type LayerShapes, parseAdapterConfig } from "#adapters";
import { randomStream } from "#common";

export interface RandomNumbers {
  /** Each tensor has a stream of its own. */
  readonly seed: number;
  /** Standard deviation (1). */
  readonly deviation?: number;
  /** Replaces the numbers of these tensors only: frozen ones that no file has stay, or all that are not zero. */
  readonly only?: "trainable" | "zeros";
}

/** Replaces the numbers of an adapter; routing stays. */
export function fillRandom(adapter: Adapter, { seed, deviation = 1, only }: RandomNumbers): Adapter {
  const specs = bindMethod(adapter.config).tensors(adapter.shapes);
  const isZero = (data: ArrayLike<number> = []): boolean => Array.from(data).every((value) => value === 0);
  // one vector for A and B cannot start as zeros
  const hasZeros = specs.some(
    ({ name, role }) => role === "trainable" && isZero(adapter.tensors.get(name)?.data),
  );
  for (const { name, role } of specs) {
    const data = adapter.tensors.get(name)?.data;
    if (!(data instanceof Float32Array) || (only !== undefined && role !== "trainable")) continue;
    if (only === "zeros" && hasZeros && !isZero(data)) continue;
    const random = randomStream(seed, name);
    for (let i = 0; i < data.length; i++) data[i] = deviation * random.normal();
  }
  return adapter;
}

/** A new adapter, filled. */
export const randomAdapter = (settings: unknown, shapes: LayerShapes, numbers: RandomNumbers): Adapter =>
  fillRandom(createAdapter(parseAdapterConfig(settings), shapes), numbers);
