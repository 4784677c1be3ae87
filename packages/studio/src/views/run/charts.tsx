// The curves of a run.
import { useMemo } from "preact/hooks";
import { Chart, type Series, smoothed } from "#chart";
import { countOf, formatLoss, formatRate, set, stored, storedFlag } from "#core";
import { Toggle } from "#ui";
import { useZoom } from "./feed.ts";
import { type Metrics, ownCurves } from "./metrics.ts";

const isNumber = (value: unknown): value is number => typeof value === "number";

const smoothing = stored("smoothing", 50, isNumber);
const isLog = storedFlag("log-scale", false);

/** The window of smoothing in steps, up to 1,024. It does not grow with the run, which would change what was drawn before. */
const widthOf = (percent: number): number => (percent === 0 ? 0 : Math.round(2 ** (percent / 10)));

function lossSeries({ training, validation }: Metrics, percent: number): readonly Series[] {
  const { step: x, loss: y } = training;
  const width = widthOf(percent);
  const smooth = { label: "Training, smoothed", x, y: smoothed(x, y, width), colour: 0 };
  return [
    { label: "Training", x, y, faint: width > 0, colour: 0 },
    ...(width > 0 ? [smooth] : []),
    { label: "Validation", x: validation.step, y: validation.loss, kind: "points", colour: 1 },
  ];
}

/** Charts of an objective's own metrics. */
function ownCharts(metrics: Metrics) {
  const { training, validation } = metrics;
  return ownCurves(metrics).map(({ name: label, training: learnt, validation: heldOut }) => ({
    label,
    format: formatLoss,
    series: [
      ...(learnt ? [{ label: "Training", x: training.step, y: learnt, colour: 0 }] : []),
      ...(heldOut
        ? [{ label: "Validation", x: validation.step, y: heldOut, kind: "points", colour: 1 } as const]
        : []),
    ],
  }));
}

/** Charts of one curve of every run. */
const usualCharts = ({ training }: Metrics) =>
  [
    { label: "Learning rate", y: training.learning_rate, format: rate },
    { label: "Gradient norm", y: training.gradient_norm, format: formatLoss },
    { label: "Tokens per second", y: training.tokens_per_second, format: formatRate },
  ].map(({ label, y, format }, index) => ({
    label,
    format,
    series: [{ label, y, x: training.step, colour: index + 2 }],
  }));

const rate = (value: number): string => value.toExponential(2);

/** Loss, learning rate, gradient norm, speed and the objective's metrics, with crosshair and zoom in common. */
export function RunCharts({ id, metrics: outline }: { readonly id: string; readonly metrics: Metrics }) {
  const { metrics, zoom } = useZoom(id, outline);
  const group = `run-${id}`;
  const { training, validation } = metrics;
  const loss = useMemo(() => lossSeries(metrics, smoothing.value), [metrics, smoothing.value]);
  const others = useMemo(() => [...usualCharts(metrics), ...ownCharts(metrics)], [metrics]);
  const isEmpty = training.step.length + validation.step.length === 0;
  return (
    <>
      <section class="card" aria-label="Loss">
        <div class="row run-chart-tools">
          {isEmpty && <p class="muted">Curves appear after the first step.</p>}
          <Smoothing />
          <Toggle label="Log scale" of={isLog} />
        </div>
        <Chart
          xLabel="Step"
          yLabel="Loss"
          series={loss}
          log={isLog.value}
          sync={group}
          onZoom={zoom}
          height={300}
          format={formatLoss}
        />
      </section>
      <div class="run-more-charts">
        {others.map(({ label, series, format }) => (
          <section class="card" key={label} aria-label={label}>
            <Chart xLabel="Step" yLabel={label} series={series} sync={group} height={160} format={format} />
          </section>
        ))}
      </div>
    </>
  );
}

function Smoothing() {
  const width = widthOf(smoothing.value);
  const says = width === 0 ? "off" : countOf(width, "step");
  return (
    <label class="beside run-smoothing">
      <span>Smoothing</span>
      <input
        type="range"
        min={0}
        max={100}
        value={smoothing.value}
        aria-valuetext={says}
        onInput={({ currentTarget }) => set(smoothing, currentTarget.valueAsNumber)}
      />
      <output>{says}</output>
    </label>
  );
}
