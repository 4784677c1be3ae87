// The layers of an adapter: the picture of MoS for one type of layer, the norms of all, and both as a table.
import { type Signal, useSignal } from "@preact/signals";
import { useMemo } from "preact/hooks";
import { formatLoss, set } from "#core";
import { Tabs } from "#ui";
import {
  type Focus,
  type Layers,
  type LayerType,
  layerTypes,
  modulesOf,
  type PoolUse,
  poolsOf,
  rowsOf,
} from "./pool-use.ts";
import { Shards } from "./shards.tsx";

interface LayersPictureProps {
  readonly layers: Layers;
  readonly focus: Signal<Focus | undefined>;
}

/** Pools, layers and norms, tied by what is pointed at. */
export function LayersPicture({ layers, focus }: LayersPictureProps) {
  const { pools, is_cut: isCut } = layers;
  const types = useMemo(() => layerTypes(layers), [layers]);
  const chosen = useSignal(types[0]?.title ?? "");
  const type = types.find(({ title }) => title === chosen.value);
  const hasPools = pools.length > 0 && !isCut;
  return (
    <>
      {hasPools && (
        <section class="card stack">
          <h2>Shards by layer</h2>
          <Tabs
            label="Layer type"
            tabs={types.map(({ title }) => ({ id: title, title }))}
            value={chosen.value}
            onChange={(id) => {
              chosen.value = id;
              focus.value = undefined;
            }}
          >
            {type && <Shards {...{ layers, focus, type }} />}
          </Tabs>
        </section>
      )}
      {isCut && (
        <p class="card muted">
          This adapter has so many shards that they are not drawn; <code>mos inspect</code> counts them.
        </p>
      )}
      <section class="card stack">
        <h2>Update size by layer</h2>
        <Norms {...{ layers, focus }} />
      </section>
      <details class="card as-table">
        <summary>Layers of {chosen.value} as a table</summary>
        {type && <LayerTable {...{ layers, type }} />}
      </details>
    </>
  );
}

/** Whole numbers, with runs as first–last. */
function ranges(rows: readonly number[]): string {
  const sorted = [...rows].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let i = 0; i < sorted.length; ) {
    let end = i;
    while (sorted[end + 1] === (sorted[end] ?? 0) + 1) end++;
    parts.push(end > i + 1 ? `${sorted[i]}–${sorted[end]}` : sorted.slice(i, end + 1).join(", "));
    i = end + 1;
  }
  return parts.join(", ");
}

const shardCell = (pool: PoolUse, layer: number): string => {
  const { shared } = pool;
  const rows = rowsOf(pool, layer);
  const own = rows.filter((row) => row >= shared);
  return `${ranges(rows.filter((row) => row < shared))}${own.length === 0 ? "" : `; own ${ranges(own)}`}`;
};

function LayerTable({ layers, type }: { readonly layers: Layers; readonly type: LayerType }) {
  const pools = layers.is_cut ? [] : poolsOf(layers, type);
  return (
    <div class="scroll">
      <table class="small">
        <thead>
          <tr>
            <th scope="col">Layer</th>
            {pools.map(({ side, unit }) => (
              <th key={side} scope="col">
                {unit === "shard" ? `Shards of ${side}` : "Pairs"}
              </th>
            ))}
            <th scope="col">‖A‖</th>
            <th scope="col">‖B‖</th>
            <th scope="col">‖update‖</th>
            <th scope="col">Stable rank</th>
          </tr>
        </thead>
        <tbody>
          {modulesOf(layers, type).map(({ layer, norm_a, norm_b, norm_update, stable_rank }) => (
            <tr key={layer}>
              <th scope="row">{layer}</th>
              {pools.map((pool) => (
                <td key={pool.side}>{shardCell(pool, layer)}</td>
              ))}
              {[norm_a, norm_b, norm_update, stable_rank].map((value, i) => (
                <td key={i} class="end">
                  {formatLoss(value)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

const METRICS = [
  {
    id: "norm_update",
    title: "Update",
    says: "how far the adapter moves the layer: the Frobenius norm of scale · B A",
  },
  { id: "norm_a", title: "A", says: "the Frobenius norm of A" },
  { id: "norm_b", title: "B", says: "the Frobenius norm of B, which is zero before training" },
  {
    id: "stable_rank",
    title: "Stable rank",
    says: "how many directions of the update count, at most its rank",
  },
] as const;

type Metric = (typeof METRICS)[number]["id"];

/** Norms of all layers, one of four at a time; pointing at a layer marks it here and in the picture. */
function Norms({ layers, focus }: LayersPictureProps) {
  const metric = useSignal<Metric>("norm_update");
  const { modules, targets } = layers;
  const chosen = METRICS.find(({ id }) => id === metric.value) ?? METRICS[0];
  const most = Math.max(...modules.map((module) => module[metric.value]));
  return (
    <Tabs label="Norm" tabs={METRICS} value={metric.value} onChange={(id) => set(metric, id as Metric)}>
      <div class="stack norms" onPointerLeave={() => focus.value?.side ?? set(focus, undefined)}>
        {targets.map((target) => (
          <Bars
            key={target}
            {...{ target, most, focus, metric: metric.value }}
            modules={modules.filter((module) => module.target === target)}
          />
        ))}
      </div>
      <p class="muted">
        A bar is a layer, the first at the left. Its height is {chosen.says};{" "}
        {most > 0 ? `the tallest is ${formatLoss(most)}` : "all are zero"}.
      </p>
    </Tabs>
  );
}

interface BarsProps extends Pick<LayersPictureProps, "focus"> {
  readonly target: string;
  readonly modules: Layers["modules"];
  readonly metric: Metric;
  /** The largest value of all types. */
  readonly most: number;
}

const HEIGHT = 40;

function Bars({ target, modules, metric, most, focus }: BarsProps) {
  const values = modules.map((module) => module[metric]);
  const marked = focus.value?.side === undefined ? focus.value?.layer : undefined;
  const shown = modules.find((module) => module.layer === marked);
  const [least, largest] = [Math.min(...values), Math.max(...values)];
  return (
    <div class="bars">
      <span class="mono muted cut">{target}</span>
      <svg
        viewBox={`0 0 ${modules.length} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${target}: from ${formatLoss(least)} to ${formatLoss(largest)} in ${modules.length} layers`}
      >
        {modules.map((module, x) => {
          const height = most > 0 ? Math.max(0.75, (module[metric] / most) * HEIGHT) : 0.75;
          const isMarked = module.layer === marked;
          return (
            <g
              key={module.layer}
              class={isMarked ? "bar marked" : "bar"}
              onPointerEnter={() => set(focus, { layer: module.layer })}
            >
              <rect class="reach" x={x} y={0} width={1} height={HEIGHT} />
              <rect x={x + 0.1} y={HEIGHT - height} width={0.8} height={height} />
            </g>
          );
        })}
      </svg>
      <span class="value muted small">
        {shown === undefined ? "" : `layer ${shown.layer}: ${formatLoss(shown[metric])}`}
      </span>
    </div>
  );
}
