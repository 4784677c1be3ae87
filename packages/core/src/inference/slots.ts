// What slots hold: keys, values and inputs of convolutions, and the factors of the adapters whose requests run, expanded to A and B.
// R slots · M positions · r rank of the factors

import type { HostTensor } from "mixture-of-shards-graph";
import type { ExpandedFactors, FactorMap } from "#adapters";
import {
  type CachedTensor,
  cachedTensors,
  groupKey,
  type LayerGroup,
  listLayerGroups,
  type ModelConfig,
  moduleKey,
} from "#models";

import { SlotStates } from "./states.ts";

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

/** Bytes of one position of one slot. */
export const bytesPerPosition = (config: ModelConfig, dtype: CacheDtype = "float32"): number =>
  cachedTensors(config).reduce((sum, { heads, width }) => sum + heads * width, 0) *
  (dtype === "float32" ? 4 : 2);

/** Positions of a cache for sequences of this many tokens: whole blocks, so that growing is rare. */
export const capacityFor = (tokens: number): number => Math.ceil(Math.max(1, tokens) / BLOCK) * BLOCK;

/** What new tokens add to the cache, by the width of the tensors: those of a width side by side along the heads. */
export const writtenName = (width: number): string => `written.${width}`;

/** The name of a cached tensor among the inputs of a step. */
export const pastName = ({ layer, name }: Pick<CachedTensor, "layer" | "name">): string =>
  `past.${layer}.${name}`;

/**
 * What slots keep of each layer: tensors [R, H, M, W] of keys, values, or inputs of a convolution, and how many of the M
 * positions each slot has filled. A step sees a range of slots without copying. All slots have the capacity M that the
 * longest needs.
 */
export class KVCache {
  readonly config: ModelConfig;
  readonly dtype: CacheDtype;
  readonly tensors: readonly CachedTensor[];
  /** Their widths. */
  readonly widths: readonly number[];
  /** Bytes of one position of one slot. */
  readonly bytesPerPosition: number;
  /** What slots keep beside it, behind all of their tokens. */
  readonly states: SlotStates;
  /** Tokens that each slot holds. */
  readonly lengths: number[] = [];
  /** R */
  slots = 0;
  /** M */
  capacity = 0;
  /** Of each tensor. */
  #data: CacheArray[] = [];
  #mask = new Float32Array(0);
  /** Counts the times that the arrays were replaced: views of an older version are stale. */
  version = 0;

  constructor(config: ModelConfig, dtype: CacheDtype = "float32") {
    this.config = config;
    this.dtype = dtype;
    this.tensors = cachedTensors(config);
    this.widths = [...new Set(this.tensors.map(({ width }) => width))];
    this.bytesPerPosition = bytesPerPosition(config, dtype);
    this.states = new SlotStates(config);
  }

  /** Bytes of a slot of this capacity. */
  bytesPerSlot(capacity: number): number {
    return capacity * this.bytesPerPosition + this.states.bytesPerSlot;
  }

  /** Memory of all slots. */
  get bytes(): number {
    return this.slots * this.bytesPerSlot(this.capacity);
  }

  /** Heads of all tensors of one width, whose new positions come as one output of a step. */
  headsOf(width: number): number {
    return this.tensors.reduce((sum, tensor) => sum + (tensor.width === width ? tensor.heads : 0), 0);
  }

  /** The arrays of some slots as inputs of a step. */
  view({ from, count }: SlotRange): Readonly<Record<string, HostTensor>> {
    const M = this.capacity;
    const parts = this.tensors.map((tensor, i): readonly [string, HostTensor] => {
      const { heads, width } = tensor;
      const slot = heads * M * width;
      const data = (this.#data[i] as CacheArray).subarray(from * slot, (from + count) * slot);
      return [pastName(tensor), { shape: [count, heads, M, width], data }];
    });
    const mask = this.#mask.subarray(from * M, (from + count) * M);
    const states = this.states.view(from, count);
    const past = ["past_mask", { shape: [count, 1, 1, M], data: mask }] as const;
    const view = Object.fromEntries([...parts, ...states, past]);
    if (this.config.window === undefined) return view;
    // which of them is in the window depends on the query
    return { ...view, cached_positions: { shape: [M], data: Int32Array.from({ length: M }, (_, m) => m) } };
  }

  /** Gives the arrays another size and keeps what slots hold, none of which may be longer than `capacity`. */
  resize(slots: number, capacity: number): void {
    if (slots === this.slots && capacity === this.capacity) return;
    const [old, kept] = [this.capacity, Math.min(slots, this.slots)];
    const make = (length: number): CacheArray =>
      this.dtype === "float32" ? new Float32Array(length) : new Uint16Array(length);
    // one array at a time, so that the old one is freed before the next is made
    for (const [i, { heads, width }] of this.tensors.entries()) {
      const from = this.#data[i];
      const to = make(slots * heads * capacity * width);
      for (let slot = 0; from !== undefined && slot < kept; slot++) {
        const filled = (this.lengths[slot] ?? 0) * width;
        for (let head = slot * heads; head < (slot + 1) * heads; head++)
          to.set(from.subarray(head * old * width, head * old * width + filled), head * capacity * width);
      }
      this.#data[i] = to;
    }
    if (slots !== this.slots) this.states.resize(slots);
    this.lengths.length = kept;
    while (this.lengths.length < slots) this.lengths.push(0);
    this.slots = slots;
    this.capacity = capacity;
    this.#mask = new Float32Array(slots * capacity).fill(MASKED);
    this.lengths.forEach((length, slot) => {
      this.#mask.fill(0, slot * capacity, slot * capacity + length);
    });
    this.version++;
  }

  /**
   * Writes the first `counts[i]` of the S (`tokens`) new tokens of slot from + i after those that the slot holds.
   * `written` has for each width [count, heads of all tensors of that width, S, width], in the cache's dtype.
   */
  append(
    written: ReadonlyMap<number, CacheArray>,
    counts: readonly number[],
    { from, tokens }: { readonly from: number; readonly tokens: number },
  ): void {
    for (const [width, added] of written) {
      const heads = this.headsOf(width);
      let head = 0;
      for (const [i, tensor] of this.tensors.entries()) {
        if (tensor.width !== width) continue;
        for (let own = 0; own < tensor.heads; own++, head++)
          counts.forEach((count, at) => {
            const slot = from + at;
            const row = (slot * tensor.heads + own) * this.capacity + (this.lengths[slot] ?? 0);
            const begin = (at * heads + head) * tokens * width;
            const target = this.#data[i] as CacheArray;
            if (count > 1) target.set(added.subarray(begin, begin + count * width), row * width);
            // thousands at a step: a view of each takes longer than its copy
            else for (let n = 0; n < count * width; n++) target[row * width + n] = added[begin + n] as number;
          });
      }
    }
    counts.forEach((count, i) => {
      const slot = from + i;
      const start = this.lengths[slot] ?? 0;
      this.#mask.fill(0, slot * this.capacity + start, slot * this.capacity + start + count);
      this.lengths[slot] = start + count;
    });
  }

  /** Tokens that `truncate` would keep of a slot: with states fewer than `length`, as far as the last snapshot before. */
  kept(slot: number, length: number): number {
    return this.states.kept(slot, { held: this.lengths[slot] ?? 0, wanted: length });
  }

  /** Copies what one slot holds, or what it can be truncated to, into another. */
  move(from: number, to: number, wanted = this.lengths[from] ?? 0): void {
    const [held, length] = [this.lengths[from] ?? 0, this.kept(from, wanted)];
    this.truncate(to, 0);
    this.states.move(from, to, { held, length });
    for (const [i, { heads, width }] of this.tensors.entries())
      for (let head = 0; head < heads; head++) {
        const begin = (from * heads + head) * this.capacity * width;
        const target = (to * heads + head) * this.capacity * width;
        this.#data[i]?.copyWithin(target, begin, begin + length * width);
      }
    this.#mask.fill(0, to * this.capacity, to * this.capacity + length);
    this.lengths[to] = length;
  }

  /**
   * Keeps the first tokens of a slot, as many as `kept` says. The others are wiped, not just masked: infinities or NaN, which a broken
   * adapter makes, would come through the mask to the next request in the slot, and convolutions read zeros before the first token.
   */
  truncate(slot: number, wanted: number): void {
    const [held, length] = [this.lengths[slot] ?? 0, this.kept(slot, wanted)];
    this.states.restore(slot, { held, length });
    for (const [i, { heads, width }] of this.tensors.entries())
      for (let head = slot * heads; head < (slot + 1) * heads; head++) {
        const begin = head * this.capacity;
        this.#data[i]?.fill(0, (begin + length) * width, (begin + held) * width);
      }
    this.#mask.fill(MASKED, slot * this.capacity + length, (slot + 1) * this.capacity);
    this.lengths[slot] = length;
  }
}

/** The inputs of a group: A [R, parts · r, in], part by part, and scale · Bᵀ [R, r, out] of each part. */
export const slotNames = (layerGroup: LayerGroup): { readonly a: string; readonly b: readonly string[] } => ({
  a: `slot.${groupKey(layerGroup)}.a`,
  b: layerGroup.linears.map((linear) => `slot.${moduleKey({ layer: layerGroup.layer, linear })}.b`),
});

/** The inputs of a group whose slots share A and B: scale · core [R, r, r] of each part. */
export const coreNames = ({ layer, linears }: LayerGroup): readonly string[] =>
  linears.map((linear) => `slot.${moduleKey({ layer, linear })}.core`);

const EMPTY = new Float32Array(0);

/** What slots hold: factors of up to a rank, or cores of exactly this rank between factors that all of them share. */
export interface SlotFormat {
  readonly rank: number;
  /** Key of the shared factors. */
  readonly shared?: string | undefined;
}

/**
 * The factors of every slot of the batch. Smaller ranks and slots without an adapter are zero. Where the slots share A [parts · r, in]
 * and Bᵀ [r, out], each has a core of its own.
 */
export class AdapterSlots {
  readonly #groups: readonly {
    readonly layerGroup: LayerGroup;
    a: Float32Array;
    b: Float32Array[];
    cores: Float32Array[];
  }[];
  /** R */
  count = 0;
  /** r */
  rank = 0;
  /** Key of the factors that all slots share; undefined if each has its own. */
  shared: string | undefined;
  /** Counts the times that the arrays were replaced. */
  version = 0;

  constructor(config: ModelConfig) {
    this.#groups = listLayerGroups(config).map((layerGroup) => ({ layerGroup, a: EMPTY, b: [], cores: [] }));
  }

  get bytes(): number {
    return this.#groups
      .flatMap(({ a, b, cores }) => [a, ...b, ...cores])
      .reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** Slots of this format that fit into so many bytes. */
  slotsIn(bytes: number, { rank, shared }: SlotFormat): number {
    const factors = rank * this.bytesPerRank;
    if (shared === undefined) return Math.floor(bytes / factors);
    const parts = this.#groups.reduce((sum, { layerGroup: { outs } }) => sum + outs.length, 0);
    return Math.floor((bytes - factors) / (parts * rank * rank * Float32Array.BYTES_PER_ELEMENT));
  }

  /** Tests whether the slots can hold adapters of a format. */
  holds({ rank, shared }: SlotFormat): boolean {
    return shared === this.shared && (shared === undefined ? rank <= this.rank : rank === this.rank);
  }

  /** Bytes of one slot for each rank. */
  get bytesPerRank(): number {
    return this.#groups.reduce(
      (sum, { layerGroup: { in: width, outs } }) =>
        sum + outs.reduce((all, out) => all + width + out, 0) * Float32Array.BYTES_PER_ELEMENT,
      0,
    );
  }

  /** Gives the slots another size. All of them are empty afterwards. */
  resize(count: number, rank: number, { shared }: Pick<SlotFormat, "shared"> = {}): void {
    // nothing is left half done where memory runs out
    this.count = 0;
    this.rank = 0;
    for (const group of this.#groups) {
      group.a = EMPTY;
      group.b = [];
      group.cores = [];
    }
    this.version++;
    const sets = shared === undefined ? count : 1;
    for (const group of this.#groups) {
      const { in: width, outs } = group.layerGroup;
      group.a = new Float32Array(sets * outs.length * rank * width);
      group.b = outs.map((out) => new Float32Array(sets * rank * out));
      if (shared !== undefined) group.cores = outs.map(() => new Float32Array(count * rank * rank));
    }
    this.count = count;
    this.rank = rank;
    this.shared = shared;
  }

  /** The arrays of some slots as inputs of a step: slots are the first axis, or a single one is the second. */
  view({ from, count }: SlotRange, axis: 0 | 1 = 0): Readonly<Record<string, HostTensor>> {
    return Object.fromEntries(
      this.#groups.flatMap(({ layerGroup, a, b, cores }) => {
        const { in: width, outs } = layerGroup;
        const names = slotNames(layerGroup);
        if (this.shared !== undefined) {
          const { rank } = this;
          const size = rank * rank;
          return [
            [names.a, { shape: [outs.length * rank, width], data: a }],
            ...outs.map((out, i) => [names.b[i], { shape: [rank, out], data: b[i] ?? EMPTY }] as const),
            ...coreNames(layerGroup).map((name, i) => {
              const data = cores[i]?.subarray(from * size, (from + count) * size) ?? EMPTY;
              return [name, { shape: [count, rank, rank], data }] as const;
            }),
          ];
        }
        const some = (data: Float32Array, rows: number, columns: number): HostTensor => ({
          shape: axis === 1 ? [rows, count, columns] : [count, rows, columns],
          data: data.subarray(from * rows * columns, (from + count) * rows * columns),
        });
        return [
          [names.a, some(a, outs.length * this.rank, width)],
          ...outs.map((out, i) => [names.b[i], some(b[i] ?? EMPTY, this.rank, out)] as const),
        ];
      }),
    );
  }

  /** Empties a slot: it computes the base alone. */
  clear(slot: number): void {
    for (const data of this.#arrays()) {
      const size = data.length / this.count;
      data.fill(0, slot * size, (slot + 1) * size);
    }
  }

  /** Puts an adapter of the slots' format into a slot. */
  fill(slot: number, adapter: FactorMap): void {
    if (this.shared !== undefined) {
      this.#fillCores(slot, adapter);
      return;
    }
    const rows = this.rank;
    for (const { layerGroup: widths, a, b } of this.#groups)
      for (const [part, linear] of widths.linears.entries()) {
        const factors = adapter.get(moduleKey({ layer: widths.layer, linear })) ?? NO_FACTORS;
        const { rank, scale, b: up } = factors;
        const [first, out] = [(slot * widths.outs.length + part) * rows, widths.outs[part] ?? 0];
        const target = b[part] ?? EMPTY;
        const begin = slot * rows * out;
        a.set(factors.a, first * widths.in);
        for (let i = 0; i < rank * out; i++) target[begin + i] = (up[i] as number) * scale;
        // the ranks after the adapter's are zeros
        a.fill(0, (first + rank) * widths.in, (first + rows) * widths.in);
        target.fill(0, begin + rank * out, begin + rows * out);
      }
  }

  #fillCores(slot: number, adapter: FactorMap): void {
    const { rank } = this;
    for (const { layerGroup: widths, a, b, cores } of this.#groups)
      for (const [part, linear] of widths.linears.entries()) {
        const factors = adapter.get(moduleKey({ layer: widths.layer, linear }));
        const target = cores[part]?.subarray(slot * rank * rank, (slot + 1) * rank * rank) ?? EMPTY;
        target.fill(0);
        if (factors?.core === undefined) continue;
        // the same for every slot
        a.set(factors.a, part * rank * widths.in);
        b[part]?.set(factors.b);
        for (const [i, x] of factors.core.entries()) target[i] = factors.scale * x;
      }
  }

  move(from: number, to: number): void {
    for (const data of this.#arrays()) {
      const size = data.length / this.count;
      data.copyWithin(to * size, from * size, (from + 1) * size);
    }
  }

  /** Those that have a part for each slot. */
  #arrays(): readonly Float32Array[] {
    return this.#groups.flatMap(({ a, b, cores }) => (this.shared === undefined ? [a, ...b] : cores));
  }
}

const NO_FACTORS: ExpandedFactors = { rank: 0, scale: 0, a: EMPTY, b: EMPTY };
