// R rows · r slot rank. The active tier: expanded factors of the adapters whose requests run, one slot for each row.
import type { ExpandedFactors } from "#adapters";

import type { HostTensor } from "#runtime";
import type { BaseWeights } from "./base-weights.ts";
import { GROUPS, type GroupSite, type GroupWidths, groupSites } from "./groups.ts";
import type { SlotRange } from "./kv-cache.ts";
import { slotNames } from "./step-graph.ts";

/** Factors by `${layer}.${linear}`. */
export type FactorMap = ReadonlyMap<string, ExpandedFactors>;

/** Two arrays of a group: A [R, parts · r, in] and scale · Bᵀ [R, parts · r, Σ out]. */
interface GroupSlots {
  readonly site: GroupSite;
  readonly widths: GroupWidths;
  a: Float32Array;
  b: Float32Array;
}

/**
 * A slot for each row. Bᵀ of a group has the factors of its parts on a block diagonal, so that two products serve the
 * whole group; smaller ranks and rows without an adapter are zero.
 */
export class AdapterSlots {
  readonly #groups: readonly GroupSlots[];
  #rows = 0;
  #rank = 0;
  /** Counts the times that the arrays were replaced. */
  version = 0;

  constructor({ config, widths }: BaseWeights) {
    this.#groups = groupSites(config.layers).map((site) => ({
      site,
      widths: widths[site.group],
      a: new Float32Array(0),
      b: new Float32Array(0),
    }));
  }

  get rank(): number {
    return this.#rank;
  }

  get bytes(): number {
    return this.#groups.reduce((sum, { a, b }) => sum + a.byteLength + b.byteLength, 0);
  }

  /** Bytes of one row's slot for each rank. */
  get bytesPerRank(): number {
    return this.#groups.reduce((sum, group) => {
      const { parts, out } = sizesOf(group);
      return sum + parts * (group.widths.in + out) * Float32Array.BYTES_PER_ELEMENT;
    }, 0);
  }

  /** Gives the slots another size. All of them are empty afterwards. */
  resize(rows: number, rank: number): void {
    // nothing is left half done where memory runs out
    this.#rows = 0;
    this.#rank = 0;
    for (const group of this.#groups) {
      group.a = new Float32Array(0);
      group.b = new Float32Array(0);
    }
    this.version++;
    for (const group of this.#groups) {
      const { parts, out } = sizesOf(group);
      group.a = new Float32Array(rows * parts * rank * group.widths.in);
      group.b = new Float32Array(rows * parts * rank * out);
    }
    this.#rows = rows;
    this.#rank = rank;
  }

  get count(): number {
    return this.#rows;
  }

  /** The arrays of some rows as inputs of a step. */
  view({ from, count }: SlotRange): Readonly<Record<string, HostTensor>> {
    return Object.fromEntries(
      this.#groups.flatMap((group) => {
        const { parts, out } = sizesOf(group);
        const depth = parts * this.#rank;
        const part = (data: Float32Array, width: number): HostTensor => ({
          shape: [count, depth, width],
          data: data.subarray(from * depth * width, (from + count) * depth * width),
        });
        const names = slotNames(group.site);
        return [
          [names.a, part(group.a, group.widths.in)],
          [names.b, part(group.b, out)],
        ];
      }),
    );
  }

  /** Makes a row compute the base alone. */
  clear(row: number): void {
    for (const group of this.#groups)
      for (const data of [group.a, group.b]) {
        const size = data.length / this.#rows;
        data.fill(0, row * size, (row + 1) * size);
      }
  }

  /** Puts an adapter of at most the slots' rank into a row. */
  fill(row: number, factors: FactorMap): void {
    for (const group of this.#groups) {
      const { parts, out } = sizesOf(group);
      let column = 0;
      GROUPS[group.site.group].forEach((linear, part) => {
        const width = group.widths.outs[part] as number;
        const first = (row * parts + part) * this.#rank;
        const found = factors.get(`${group.site.layer}.${linear}`);
        place(found, group, { first, ranks: this.#rank, column, width, out });
        column += width;
      });
    }
  }

  /** Copies a slot. */
  move(from: number, to: number): void {
    for (const { a, b } of this.#groups)
      for (const data of [a, b]) {
        const size = data.length / this.#rows;
        data.copyWithin(to * size, from * size, (from + 1) * size);
      }
  }
}

const sizesOf = ({
  widths: { outs, out },
}: GroupSlots): { readonly parts: number; readonly out: number } => ({
  parts: outs.length,
  out,
});

interface Place {
  /** The row of A and of Bᵀ, among those of all slots, that the first rank goes to. */
  readonly first: number;
  /** Ranks that the slot has for this part. */
  readonly ranks: number;
  /** Where the part's outputs begin among the group's, and how many they are. */
  readonly column: number;
  readonly width: number;
  readonly out: number;
}

/** Writes one part of a group: its factors, and zeros behind them. All outside the block diagonal is zero anyway. */
function place(
  factors: ExpandedFactors | undefined,
  group: GroupSlots,
  { first, ranks, column, width, out }: Place,
): void {
  const { rank, a, b, scale } = factors ?? NOTHING;
  const target = group.b;
  group.a.set(a, first * group.widths.in);
  group.a.fill(0, (first + rank) * group.widths.in, (first + ranks) * group.widths.in);
  for (let i = 0; i < ranks; i++) {
    const to = (first + i) * out + column;
    if (i >= rank) target.fill(0, to, to + width);
    else for (let j = 0; j < width; j++) target[to + j] = (b[i * width + j] as number) * scale;
  }
}

const NOTHING: ExpandedFactors = { rank: 0, scale: 0, a: new Float32Array(0), b: new Float32Array(0) };
