// B rows · K key heads · M places · D head width · L layers
import type { LlamaConfig } from "#models";
import type { HostTensor } from "#runtime";

const BLOCK = 64;
const MASKED = -1e30;

/**
 * Keys and values of all layers, [B, K, M, D] each, and how many of the M places each row has filled. It grows by half
 * its size in blocks of 64 places, so a token is copied a few times in all, not once per later token.
 */
export class KeyValueCache {
  readonly lengths: number[];
  readonly #config: LlamaConfig;
  #places = 0;
  #keys: Float32Array[] = [];
  #values: Float32Array[] = [];
  #mask = new Float32Array(0);

  constructor(config: LlamaConfig, rows: number) {
    this.#config = config;
    this.lengths = Array.from({ length: rows }, () => 0);
    this.#grow(BLOCK);
  }

  /** M */
  get places(): number {
    return this.#places;
  }

  /** The cache as inputs of a decoding step. */
  tensors(): Readonly<Record<string, HostTensor>> {
    const { keyValueHeads, headDim } = this.#config;
    const shape = [this.lengths.length, keyValueHeads, this.#places, headDim];
    const named = (data: Float32Array, layer: number, part: "k" | "v") =>
      [`past.${layer}.${part}`, { shape, data }] as const;
    return Object.fromEntries([
      ...this.#keys.map((data, layer) => named(data, layer, "k")),
      ...this.#values.map((data, layer) => named(data, layer, "v")),
      ["past_mask", { shape: [this.lengths.length, 1, 1, this.#places], data: this.#mask }] as const,
    ]);
  }

  /** Makes room for `more` further tokens in every row; true if the tensors are new ones. */
  reserve(more: number): boolean {
    const needed = Math.max(...this.lengths) + more;
    if (needed <= this.#places) return false;
    this.#grow(Math.max(needed, Math.floor(this.#places * 1.5)));
    return true;
  }

  /** Writes the first `counts[row]` of the S fresh tokens of each row behind what the row holds. fresh [B, 2·L·K, S, D] */
  append(fresh: Float32Array, counts: readonly number[], tokens: number): void {
    const { layers, keyValueHeads: K, headDim: D } = this.#config;
    const perRow = 2 * layers * K * tokens * D;
    counts.forEach((count, row) => {
      const start = this.lengths[row] ?? 0;
      for (let head = 0; head < 2 * layers * K; head++) {
        const part = head < layers * K ? this.#keys : this.#values;
        const layer = Math.floor(head / K) % layers;
        const from = row * perRow + head * tokens * D;
        const to = ((row * K + (head % K)) * this.#places + start) * D;
        part[layer]?.set(fresh.subarray(from, from + count * D), to);
      }
      this.#mask.fill(0, row * this.#places + start, row * this.#places + start + count);
      this.lengths[row] = start + count;
    });
  }

  /** Forgets all tokens and keeps the memory. */
  clear(): void {
    this.lengths.fill(0);
    this.#mask.fill(MASKED);
  }

  #grow(needed: number): void {
    const { layers, keyValueHeads: K, headDim: D } = this.#config;
    const places = Math.ceil(needed / BLOCK) * BLOCK;
    const old = this.#places;
    const blocks = this.lengths.length * K;
    const wider = (from: Float32Array | undefined): Float32Array => {
      const to = new Float32Array(blocks * places * D);
      if (from !== undefined)
        for (let b = 0; b < blocks; b++)
          to.set(from.subarray(b * old * D, (b + 1) * old * D), b * places * D);
      return to;
    };
    this.#keys = Array.from({ length: layers }, (_, i) => wider(this.#keys[i]));
    this.#values = Array.from({ length: layers }, (_, i) => wider(this.#values[i]));
    this.#mask = new Float32Array(this.lengths.length * places).fill(MASKED);
    this.lengths.forEach((length, row) => {
      this.#mask.fill(0, row * places, row * places + length);
    });
    this.#places = places;
  }
}
