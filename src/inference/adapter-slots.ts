// R slots · r their rank. The factors of the adapters whose requests run, expanded to A and B: one slot for each.
import type { ExpandedFactors, FactorMap } from "#adapters";
import { GROUPS, type GroupSite, groupKey, groupSites, siteKey } from "#nn";
import type { HostTensor } from "#runtime";
import type { BaseWeights } from "./base-weights.ts";
import type { SlotRange } from "./kv-cache.ts";
import type { GroupWidths } from "./packed-layers.ts";

/** The inputs of a group: A [R, parts · r, in] and scale · Bᵀ [R, parts · r, Σ out], block by block of the parts. */
export const slotNames = (site: GroupSite): { readonly a: string; readonly b: string } => ({
  a: `slot.${groupKey(site)}.a`,
  b: `slot.${groupKey(site)}.b`,
});

/** The two arrays of a group. */
interface GroupSlots {
  readonly site: GroupSite;
  readonly widths: GroupWidths;
  a: Float32Array;
  b: Float32Array;
}

/**
 * The factors of every slot of the batch. Bᵀ of a group has the factors of its parts on a block diagonal, so that two
 * products serve the whole group; smaller ranks and slots without an adapter are zero.
 */
export class AdapterSlots {
  readonly #groups: readonly GroupSlots[];
  #count = 0;
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

  /** R */
  get count(): number {
    return this.#count;
  }

  /** r */
  get rank(): number {
    return this.#rank;
  }

  get bytes(): number {
    return this.#groups.reduce((sum, { a, b }) => sum + a.byteLength + b.byteLength, 0);
  }

  /** Bytes of one slot for each rank. */
  get bytesPerRank(): number {
    return this.#groups.reduce(
      (sum, { widths: { in: width, out, outs } }) =>
        sum + outs.length * (width + out) * Float32Array.BYTES_PER_ELEMENT,
      0,
    );
  }

  /** Gives the slots another size. All of them are empty afterwards. */
  resize(count: number, rank: number): void {
    // nothing is left half done where memory runs out
    this.#count = 0;
    this.#rank = 0;
    for (const group of this.#groups) {
      group.a = new Float32Array(0);
      group.b = new Float32Array(0);
    }
    this.version++;
    for (const group of this.#groups) {
      const { in: width, out, outs } = group.widths;
      group.a = new Float32Array(count * outs.length * rank * width);
      group.b = new Float32Array(count * outs.length * rank * out);
    }
    this.#count = count;
    this.#rank = rank;
  }

  /** The arrays of some slots as inputs of a step. */
  view({ from, count }: SlotRange): Readonly<Record<string, HostTensor>> {
    return Object.fromEntries(
      this.#groups.flatMap(({ site, widths: { in: width, out, outs }, a, b }) => {
        const depth = outs.length * this.#rank;
        const part = (data: Float32Array, columns: number): HostTensor => ({
          shape: [count, depth, columns],
          data: data.subarray(from * depth * columns, (from + count) * depth * columns),
        });
        const names = slotNames(site);
        return [
          [names.a, part(a, width)],
          [names.b, part(b, out)],
        ];
      }),
    );
  }

  /** Empties a slot: it computes the base alone. */
  clear(slot: number): void {
    for (const { a, b } of this.#groups)
      for (const data of [a, b]) {
        const size = data.length / this.#count;
        data.fill(0, slot * size, (slot + 1) * size);
      }
  }

  /** Puts an adapter of at most the slots' rank into a slot. */
  fill(slot: number, factors: FactorMap): void {
    for (const group of this.#groups) {
      const { site, widths } = group;
      let column = 0;
      for (const [part, linear] of GROUPS[site.group].entries()) {
        const width = widths.outs[part] as number;
        const first = (slot * widths.outs.length + part) * this.#rank;
        const found = factors.get(siteKey({ layer: site.layer, linear }));
        writePart(group, found ?? NOTHING, { first, ranks: this.#rank, column, width });
        column += width;
      }
    }
  }

  /** Copies a slot. */
  move(from: number, to: number): void {
    for (const { a, b } of this.#groups)
      for (const data of [a, b]) {
        const size = data.length / this.#count;
        data.copyWithin(to * size, from * size, (from + 1) * size);
      }
  }
}

const NOTHING: ExpandedFactors = { rank: 0, scale: 0, a: new Float32Array(0), b: new Float32Array(0) };

interface Part {
  /** The row of A and of Bᵀ, among those of all slots, that the first rank goes to. */
  readonly first: number;
  /** Ranks that the slot has for this part. */
  readonly ranks: number;
  /** Where the part's outputs begin among the group's, and how many they are. */
  readonly column: number;
  readonly width: number;
}

/** Writes one part of a group: its factors, and zeros behind them. All outside the block diagonal is zero anyway. */
function writePart(
  { a: groupA, b: groupB, widths: { in: into, out } }: GroupSlots,
  { rank, a, b, scale }: ExpandedFactors,
  { first, ranks, column, width }: Part,
): void {
  groupA.set(a, first * into);
  groupA.fill(0, (first + rank) * into, (first + ranks) * into);
  for (let i = 0; i < ranks; i++) {
    const to = (first + i) * out + column;
    if (i >= rank) groupB.fill(0, to, to + width);
    else for (let j = 0; j < width; j++) groupB[to + j] = (b[i * width + j] as number) * scale;
  }
}
