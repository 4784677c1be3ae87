// R slots · K key heads · M positions · D head width · L layers

import type { HostTensor } from "#graph";
import type { ModelConfig } from "#models";

const BLOCK = 64;
const MASKED = -1e30;

/** Slots from … from + count − 1. */
export interface SlotRange {
  readonly from: number;
  readonly count: number;
}

/** Type of keys and values: float16 takes half the memory, and rounds them to eleven bits. */
export type CacheDtype = "float32" | "float16";

type CacheArray = Float32Array | Uint16Array;

/** Bytes of keys and values of one position of one slot. */
export const bytesPerPosition = (
  { layers, keyValueHeads, headDim }: ModelConfig,
  dtype: CacheDtype = "float32",
): number => 2 * layers * keyValueHeads * headDim * (dtype === "float32" ? 4 : 2);

/** Positions of a cache for sequences of this many tokens: whole blocks, so that growing is rare. */
export const capacityFor = (tokens: number): number => Math.ceil(Math.max(1, tokens) / BLOCK) * BLOCK;

/**
 * Keys and values of all layers, [R, K, M, D] each, and how many of the M positions each slot has filled. A step sees a
 * range of slots without copying. All slots have the capacity M that the longest needs.
 */
export class KVCache {
  readonly config: ModelConfig;
  readonly dtype: CacheDtype;
  /** Tokens that each slot holds. */
  readonly lengths: number[] = [];
  #slots = 0;
  #capacity = 0;
  #keys: CacheArray[] = [];
  #values: CacheArray[] = [];
  #mask = new Float32Array(0);
  /** Counts the times that the arrays were replaced: views of an older version are stale. */
  version = 0;

  constructor(config: ModelConfig, dtype: CacheDtype = "float32") {
    this.config = config;
    this.dtype = dtype;
  }

  /** Bytes of one position of one slot. */
  get bytesPerPosition(): number {
    return bytesPerPosition(this.config, this.dtype);
  }

  /** M */
  get capacity(): number {
    return this.#capacity;
  }

  /** R */
  get slots(): number {
    return this.#slots;
  }

  /** Memory of the keys and values, of all slots. */
  get bytes(): number {
    return this.#slots * this.#capacity * this.bytesPerPosition;
  }

  /** The arrays of some slots as inputs of a step. */
  view({ from, count }: SlotRange): Readonly<Record<string, HostTensor>> {
    const { keyValueHeads: K, headDim: D } = this.config;
    const M = this.#capacity;
    const part = (data: CacheArray): HostTensor => ({
      shape: [count, K, M, D],
      data: data.subarray(from * K * M * D, (from + count) * K * M * D),
    });
    const layers = this.#keys.flatMap((keys, layer) => [
      [`past.${layer}.k`, part(keys)] as const,
      [`past.${layer}.v`, part(this.#values[layer] as CacheArray)] as const,
    ]);
    const mask = this.#mask.subarray(from * M, (from + count) * M);
    const view = Object.fromEntries([...layers, ["past_mask", { shape: [count, 1, 1, M], data: mask }]]);
    if (this.config.window === undefined) return view;
    // which of them is in the window depends on the query
    return { ...view, cached_positions: { shape: [M], data: Int32Array.from({ length: M }, (_, m) => m) } };
  }

  /** Gives the arrays another size and keeps what slots hold, none of which may be longer than `capacity`. */
  resize(slots: number, capacity: number): void {
    if (slots === this.#slots && capacity === this.#capacity) return;
    const { layers, keyValueHeads: K, headDim: D } = this.config;
    const [old, kept] = [this.#capacity, Math.min(slots, this.#slots)];
    const make = (length: number): CacheArray =>
      this.dtype === "float32" ? new Float32Array(length) : new Uint16Array(length);
    const resized = (from: CacheArray | undefined): CacheArray => {
      const to = make(slots * K * capacity * D);
      if (from === undefined) return to;
      for (let slot = 0; slot < kept; slot++) {
        const filled = (this.lengths[slot] ?? 0) * D;
        for (let head = slot * K; head < (slot + 1) * K; head++)
          to.set(from.subarray(head * old * D, head * old * D + filled), head * capacity * D);
      }
      return to;
    };
    // one array at a time, so that the old one is freed before the next is made
    for (let layer = 0; layer < layers; layer++) {
      this.#keys[layer] = resized(this.#keys[layer]);
      this.#values[layer] = resized(this.#values[layer]);
    }
    this.lengths.length = kept;
    while (this.lengths.length < slots) this.lengths.push(0);
    this.#slots = slots;
    this.#capacity = capacity;
    this.#mask = new Float32Array(slots * capacity).fill(MASKED);
    this.lengths.forEach((length, slot) => {
      this.#mask.fill(0, slot * capacity, slot * capacity + length);
    });
    this.version++;
  }

  /**
   * Writes the first `counts[i]` of the S new tokens of slot from + i after those that the slot holds.
   * newKeysValues [count, 2·L·K, S, D], in the cache's dtype
   */
  append(newKeysValues: CacheArray, counts: readonly number[], { from, tokens }: AppendOptions): void {
    const { layers, keyValueHeads: K, headDim: D } = this.config;
    const perSlot = 2 * layers * K * tokens * D;
    counts.forEach((count, i) => {
      if (count === 0) return;
      const slot = from + i;
      const start = this.lengths[slot] ?? 0;
      for (let head = 0; head < 2 * layers * K; head++) {
        const part = head < layers * K ? this.#keys : this.#values;
        const layer = Math.floor(head / K) % layers;
        const to = ((slot * K + (head % K)) * this.#capacity + start) * D;
        const begin = i * perSlot + head * tokens * D;
        (part[layer] as CacheArray).set(newKeysValues.subarray(begin, begin + count * D), to);
      }
      this.#mask.fill(0, slot * this.#capacity + start, slot * this.#capacity + start + count);
      this.lengths[slot] = start + count;
    });
  }

  /** Copies what one slot holds, or the first `length` tokens of it, into another. */
  move(from: number, to: number, length = this.lengths[from] ?? 0): void {
    const { layers, keyValueHeads: K, headDim: D } = this.config;
    this.truncate(to, 0);
    for (let layer = 0; layer < layers; layer++)
      for (const data of [this.#keys[layer] as Float32Array, this.#values[layer] as Float32Array])
        for (let head = 0; head < K; head++) {
          const begin = (from * K + head) * this.#capacity * D;
          data.copyWithin((to * K + head) * this.#capacity * D, begin, begin + length * D);
        }
    this.#mask.fill(0, to * this.#capacity, to * this.#capacity + length);
    this.lengths[to] = length;
  }

  /**
   * Keeps the first tokens of a slot. The others are wiped, not just masked: infinite numbers, or NaN, which a broken
   * adapter makes, would come through the mask to the next request in the slot.
   */
  truncate(slot: number, length: number): void {
    const { keyValueHeads: K, headDim: D } = this.config;
    const held = this.lengths[slot] ?? 0;
    for (const data of [...this.#keys, ...this.#values])
      for (let head = slot * K; head < (slot + 1) * K; head++)
        data.fill(0, (head * this.#capacity + length) * D, (head * this.#capacity + held) * D);
    this.#mask.fill(MASKED, slot * this.#capacity + length, (slot + 1) * this.#capacity);
    this.lengths[slot] = length;
  }
}

interface AppendOptions {
  /** The slot of the first entry. */
  readonly from: number;
  /** S */
  readonly tokens: number;
}
