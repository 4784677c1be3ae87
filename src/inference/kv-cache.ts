// R rows · K key heads · M places · D head width · L layers
import type { LlamaConfig } from "#models";
import type { HostTensor } from "#runtime";

const BLOCK = 64;
const MASKED = -1e30;

/** Rows from … from + count − 1. */
export interface SlotRange {
  readonly from: number;
  readonly count: number;
}

/** Bytes of keys and values of one place of one row. */
export const bytesPerPosition = ({ layers, keyValueHeads, headDim }: LlamaConfig): number =>
  2 * layers * keyValueHeads * headDim * Float32Array.BYTES_PER_ELEMENT;

/** Places are kept in blocks, so that a row that grows moves seldom. */
export const capacityFor = (tokens: number): number => Math.ceil(Math.max(1, tokens) / BLOCK) * BLOCK;

/**
 * Keys and values of all layers, [R, K, M, D] each, and how many of the M places each row has filled. A step sees a range
 * of rows without copying. Every row has M places: as many as the longest needs.
 */
export class KVCache {
  readonly lengths: number[] = [];
  readonly #config: LlamaConfig;
  #rows = 0;
  #places = 0;
  #keys: Float32Array[] = [];
  #values: Float32Array[] = [];
  #mask = new Float32Array(0);
  /** Counts the times that the arrays were replaced: views of an older version are stale. */
  version = 0;

  constructor(config: LlamaConfig) {
    this.#config = config;
  }

  /** M */
  get capacity(): number {
    return this.#places;
  }

  get slots(): number {
    return this.#rows;
  }

  get bytes(): number {
    return this.#rows * this.#places * bytesPerPosition(this.#config);
  }

  /** The arrays of some rows as inputs of a step. */
  view({ from, count }: SlotRange): Readonly<Record<string, HostTensor>> {
    const { keyValueHeads: K, headDim: D } = this.#config;
    const perRow = K * this.#places * D;
    const shape = [count, K, this.#places, D];
    const part = (data: Float32Array): HostTensor => ({
      shape,
      data: data.subarray(from * perRow, (from + count) * perRow),
    });
    const entries = this.#keys.flatMap((keys, layer) => [
      [`past.${layer}.k`, part(keys)] as const,
      [`past.${layer}.v`, part(this.#values[layer] as Float32Array)] as const,
    ]);
    const mask = this.#mask.subarray(from * this.#places, (from + count) * this.#places);
    return Object.fromEntries([
      ...entries,
      ["past_mask", { shape: [count, 1, 1, this.#places], data: mask }],
    ]);
  }

  /** Gives the arrays another size and keeps what rows hold; lengths beyond `places` may not be there. */
  resize(rows: number, places: number): void {
    if (rows === this.#rows && places === this.#places) return;
    const { layers, keyValueHeads: K, headDim: D } = this.#config;
    const [old, kept] = [this.#places, Math.min(rows, this.#rows)];
    const wider = (from: Float32Array | undefined): Float32Array => {
      const to = new Float32Array(rows * K * places * D);
      if (from === undefined) return to;
      for (let row = 0; row < kept; row++) {
        const filled = (this.lengths[row] ?? 0) * D;
        for (let head = row * K; head < (row + 1) * K; head++)
          to.set(from.subarray(head * old * D, head * old * D + filled), head * places * D);
      }
      return to;
    };
    // one array at a time, so that the old one can go before the next is made
    for (let layer = 0; layer < layers; layer++) {
      this.#keys[layer] = wider(this.#keys[layer]);
      this.#values[layer] = wider(this.#values[layer]);
    }
    this.lengths.length = kept;
    while (this.lengths.length < rows) this.lengths.push(0);
    this.#rows = rows;
    this.#places = places;
    this.#mask = new Float32Array(rows * places).fill(MASKED);
    this.lengths.forEach((length, row) => {
      this.#mask.fill(0, row * places, row * places + length);
    });
    this.version++;
  }

  /**
   * Writes the first `counts[i]` of the S fresh tokens of row from + i behind what the row holds.
   * fresh [count, 2·L·K, S, D]
   */
  append(fresh: Float32Array, counts: readonly number[], { from, tokens }: AppendOptions): void {
    const { layers, keyValueHeads: K, headDim: D } = this.#config;
    const perRow = 2 * layers * K * tokens * D;
    counts.forEach((count, i) => {
      if (count === 0) return;
      const row = from + i;
      const start = this.lengths[row] ?? 0;
      for (let head = 0; head < 2 * layers * K; head++) {
        const part = head < layers * K ? this.#keys : this.#values;
        const layer = Math.floor(head / K) % layers;
        const to = ((row * K + (head % K)) * this.#places + start) * D;
        const begin = i * perRow + head * tokens * D;
        (part[layer] as Float32Array).set(fresh.subarray(begin, begin + count * D), to);
      }
      this.#mask.fill(0, row * this.#places + start, row * this.#places + start + count);
      this.lengths[row] = start + count;
    });
  }

  /** Copies what one row holds, or the first `length` tokens of it, into another. */
  move(from: number, to: number, length = this.lengths[from] ?? 0): void {
    const { layers, keyValueHeads: K, headDim: D } = this.#config;
    this.truncate(to, 0);
    for (let layer = 0; layer < layers; layer++)
      for (const data of [this.#keys[layer] as Float32Array, this.#values[layer] as Float32Array])
        for (let head = 0; head < K; head++) {
          const begin = (from * K + head) * this.#places * D;
          data.copyWithin((to * K + head) * this.#places * D, begin, begin + length * D);
        }
    this.#mask.fill(0, to * this.#places, to * this.#places + length);
    this.lengths[to] = length;
  }

  /**
   * Keeps the first tokens of a row. The others are wiped, not just masked: numbers as large as a broken adapter makes,
   * or none at all, would come through the mask to whoever has the row next.
   */
  truncate(row: number, length: number): void {
    const { keyValueHeads: K, headDim: D } = this.#config;
    const held = this.lengths[row] ?? 0;
    for (const data of [...this.#keys, ...this.#values])
      for (let head = row * K; head < (row + 1) * K; head++)
        data.fill(0, (head * this.#places + length) * D, (head * this.#places + held) * D);
    this.#mask.fill(MASKED, row * this.#places + length, (row + 1) * this.#places);
    this.lengths[row] = length;
  }
}

interface AppendOptions {
  /** The row of the first entry. */
  readonly from: number;
  /** S */
  readonly tokens: number;
}
