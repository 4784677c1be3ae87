// R slots · r their rank. The factors of the adapters whose requests run, expanded to A and B: one slot for each.
import type { ExpandedFactors, FactorMap } from "#adapters";
import { GROUPS, groupKey, type HostTensor, type LayerGroup, listLayerGroups, moduleKey } from "#graph";
import type { BaseWeights } from "./base-weights.ts";
import type { SlotRange } from "./kv-cache.ts";
import type { GroupWidths } from "./packed-layers.ts";

/** The inputs of a group: A [R, parts · r, in], part by part, and scale · Bᵀ [R, r, out] of each part. */
export const slotNames = (layerGroup: LayerGroup): { readonly a: string; readonly b: readonly string[] } => ({
  a: `slot.${groupKey(layerGroup)}.a`,
  b: GROUPS[layerGroup.group].map((linear) => `slot.${moduleKey({ layer: layerGroup.layer, linear })}.b`),
});

/** The arrays of a group. */
interface GroupSlots {
  readonly layerGroup: LayerGroup;
  readonly widths: GroupWidths;
  a: Float32Array;
  b: Float32Array[];
}

const EMPTY = new Float32Array(0);

/** The factors of every slot of the batch. Smaller ranks and slots without an adapter are zero. */
export class AdapterSlots {
  readonly #groups: readonly GroupSlots[];
  #count = 0;
  #rank = 0;
  /** Counts the times that the arrays were replaced. */
  version = 0;

  constructor({ config, widths }: BaseWeights) {
    this.#groups = listLayerGroups(config.layers).map((layerGroup) => ({
      layerGroup,
      widths: widths[layerGroup.group],
      a: EMPTY,
      b: [],
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
    return this.#arrays().reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  /** Bytes of one slot for each rank. */
  get bytesPerRank(): number {
    return this.#groups.reduce(
      (sum, { widths: { in: width, out, outs } }) =>
        sum + (outs.length * width + out) * Float32Array.BYTES_PER_ELEMENT,
      0,
    );
  }

  /** Gives the slots another size. All of them are empty afterwards. */
  resize(count: number, rank: number): void {
    // nothing is left half done where memory runs out
    this.#count = 0;
    this.#rank = 0;
    for (const group of this.#groups) {
      group.a = EMPTY;
      group.b = [];
    }
    this.version++;
    for (const group of this.#groups) {
      const { in: width, outs } = group.widths;
      group.a = new Float32Array(count * outs.length * rank * width);
      group.b = outs.map((out) => new Float32Array(count * rank * out));
    }
    this.#count = count;
    this.#rank = rank;
  }

  /** The arrays of some slots as inputs of a step. */
  view({ from, count }: SlotRange): Readonly<Record<string, HostTensor>> {
    return Object.fromEntries(
      this.#groups.flatMap(({ layerGroup, widths: { in: width, outs }, a, b }) => {
        const some = (data: Float32Array, rows: number, columns: number): HostTensor => ({
          shape: [count, rows, columns],
          data: data.subarray(from * rows * columns, (from + count) * rows * columns),
        });
        const names = slotNames(layerGroup);
        return [
          [names.a, some(a, outs.length * this.#rank, width)],
          ...outs.map((out, i) => [names.b[i], some(b[i] ?? EMPTY, this.#rank, out)] as const),
        ];
      }),
    );
  }

  /** Empties a slot: it computes the base alone. */
  clear(slot: number): void {
    for (const data of this.#arrays()) {
      const size = data.length / this.#count;
      data.fill(0, slot * size, (slot + 1) * size);
    }
  }

  /** Puts an adapter of at most the slots' rank into a slot. */
  fill(slot: number, adapter: FactorMap): void {
    for (const { layerGroup, widths, a, b } of this.#groups)
      for (const [part, linear] of GROUPS[layerGroup.group].entries()) {
        const factors = adapter.get(moduleKey({ layer: layerGroup.layer, linear })) ?? NO_FACTORS;
        writeA(a, factors, {
          row: (slot * widths.outs.length + part) * this.#rank,
          rows: this.#rank,
          columns: widths.in,
        });
        writeB(b[part] ?? EMPTY, factors, {
          row: slot * this.#rank,
          rows: this.#rank,
          columns: widths.outs[part] ?? 0,
        });
      }
  }

  /** Copies a slot. */
  move(from: number, to: number): void {
    for (const data of this.#arrays()) {
      const size = data.length / this.#count;
      data.copyWithin(to * size, from * size, (from + 1) * size);
    }
  }

  #arrays(): readonly Float32Array[] {
    return this.#groups.flatMap(({ a, b }) => [a, ...b]);
  }
}

const NO_FACTORS: ExpandedFactors = { rank: 0, scale: 0, a: EMPTY, b: EMPTY };

/** The rows of an array that one linear layer has in one slot. */
interface Rows {
  readonly row: number;
  /** The slots' rank. Behind the ranks of the adapter there are zeros. */
  readonly rows: number;
  readonly columns: number;
}

function writeA(target: Float32Array, { rank, a }: ExpandedFactors, { row, rows, columns }: Rows): void {
  target.set(a, row * columns);
  target.fill(0, (row + rank) * columns, (row + rows) * columns);
}

function writeB(
  target: Float32Array,
  { rank, b, scale }: ExpandedFactors,
  { row, rows, columns }: Rows,
): void {
  const first = row * columns;
  for (let i = 0; i < rank * columns; i++) target[first + i] = (b[i] as number) * scale;
  target.fill(0, first + rank * columns, first + rows * columns);
}
