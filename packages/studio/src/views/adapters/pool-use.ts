// The picture of MoS as data: the pools of one type of layer, the rows that each layer takes from them, where a drawing puts
// them, and what it says of them in words.
import type { JsonOf } from "#api";
import { countOf } from "#core";

/** The layers of an adapter, as the API describes them. */
export type Layers = JsonOf<"/v1/adapters/{name}/layers">;
type Pool = Layers["pools"][number];

/** A pool of one type of layer, and what its layers take from it. */
export interface PoolUse extends Pick<Pool, "side" | "unit" | "shared"> {
  /** Rows of the pool, of which the first `shared` are for all layers. */
  readonly rows: number;
  /** Rows of one vector of A or B. */
  readonly perVector: number;
  readonly rank: number;
  /** By layer: the rows of its vectors, in order. */
  readonly layers: readonly (readonly number[])[];
}

/** What is pointed at: a layer, or a row of one of the pools. */
export type Focus =
  | { readonly layer: number; readonly side?: undefined }
  | { readonly side: PoolUse["side"]; readonly row: number; readonly layer?: number };

/** The pools of a type of layer; none for methods without pools. */
export function poolsOf(
  { pools, modules, rank, shards_per_vector }: Layers,
  target: string,
): readonly PoolUse[] {
  const own = modules.filter((module) => module.target === target).sort((a, b) => a.layer - b.layer);
  return pools
    .filter((pool) => pool.target === target)
    .map(({ side, unit, shared, private: ownRows }) => ({
      ...{ side, unit, shared, rank, rows: shared + ownRows, perVector: shards_per_vector ?? 1 },
      layers: own.map(({ rows_a, rows_b }) => (side === "B" ? rows_b : rows_a) ?? []),
    }));
}

/** The layers that use a row. */
export const layersUsing = ({ layers }: PoolUse, row: number): readonly number[] =>
  layers.flatMap((rows, layer) => (rows.includes(row) ? [layer] : []));

const list = (items: readonly (number | string)[]): string =>
  items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;

/** The layers that have most public rows in common with one. */
function closest(
  { layers, shared }: PoolUse,
  layer: number,
): { readonly with: number[]; readonly count: number } {
  const own = new Set(layers[layer]?.filter((row) => row < shared));
  const common = layers.map((rows, other) =>
    other === layer ? 0 : rows.filter((row) => own.has(row)).length,
  );
  const count = Math.max(0, ...common);
  return { with: common.flatMap((one, other) => (one === count ? [other] : [])), count };
}

function layerInWords(pool: PoolUse, layer: number): string {
  const rows = pool.layers[layer] ?? [];
  const shared = rows.filter((row) => row < pool.shared).length;
  const own = rows.length - shared;
  const { with: others, count } = closest(pool, layer);
  const common =
    count === 0
      ? ""
      : `, ${count} of them also in layer${others.length > 1 ? "s" : ""} ${list(others.slice(0, 4))}`;
  const mine = own === 0 ? "" : `, and ${own} of its own`;
  return `${pool.side}: ${shared} of ${countOf(pool.shared, `public ${pool.unit}`)}${common}${mine}`;
}

/** What is pointed at, in words; undefined where nothing is. */
export function inWords(pools: readonly PoolUse[], focus: Focus | undefined): string | undefined {
  if (focus === undefined) return undefined;
  if (focus.side === undefined)
    return `Layer ${focus.layer}. ${pools.map((pool) => layerInWords(pool, focus.layer)).join(". ")}.`;
  const pool = pools.find(({ side }) => side === focus.side);
  if (pool === undefined) return undefined;
  const users = layersUsing(pool, focus.row);
  const name = `${pool.unit === "shard" ? "Shard" : "Pair"} ${focus.row} of ${pool.side}`;
  if (focus.row >= pool.shared) return `${name} is private to layer ${list(users)}.`;
  if (users.length === 0) return `${name} is public; no layer uses it.`;
  return `${name} is public: layer${users.length > 1 ? "s" : ""} ${list(users)} ${users.length > 1 ? "use" : "uses"} it.`;
}

/** Sizes and places of a drawing, in CSS pixels. */
export interface Layout {
  readonly width: number;
  readonly height: number;
  readonly cell: { readonly width: number; readonly height: number };
  /** Cells of a line: those of a layer, and as many rows of the pool. */
  readonly columns: number;
  xOf(column: number): number;
  yOfLayer(layer: number): number;
  /** Place of a row of the pool. */
  placeOf(row: number): { readonly x: number; readonly y: number };
  /** Tops of the three parts; `owned` is undefined without private rows. */
  readonly tops: { readonly shared?: number; readonly owned?: number; readonly layers: number };
  /** What is at a point. */
  hit(x: number, y: number): Focus | undefined;
}

/** Room for names at the left, between parts, and for their titles. */
const [GUTTER, TITLE, PART_GAP] = [28, 20, 12];
const MOST_CELL = 18;

/** Lays out a pool above its layers, whose lines are as long as those of the pool: the areas compare what is trained and what is made of it. */
export function layOut(pool: PoolUse, width: number): Layout {
  const { rank, perVector, layers, shared, rows, side } = pool;
  const columns = Math.max(1, rank * perVector);
  const room = Math.max(columns, width - GUTTER);
  const vectorGap = room / columns >= 6 ? 3 : room / columns >= 2 ? 1 : 0;
  const fitting = (room - (rank - 1) * vectorGap) / columns;
  // whole pixels are sharp; below two of them there are none to lose
  const cellWidth = Math.min(MOST_CELL, fitting >= 2 ? Math.floor(fitting) : fitting);
  const lineGap = cellWidth >= 4 ? 2 : 1;
  const cellHeight = Math.max(3, Math.min(14, Math.floor(420 / Math.max(1, layers.length)) - lineGap));
  const pitch = cellHeight + lineGap;
  const linesOf = (count: number): number => Math.ceil(count / columns);
  const xOf = (column: number): number =>
    GUTTER + column * cellWidth + Math.floor(column / perVector) * vectorGap;
  const hasOwn = rows > shared;
  const sharedTop = TITLE;
  const ownedTop = shared === 0 ? TITLE : sharedTop + linesOf(shared) * pitch + PART_GAP + TITLE;
  const poolEnd = hasOwn ? ownedTop + linesOf(rows - shared) * pitch : sharedTop + linesOf(shared) * pitch;
  const layersTop = poolEnd + PART_GAP + TITLE;
  const placeOf = (row: number) => {
    const [at, top] = row < shared ? [row, sharedTop] : [row - shared, ownedTop];
    return { x: xOf(at % columns), y: top + Math.floor(at / columns) * pitch };
  };
  const columnAt = (x: number): number => {
    const perGroup = perVector * cellWidth + vectorGap;
    const group = Math.floor((x - GUTTER) / perGroup);
    const within = Math.floor((x - GUTTER - group * perGroup) / cellWidth);
    return x < GUTTER || within >= perVector || group >= rank ? -1 : group * perVector + within;
  };
  const poolRowAt = (column: number, y: number): number | undefined => {
    if (column < 0) return undefined;
    if (y >= layersTop - TITLE) return undefined;
    const isOwned = hasOwn && y >= ownedTop;
    const line = Math.floor((y - (isOwned ? ownedTop : sharedTop)) / pitch);
    const row = (isOwned ? shared : 0) + line * columns + column;
    return line < 0 || row >= (isOwned ? rows : shared) ? undefined : row;
  };
  return {
    ...{ width, columns, xOf, placeOf },
    height: layersTop + layers.length * pitch,
    cell: { width: cellWidth, height: cellHeight },
    yOfLayer: (layer) => layersTop + layer * pitch,
    tops: {
      ...(shared === 0 ? {} : { shared: sharedTop }),
      ...(hasOwn ? { owned: ownedTop } : {}),
      layers: layersTop,
    },
    hit(x, y) {
      const column = columnAt(x);
      const layer = Math.floor((y - layersTop) / pitch);
      if (layer >= layers.length) return undefined;
      if (layer >= 0) {
        const row = layers[layer]?.[column];
        return row === undefined ? { layer } : { side, row, layer };
      }
      const row = poolRowAt(column, y);
      return row === undefined ? undefined : { side, row };
    },
  };
}
