// The layers of an adapter: the picture of MoS for one type of layer, the norms of all, and both as a table.
import { type Signal, useSignal } from "@preact/signals";
import { formatLoss } from "#core";
import { Tabs } from "#ui";
import { Norms } from "./norms.tsx";
import { type Focus, type Layers, type PoolUse, poolsOf } from "./pool-use.ts";
import { Shards } from "./shards.tsx";

interface LayersPictureProps {
  readonly layers: Layers;
  readonly focus: Signal<Focus | undefined>;
}

/** Pools, layers and norms, tied by what is pointed at. */
export function LayersPicture({ layers, focus }: LayersPictureProps) {
  const { targets, pools, is_cut: isCut } = layers;
  const target = useSignal(targets[0] ?? "");
  const hasPools = pools.length > 0 && !isCut;
  return (
    <>
      {hasPools && (
        <section class="card stack">
          <h2>Shards by layer</h2>
          <Tabs
            label="Layer type"
            tabs={targets.map((id) => ({ id, title: id }))}
            value={target.value}
            onChange={(id) => {
              target.value = id;
              focus.value = undefined;
            }}
          >
            <Shards {...{ layers, focus, target: target.value }} />
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
        <summary>Layers of {target.value} as a table</summary>
        <LayerTable {...{ layers, target: target.value }} />
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

const shardCell = ({ layers, shared }: PoolUse, layer: number): string => {
  const rows = layers[layer] ?? [];
  const own = rows.filter((row) => row >= shared);
  return `${ranges(rows.filter((row) => row < shared))}${own.length === 0 ? "" : `; own ${ranges(own)}`}`;
};

function LayerTable({ layers, target }: { readonly layers: Layers; readonly target: string }) {
  const pools = layers.is_cut ? [] : poolsOf(layers, target);
  const modules = layers.modules.filter((module) => module.target === target);
  return (
    <div class="scroll">
      <table>
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
          {modules.map(({ layer, norm_a, norm_b, norm_update, stable_rank }) => (
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
