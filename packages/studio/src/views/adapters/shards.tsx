// The picture of MoS: the pools of a type of layer, and below them its layers, each woven from their shards.
import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { set } from "#core";
import { isDark } from "#ui";
import {
  type Focus,
  inWords,
  type Layers,
  type LayerType,
  type Layout,
  layOut,
  type PoolUse,
  poolsOf,
  rowsOf,
} from "./pool-use.ts";

interface ShardsProps {
  readonly layers: Layers;
  readonly type: LayerType;
  /** What is pointed at, here or in another drawing of the same layers. */
  readonly focus: Signal<Focus | undefined>;
}

/** Pools and layers of A and B, beside each other where there is room, and in words what is pointed at. */
export function Shards({ layers, type, focus }: ShardsProps) {
  const pools = useMemo(() => poolsOf(layers, type), [layers, type]);
  const pinned = useSignal(false);
  const [first] = pools;
  if (first === undefined) return null;
  const words = inWords(pools, focus.value);
  return (
    <figure class="stack shards">
      <figcaption class="muted">{caption(first, layers)}</figcaption>
      <p class="words" role="status">
        {words ?? <span class="muted">Hover over a shard or a layer number for details. Click to pin.</span>}
      </p>
      <div
        class="pools"
        role="application"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: arrows move through the picture
        tabIndex={0}
        aria-label={`Shards of ${type.title}. Arrows up and down go from layer to layer, left and right through its shards.`}
        onKeyDown={(event) => {
          const next = moved(pools, focus.value, event.key);
          if (next === undefined) return;
          event.preventDefault();
          pinned.value = next !== "nothing";
          focus.value = next === "nothing" ? undefined : next;
        }}
        onPointerLeave={() => pinned.value || set(focus, undefined)}
        onBlur={() => {
          pinned.value = false;
          focus.value = undefined;
        }}
      >
        {pools.map((pool) => (
          <Drawing key={pool.side} {...{ pool, focus, pinned }} />
        ))}
      </div>
    </figure>
  );
}

/** What the picture shows, in one sentence or two. */
function caption(
  { rank, perVector, rows, shared, unit, layers: { length } }: PoolUse,
  { method }: Layers,
): string {
  if (unit === "pair")
    return `Every line is a layer. It uses ${rank} of the ${shared} pairs of vectors at the top, in which a colour is one pair: only those are trained, and layers share them.`;
  const own = rows > shared ? "; grey ones belong to one layer" : "";
  return `Every line is a layer: its ${rank} vectors are each joined from ${perVector} shards of the pool at the top, and the same colour is the same shard. Layers share the coloured ones${own}. ${method === "mos" ? `Only the pool is trained: ${rows} shards stand in for ${length * rank * perVector}.` : ""}`;
}

/** Where a key goes from what is pointed at; "nothing" for Escape, undefined for keys that go nowhere. */
function moved(
  pools: readonly PoolUse[],
  focus: Focus | undefined,
  key: string,
): Focus | "nothing" | undefined {
  if (key === "Escape") return focus === undefined ? undefined : "nothing";
  const lines = pools[0]?.layers ?? [];
  const step = { ArrowDown: 1, ArrowUp: -1 }[key];
  if (step !== undefined) {
    const at = lines.findIndex(({ layer }) => layer === focus?.layer);
    const next = lines[(Math.max(at, step > 0 ? -1 : 0) + step + lines.length) % lines.length];
    return next === undefined ? undefined : { layer: next.layer };
  }
  if (key !== "ArrowRight" && key !== "ArrowLeft") return undefined;
  return besides(pools, focus, key === "ArrowRight" ? 1 : -1);
}

/** The shard beside the one that is pointed at in its layer: through those of A, then of B. */
function besides(pools: readonly PoolUse[], focus: Focus | undefined, step: 1 | -1): Focus | undefined {
  const layer = focus?.layer ?? pools[0]?.layers[0]?.layer ?? 0;
  const cells = pools.flatMap((pool) => rowsOf(pool, layer).map((row) => ({ side: pool.side, row, layer })));
  const at = cells.findIndex((cell) => cell.side === focus?.side && cell.row === focus.row);
  const next = at < 0 ? Math.min(step, 0) : at + step;
  return cells[(next + cells.length) % cells.length];
}

interface DrawingProps extends Pick<ShardsProps, "focus"> {
  readonly pool: PoolUse;
  readonly pinned: Signal<boolean>;
}

function Drawing({ pool, focus, pinned }: DrawingProps) {
  const place = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [width, setWidth] = useState(0);
  const layout = useMemo(() => layOut(pool, width), [pool, width]);
  useLayoutEffect(() => {
    const element = place.current;
    if (element === null) return;
    const look = (): void => setWidth(Math.floor(element.clientWidth));
    look();
    const observer = new ResizeObserver(look);
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const [pointed, dark] = [focus.value, isDark.value];
  useEffect(() => {
    const context = canvas.current?.getContext("2d");
    if (context === null || context === undefined || width === 0) return;
    const scale = devicePixelRatio;
    const { canvas: drawn } = context;
    const size = [Math.round(width * scale), Math.round(layout.height * scale)] as const;
    if (drawn.width !== size[0] || drawn.height !== size[1]) [drawn.width, drawn.height] = size;
    context.setTransform(scale, 0, 0, scale, 0, 0);
    const { color: text, fontFamily: font, outlineColor: muted } = getComputedStyle(drawn);
    drawPool(context, { pool, layout, focus: pointed, palette: { isDark: dark, text, muted, font } });
  }, [pool, layout, pointed, dark, width]);
  const at = (event: MouseEvent): Focus | undefined => {
    const { left, top } = (event.currentTarget as Element).getBoundingClientRect();
    return layout.hit(event.clientX - left, event.clientY - top);
  };
  return (
    <div class="pool" ref={place}>
      <h3>{pool.side === "A and B" ? "Factors A and B" : `Factor ${pool.side}`}</h3>
      <canvas
        ref={canvas}
        style={{ width: `${width}px`, height: `${layout.height}px` }}
        onPointerMove={(event) => {
          const found = at(event);
          if (!(pinned.value || sameFocus(found, focus.value))) focus.value = found;
        }}
        onClick={(event) => {
          const found = at(event);
          pinned.value = found !== undefined && !(pinned.value && sameFocus(found, focus.value));
          focus.value = found;
        }}
      />
    </div>
  );
}

const sameFocus = (a: Focus | undefined, b: Focus | undefined): boolean =>
  a?.side === b?.side && a?.layer === b?.layer && (a?.side === undefined || a.row === (b as typeof a).row);

/** What is drawn, and in the page's colours, which a canvas cannot look up by itself. */
interface Drawn {
  readonly pool: PoolUse;
  readonly layout: Layout;
  readonly focus: Focus | undefined;
  readonly palette: {
    readonly isDark: boolean;
    readonly text: string;
    readonly muted: string;
    readonly font: string;
  };
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
function isLit(
  pool: PoolUse,
  row: number,
  { layer, focus }: { layer: number | undefined; focus: Focus | undefined },
) {
  if (focus === undefined) return true;
  if (focus.side !== undefined) return focus.side === pool.side && focus.row === row;
  if (layer !== undefined) return focus.layer === layer;
  return rowsOf(pool, focus.layer).includes(row);
}

/** Draws pool and layers on a context whose unit is a CSS pixel. */
function drawPool(context: CanvasRenderingContext2D, drawn: Drawn): void {
  const { pool, layout, focus, palette } = drawn;
  const { cell } = layout;
  context.clearRect(0, 0, layout.width, layout.height);
  const colours = coloursOf(pool, palette.isDark);
  const radius = Math.min(2, cell.width / 4);
  const paint = (row: number, { x, y }: { readonly x: number; readonly y: number }, layer?: number): void => {
    context.globalAlpha = isLit(pool, row, { layer, focus }) ? 1 : DIM;
    context.fillStyle = colours[row] ?? palette.muted;
    context.beginPath();
    // a hair of space between cells, but none where they are thinner than that
    const width = cell.width >= 4 ? cell.width - 1 : cell.width;
    if (radius < 1) context.rect(x, y, width, cell.height);
    else context.roundRect(x, y, width, cell.height, radius);
    context.fill();
  };
  for (let row = 0; row < pool.rows; row++) paint(row, layout.placeOf(row));
  pool.layers.forEach(({ layer, rows }, line) => {
    const y = layout.yOfLine(line);
    rows.forEach((row, column) => {
      paint(row, { x: layout.xOf(column), y }, layer);
    });
  });
  drawNames(context, drawn);
}

/** Titles of the parts, and numbers of the layers, as many as there is room for. */
function drawNames(context: CanvasRenderingContext2D, { pool, layout, focus, palette }: Drawn): void {
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
  pool.layers.forEach(({ layer, rows }, line) => {
    const isFocus = focus?.side === undefined ? focus?.layer === layer : isUsed(pool, focus, rows);
    if (line % every !== 0 && !isFocus) return;
    context.fillStyle = isFocus ? palette.text : palette.muted;
    context.globalAlpha = focus === undefined || isFocus ? 1 : 0.4;
    context.fillText(String(layer), layout.xOf(0) - 8, layout.yOfLine(line) + cell.height / 2 + 3.5);
  });
  context.globalAlpha = 1;
}

const isUsed = ({ side }: PoolUse, focus: Focus, rows: readonly number[]): boolean =>
  focus.side === side && rows.includes(focus.row);
