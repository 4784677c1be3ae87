// Update size by layer: a bar for each, by type of layer.
import { type Signal, useSignal } from "@preact/signals";
import { formatLoss } from "#core";
import { Tabs } from "#ui";
import type { Focus, Layers } from "./pool-use.ts";
import "./norms.css";

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
type Module = Layers["modules"][number];

interface NormsProps {
  readonly layers: Layers;
  readonly focus: Signal<Focus | undefined>;
}

/** Norms of all layers, one of four at a time; pointing at a layer marks it here and in the picture. */
export function Norms({ layers, focus }: NormsProps) {
  const metric = useSignal<Metric>("norm_update");
  const { modules, targets } = layers;
  const chosen = METRICS.find(({ id }) => id === metric.value) ?? METRICS[0];
  const most = Math.max(...modules.map((module) => module[metric.value]));
  return (
    <Tabs
      label="Norm"
      tabs={METRICS}
      value={metric.value}
      onChange={(id) => {
        metric.value = id as Metric;
      }}
    >
      <div class="norms" onPointerLeave={() => unfocus(focus)}>
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

const unfocus = (focus: Signal<Focus | undefined>): void => {
  if (focus.value?.side === undefined) focus.value = undefined;
};

interface BarsProps extends Pick<NormsProps, "focus"> {
  readonly target: string;
  readonly modules: readonly Module[];
  readonly metric: Metric;
  /** The largest value of all types. */
  readonly most: number;
}

const HEIGHT = 40;

function Bars({ target, modules, metric, most, focus }: BarsProps) {
  const values = modules.map((module) => module[metric]);
  const marked = focus.value?.side === undefined ? focus.value?.layer : undefined;
  const shown = marked === undefined ? undefined : modules[marked];
  const [least, largest] = [Math.min(...values), Math.max(...values)];
  return (
    <div class="bars">
      <span class="mono">{target}</span>
      <svg
        viewBox={`0 0 ${modules.length} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${target}: from ${formatLoss(least)} to ${formatLoss(largest)} in ${modules.length} layers`}
      >
        {modules.map((module) => {
          const height = most > 0 ? Math.max(0.75, (module[metric] / most) * HEIGHT) : 0.75;
          const isMarked = module.layer === marked;
          return (
            <g
              key={module.layer}
              class={isMarked ? "bar marked" : "bar"}
              onPointerEnter={() => {
                focus.value = { layer: module.layer };
              }}
            >
              <rect class="reach" x={module.layer} y={0} width={1} height={HEIGHT} />
              <rect x={module.layer + 0.1} y={HEIGHT - height} width={0.8} height={height} />
            </g>
          );
        })}
      </svg>
      <span class="value">
        {shown === undefined ? "" : `layer ${shown.layer}: ${formatLoss(shown[metric])}`}
      </span>
    </div>
  );
}
