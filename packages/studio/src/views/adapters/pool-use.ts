// The picture of MoS as data: the pools of one type of layer, the rows that each layer takes from them, where a drawing puts
// them, and what it says of them in words.
import type { JsonOf } from "#api";
import { countOf } from "#core";

/** The layers of an adapter, as the API describes them. */
export type Layers = JsonOf<"/v1/adapters/{name}/layers">;
type Pool = Layers["pools"][number];

/** The linear layers of one name and width, which share pools: a part of the picture. */
export interface LayerType {
  /** "o_proj", or "o_proj 2048 → 1024" where the model has it in several widths. */
  readonly title: string;
  readonly target: string;
  readonly pools: readonly Pool[];
}

/** A pool of one type of layer, and what its layers take from it. */
export interface PoolUse extends Pick<Pool, "side" | "unit" | "shared"> {
  /** Rows of the pool, of which the first `shared` are for all layers. */
  readonly rows: number;
  /** Rows of one vector of A or B. */
  readonly perVector: number;
  readonly rank: number;
  /** The layers that use it, with the rows of their vectors, in order. */
  readonly layers: readonly { readonly layer: number; readonly rows: readonly number[] }[];
}

/** What is pointed at: a layer, or a row of one of the pools. */
export type Focus =
  | { readonly layer: number; readonly side?: undefined }
  | { readonly side: PoolUse["side"]; readonly row: number; readonly layer?: number };

/** The types of layers, those of one name beside each other. */
export const layerTypes = ({ targets, pools }: Layers): readonly LayerType[] =>
  targets.flatMap((target): readonly LayerType[] => {
    const widths = new Map<string, Pool[]>();
    for (const pool of pools.filter((one) => one.target === target)) {
      const width = `${pool.in} → ${pool.out}`;
      widths.set(width, [...(widths.get(width) ?? []), pool]);
    }
    if (widths.size < 2) return [{ title: target, target, pools: [...widths.values()].flat() }];
    return [...widths].map(([width, own]) => ({ title: `${target} ${width}`, target, pools: own }));
  });

/** The modules of a type of layer, by layer. */
export const modulesOf = ({ modules }: Layers, { target, pools: [pool] }: LayerType): Layers["modules"] =>
  modules
    .filter((module) => module.target === target && pool?.layers.includes(module.layer) !== false)
    .sort((a, b) => a.layer - b.layer);

/** The pools of a type of layer as its layers use them; none for methods without pools. */
export function poolsOf(layers: Layers, type: LayerType): readonly PoolUse[] {
  const { rank, shards_per_vector } = layers;
  const own = modulesOf(layers, type);
  return type.pools.map(({ side, unit, shared, private: ownRows }) => ({
    ...{ side, unit, shared, rank, rows: shared + ownRows, perVector: shards_per_vector ?? 1 },
    layers: own.map(({ layer, rows_a, rows_b }) => ({
      layer,
      rows: (side === "B" ? rows_b : rows_a) ?? [],
    })),
  }));
}

/** The rows that a layer takes. */
export const rowsOf = ({ layers }: PoolUse, layer: number): readonly number[] =>
  layers.find((one) => one.layer === layer)?.rows ?? [];

/** The layers that use a row. */
export const layersUsing = ({ layers }: PoolUse, row: number): readonly number[] =>
  layers.flatMap(({ layer, rows }) => (rows.includes(row) ? [layer] : []));

const list = (items: readonly (number | string)[]): string =>
  items.length < 2 ? items.join("") : `${items.slice(0, -1).join(", ")} and ${items.at(-1)}`;

/** The layers that have most public rows in common with one. */
function closest(pool: PoolUse, layer: number): { readonly with: number[]; readonly count: number } {
  const own = new Set(rowsOf(pool, layer).filter((row) => row < pool.shared));
  const common = pool.layers.map((other) => ({
    layer: other.layer,
    count: other.layer === layer ? 0 : other.rows.filter((row) => own.has(row)).length,
  }));
  const count = Math.max(0, ...common.map((one) => one.count));
  return { with: common.flatMap((one) => (one.count === count ? [one.layer] : [])), count };
}

function layerInWords(pool: PoolUse, layer: number): string {
  const rows = rowsOf(pool, layer);
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
    return pools.some(({ layers }) => layers.some(({ layer }) => layer === focus.layer))
      ? `Layer ${focus.layer}. ${pools.map((pool) => layerInWords(pool, focus.layer)).join(". ")}.`
      : `Layer ${focus.layer} has none of these.`;
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
  /** Top of a line of layers, by its place among them. */
  yOfLine(line: number): number;
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
  const { rank, perVector, layers, shared, rows: poolRows, side } = pool;
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
  const hasOwn = poolRows > shared;
  const sharedTop = TITLE;
  const ownedTop = shared === 0 ? TITLE : sharedTop + linesOf(shared) * pitch + PART_GAP + TITLE;
  const poolEnd = hasOwn
    ? ownedTop + linesOf(poolRows - shared) * pitch
    : sharedTop + linesOf(shared) * pitch;
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
    return line < 0 || row >= (isOwned ? poolRows : shared) ? undefined : row;
  };
  return {
    ...{ width, columns, xOf, placeOf },
    height: layersTop + layers.length * pitch,
    cell: { width: cellWidth, height: cellHeight },
    yOfLine: (line) => layersTop + line * pitch,
    tops: {
      ...(shared === 0 ? {} : { shared: sharedTop }),
      ...(hasOwn ? { owned: ownedTop } : {}),
      layers: layersTop,
    },
    hit(x, y) {
      const column = columnAt(x);
      const line = Math.floor((y - layersTop) / pitch);
      if (line >= layers.length) return undefined;
      const found = layers[line];
      if (found !== undefined) {
        const { layer, rows } = found;
        const row = rows[column];
        return row === undefined ? { layer } : { side, row, layer };
      }
      const row = poolRowAt(column, y);
      return row === undefined ? undefined : { side, row };
    },
  };
}
