// Draws a pool: every shard has a colour of its own, in the pool and wherever a layer uses it.
import type { Focus, Layout, PoolUse } from "./pool-use.ts";

/** What a drawing is made with: the page's colours, which a canvas cannot look up by itself. */
export interface Palette {
  readonly isDark: boolean;
  readonly text: string;
  readonly muted: string;
  readonly font: string;
}

/** Hues of the pool from its first public row to its last: the page's accent, and on through red to yellow. */
const [FIRST_HUE, HUES] = [264, 180];
/** Neighbours differ in lightness, as hundreds of hues cannot be told apart. */
const STEPS = [0, 0.07, -0.06];

const publicColour = ({ shared }: PoolUse, row: number, isDark: boolean): string => {
  const hue = (FIRST_HUE + (HUES * row) / Math.max(1, shared)) % 360;
  const lightness = (isDark ? 0.7 : 0.64) + (STEPS[row % STEPS.length] ?? 0);
  return `oklch(${lightness} ${isDark ? 0.13 : 0.15} ${hue.toFixed(1)})`;
};

/** Private rows are grey, in two shades that change from layer to layer. */
function privateColour({ rows, shared, layers }: PoolUse, row: number, isDark: boolean): string {
  const perLayer = Math.max(1, (rows - shared) / Math.max(1, layers.length));
  const isOdd = Math.floor((row - shared) / perLayer) % 2 === 1;
  return `oklch(${isDark ? (isOdd ? 0.44 : 0.52) : isOdd ? 0.79 : 0.72} 0.012 260)`;
}

const known = new WeakMap<PoolUse, { readonly isDark: boolean; readonly colours: readonly string[] }>();

/** The colours of all rows, made once: a pool is drawn at every move of the pointer. */
function coloursOf(pool: PoolUse, isDark: boolean): readonly string[] {
  const found = known.get(pool);
  if (found?.isDark === isDark) return found.colours;
  const colours = Array.from({ length: pool.rows }, (_, row) =>
    row < pool.shared ? publicColour(pool, row, isDark) : privateColour(pool, row, isDark),
  );
  known.set(pool, { isDark, colours });
  return colours;
}

/** Opacity of what is not pointed at. */
const DIM = 0.13;

/** Whether a cell belongs to what is pointed at; `layer` is undefined in the pool. */
function isLit(pool: PoolUse, row: number, { layer, focus }: { layer?: number; focus: Focus | undefined }) {
  if (focus === undefined) return true;
  if (focus.side !== undefined) return focus.side === pool.side && focus.row === row;
  if (layer !== undefined) return focus.layer === layer;
  return pool.layers[focus.layer]?.includes(row) === true;
}

/** Draws pool and layers on a context whose unit is a CSS pixel. */
export function drawPool(
  context: CanvasRenderingContext2D,
  {
    pool,
    layout,
    focus,
    palette,
  }: {
    readonly pool: PoolUse;
    readonly layout: Layout;
    readonly focus: Focus | undefined;
    readonly palette: Palette;
  },
): void {
  const { cell } = layout;
  context.clearRect(0, 0, layout.width, layout.height);
  const colours = coloursOf(pool, palette.isDark);
  const radius = Math.min(2, cell.width / 4);
  const paint = (row: number, { x, y }: { readonly x: number; readonly y: number }, layer?: number): void => {
    context.globalAlpha = isLit(pool, row, { ...(layer === undefined ? {} : { layer }), focus }) ? 1 : DIM;
    context.fillStyle = colours[row] ?? palette.muted;
    context.beginPath();
    // a hair of space between cells, but none where they are thinner than that
    const width = cell.width >= 4 ? cell.width - 1 : cell.width;
    if (radius < 1) context.rect(x, y, width, cell.height);
    else context.roundRect(x, y, width, cell.height, radius);
    context.fill();
  };
  for (let row = 0; row < pool.rows; row++) paint(row, layout.placeOf(row));
  pool.layers.forEach((rows, layer) => {
    const y = layout.yOfLayer(layer);
    rows.forEach((row, column) => {
      paint(row, { x: layout.xOf(column), y }, layer);
    });
  });
  drawNames(context, { pool, layout, focus, palette });
}

/** Titles of the parts, and numbers of the layers, as many as there is room for. */
function drawNames(
  context: CanvasRenderingContext2D,
  { pool, layout, focus, palette }: Parameters<typeof drawPool>[1],
): void {
  const { tops, cell } = layout;
  context.globalAlpha = 1;
  context.textBaseline = "alphabetic";
  const title = (text: string, top: number): void => {
    context.fillStyle = palette.muted;
    context.font = `11px ${palette.font}`;
    context.textAlign = "left";
    context.fillText(text, layout.xOf(0), top - 7);
  };
  const units = `${pool.unit}s`;
  if (tops.shared !== undefined) title(`${pool.shared} public ${units}`, tops.shared);
  if (tops.owned !== undefined) title(`${pool.rows - pool.shared} private ${units}`, tops.owned);
  title(`${pool.layers.length} layers`, tops.layers);
  const every = Math.ceil(12 / (cell.height + 2));
  context.textAlign = "right";
  context.font = `10px ${palette.font}`;
  pool.layers.forEach((rows, layer) => {
    const isFocus = focus?.side === undefined ? focus?.layer === layer : isUsed(pool, focus, rows);
    if (layer % every !== 0 && !isFocus) return;
    context.fillStyle = isFocus ? palette.text : palette.muted;
    context.globalAlpha = focus === undefined || isFocus ? 1 : 0.4;
    context.fillText(String(layer), layout.xOf(0) - 8, layout.yOfLayer(layer) + cell.height / 2 + 3.5);
  });
  context.globalAlpha = 1;
}

const isUsed = ({ side }: PoolUse, focus: Focus, rows: readonly number[]): boolean =>
  focus.side === side && rows.includes(focus.row);
