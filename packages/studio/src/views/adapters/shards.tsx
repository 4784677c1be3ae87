// The picture of MoS: the pools of a type of layer, and below them its layers, each woven from their shards.
import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from "preact/hooks";
import { isDark } from "#ui";
import { drawPool } from "./draw-pool.ts";
import { type Focus, inWords, type Layers, layOut, type PoolUse, poolsOf } from "./pool-use.ts";
import "./shards.css";

interface ShardsProps {
  readonly layers: Layers;
  readonly target: string;
  /** What is pointed at, here or in another drawing of the same layers. */
  readonly focus: Signal<Focus | undefined>;
}

/** Pools and layers of A and B, beside each other where there is room, and in words what is pointed at. */
export function Shards({ layers, target, focus }: ShardsProps) {
  const pools = useMemo(() => poolsOf(layers, target), [layers, target]);
  const pinned = useSignal(false);
  const [first] = pools;
  if (first === undefined) return null;
  const words = inWords(pools, focus.value);
  const leave = (): void => {
    if (!pinned.value) focus.value = undefined;
  };
  return (
    <figure class="shards">
      <figcaption>{caption(first, layers)}</figcaption>
      <p class="words" role="status">
        {words ?? <span class="muted">Hover over a shard or a layer number for details. Click to pin.</span>}
      </p>
      <div
        class="pools"
        role="application"
        // biome-ignore lint/a11y/noNoninteractiveTabindex: arrows move through the picture
        tabIndex={0}
        aria-label={`Shards of ${target}. Arrows up and down go from layer to layer, left and right through its shards.`}
        onKeyDown={(event) => {
          const next = moved(pools, focus.value, event.key);
          if (next === undefined) return;
          event.preventDefault();
          pinned.value = next !== "nothing";
          focus.value = next === "nothing" ? undefined : next;
        }}
        onPointerLeave={leave}
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
  const count = pools[0]?.layers.length ?? 0;
  const step = { ArrowDown: 1, ArrowUp: -1 }[key];
  if (step !== undefined) return { layer: ((focus?.layer ?? (step > 0 ? -1 : 0)) + step + count) % count };
  if (key !== "ArrowRight" && key !== "ArrowLeft") return undefined;
  return besides(pools, focus, key === "ArrowRight" ? 1 : -1);
}

/** The shard beside the one that is pointed at in its layer: through those of A, then of B. */
function besides(pools: readonly PoolUse[], focus: Focus | undefined, step: 1 | -1): Focus | undefined {
  const layer = focus?.layer ?? 0;
  const cells = pools.flatMap(({ side, layers }) =>
    (layers[layer] ?? []).map((row) => ({ side, row, layer })),
  );
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
    const { color, fontFamily } = getComputedStyle(drawn);
    const muted = getComputedStyle(drawn).getPropertyValue("outline-color");
    drawPool(context, {
      ...{ pool, layout, focus: pointed },
      palette: { isDark: dark, text: color, muted, font: fontFamily },
    });
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
