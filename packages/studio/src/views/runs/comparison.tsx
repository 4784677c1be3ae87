// Marked runs side by side: their curves in one chart, and where their settings differ.
import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useMemo } from "preact/hooks";
import { api, hasEnded, type Run, type RunMetrics, usePoll } from "#api";
import { Chart, type Series } from "#chart";
import { formatCount, formatDuration, formatLoss, href, set } from "#core";
import { Button, Problem, Select, Status, Toggle } from "#ui";
import { compareSettings, distinctNames, durationOf } from "./run.ts";

/** Runs in one chart; beyond, nobody tells curves apart. */
const MAX_RUNS = 12;
const EVERY = 4000;
/** Points of a curve: more than a chart has pixels. */
const POINTS = 1500;

const CURVES = [
  { value: "loss", title: "Training loss" },
  { value: "validation", title: "Validation loss" },
  { value: "learning_rate", title: "Learning rate" },
  { value: "gradient_norm", title: "Gradient norm" },
  { value: "tokens_per_second", title: "Tokens per second" },
] as const;
type Curve = (typeof CURVES)[number]["value"];

export function RunComparison(props: { readonly runs: readonly Run[]; readonly onClear: () => void }) {
  const { runs, onClear } = props;
  const compared = runs.slice(0, MAX_RUNS);
  const names = distinctNames(compared);
  return (
    <section class="card stack comparison" aria-label="Comparison of runs">
      <div class="page-head">
        <h2>{compared.length === 1 ? names[0] : `${compared.length} runs compared`}</h2>
        {runs.length > MAX_RUNS && (
          <span class="muted">
            the first {MAX_RUNS} of {runs.length}
          </span>
        )}
        <Button icon="close" onClick={onClear}>
          Clear selection
        </Button>
      </div>
      <Curves runs={compared} names={names} />
      <Settings runs={compared} names={names} />
    </section>
  );
}

interface NamedRuns {
  readonly runs: readonly Run[];
  readonly names: readonly string[];
}

/** What the runs measured. Runs that are over are read once. */
function useMetrics(runs: readonly Run[]) {
  const known = useMemo(
    () => new Map<string, { readonly isFinal: boolean; readonly metrics: RunMetrics }>(),
    [],
  );
  return usePoll(
    async (signal): Promise<ReadonlyMap<string, RunMetrics>> => {
      const read = async (run: Run): Promise<readonly [string, RunMetrics]> => {
        const found = known.get(run.id);
        if (found?.isFinal === true) return [run.id, found.metrics];
        const options = { params: { id: run.id }, query: { points: POINTS }, signal };
        const metrics = await api.get("/v1/runs/{id}/metrics", options);
        known.set(run.id, { isFinal: hasEnded(run), metrics });
        return [run.id, metrics];
      };
      return new Map(await Promise.all(runs.map(read)));
    },
    { every: runs.every(hasEnded) ? 0 : EVERY },
    [runs.map(({ id, status }) => `${id} ${status}`).join()],
  );
}

function Curves({ runs, names }: NamedRuns) {
  const curve = useSignal<Curve>("loss");
  const isLog = useSignal(false);
  const { data, error, refresh } = useMetrics(runs);
  const metrics = data.value;
  const chosen = curve.value;
  const series = useMemo(
    () => runs.map((run, at) => toSeries(names[at] ?? run.name, metrics?.get(run.id), chosen)),
    [metrics, chosen, names.join("\n")],
  );
  const title = CURVES.find(({ value }) => value === chosen)?.title ?? "";
  const isEmpty = metrics !== undefined && series.every(({ x }) => x.length === 0);
  return (
    <div class="stack">
      <div class="row">
        <Select
          label="Curve"
          value={chosen}
          options={CURVES}
          onInput={(value) => set(curve, CURVES.find((one) => one.value === value)?.value ?? "loss")}
        />
        <Toggle label="Log scale" of={isLog} />
        {isEmpty && <span class="muted">none of these runs has measured it</span>}
      </div>
      {error.value !== undefined && <Problem error={error.value} retry={() => void refresh()} />}
      <Chart series={series} xLabel="Step" yLabel={title} log={isLog.value} height={280} />
    </div>
  );
}

function toSeries(label: string, metrics: RunMetrics | undefined, curve: Curve): Series {
  if (metrics === undefined) return { label, x: [], y: [] };
  if (curve === "validation") return { label, x: metrics.validation.step, y: metrics.validation.loss };
  return { label, x: metrics.training.step, y: metrics.training[curve] };
}

const RESULTS: readonly (readonly [name: string, show: (run: Run) => ComponentChildren])[] = [
  ["Status", ({ status }) => <Status value={status} />],
  ["Steps", ({ step, total_steps }) => `${formatCount(step)} / ${formatCount(total_steps)}`],
  ["Validation loss", ({ validation_loss }) => formatLoss(validation_loss)],
  ["Lowest validation loss", ({ best_validation_loss }) => formatLoss(best_validation_loss)],
  ["Training loss", ({ loss }) => formatLoss(loss)],
  ["Trainable parameters", ({ trainable_parameters }) => formatCount(trainable_parameters)],
  ["Duration", (run) => formatDuration(durationOf(run))],
];

function Settings({ runs, names }: NamedRuns) {
  const onlyDifferences = useSignal(true);
  const rows = compareSettings(runs);
  const isFew = onlyDifferences.value && runs.length > 1;
  const shown = rows.filter(({ isDifferent }) => isDifferent || !isFew);
  return (
    <div class="stack">
      <div class="row">
        <h3>Settings</h3>
        {runs.length > 1 && <Toggle label="Only differences" of={onlyDifferences} />}
        {isFew && <span class="muted">{rows.length - shown.length} settings are the same in all</span>}
      </div>
      {/* it scrolls by keys, too */}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: see above */}
      <div class="comparison-scroll" role="region" aria-label="Settings of the runs" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th scope="col">Run</th>
              {runs.map(({ id }, at) => (
                <th scope="col" key={id}>
                  <a href={href("run", id)}>{names[at]}</a>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>{RESULTS.map(([name, show]) => rowOf(name, runs.map(show)))}</tbody>
          <tbody>
            {shown.map(({ name, values, isDifferent }) =>
              rowOf(name, values, isDifferent && !isFew && runs.length > 1),
            )}
          </tbody>
        </table>
      </div>
    </div>
  );
}

const rowOf = (name: string, values: readonly ComponentChildren[], isMarked = false) => (
  <tr key={name} class={isMarked ? "different" : undefined}>
    <th scope="row">{name}</th>
    {values.map((value, at) => (
      <td key={at}>{value}</td>
    ))}
  </tr>
);
