import { type Signal, useSignal } from "@preact/signals";
import { useEffect, useId, useLayoutEffect, useMemo, useRef } from "preact/hooks";
import { set, toggled } from "#core";
import "uplot/dist/uPlot.min.css";
import "./chart.css";
import { SERIES_COLOURS } from "./chart-colours.ts";
import { type CursorValues, createPlot, type Plot, type Series } from "./plot.ts";
import { panned, type Range, zoomed } from "./range.ts";
import { summarise } from "./summary.ts";
import { tickText } from "./ticks.ts";

/** What a chart shows. */
export interface ChartProps {
  /** Their labels, kinds and order may change, but cost a new drawing; other points in them do not. */
  readonly series: readonly Series[];
  readonly xLabel: string;
  readonly yLabel: string;
  readonly log?: boolean;
  /** Charts of one name share crosshair and zoom. */
  readonly sync?: string;
  /** Pixels, with axes and without legend. */
  readonly height?: number;
  readonly format?: (value: number) => string;
  /** Told the part of x that is shown; undefined for all of it. */
  readonly onZoom?: (shown: Range | undefined) => void;
}

const valueFormat = (value: number): string => tickText(Number(value.toPrecision(4)));

const HELP =
  "Arrow keys move the crosshair, with shift by ten points. Plus and minus zoom, page keys move the shown part, escape shows everything.";

/** Curves over one axis, with crosshair, zoom and a legend of the values at the crosshair. */
export function Chart(props: ChartProps) {
  const { series, xLabel, yLabel, height = 240, format = valueFormat } = props;
  const { host, plot, cursor, isZoomed, hidden } = usePlot(props, height);
  const help = useId();
  const last = useMemo(() => lastValues(series), [series]);
  const alternative = useMemo(
    () => <Alternative {...{ series, xLabel, yLabel, format, helpId: help }} />,
    [series, xLabel, yLabel, format, help],
  );
  const { x, values } = cursor.value ?? last;
  const bounds = plot.current?.bounds() ?? { min: x, max: x };
  return (
    <figure class="chart">
      <figcaption class="chart-head">
        <span class="chart-title">{yLabel}</span>
        <Legend {...{ series, values, format, plot, hidden }} />
        <span class="chart-at muted small">
          {xLabel} {tickText(x)}
        </span>
        <button
          type="button"
          class="chart-reset"
          disabled={!isZoomed.value}
          onClick={() => plot.current?.show(undefined)}
        >
          Show all
        </button>
      </figcaption>
      <div
        class="chart-plot"
        ref={host}
        style={{ height: `${height}px` }}
        role="slider"
        tabIndex={0}
        aria-label={`${yLabel} by ${xLabel.toLowerCase()}`}
        aria-describedby={help}
        aria-valuemin={bounds.min}
        aria-valuemax={bounds.max}
        aria-valuenow={x}
        aria-valuetext={cursorText({ x, values }, props)}
        onKeyDown={(event) => plot.current && onKey(event, plot.current, x)}
      />
      {alternative}
    </figure>
  );
}

interface Drawn {
  readonly host: { current: HTMLDivElement | null };
  readonly plot: { current: Plot | undefined };
  readonly cursor: Signal<CursorValues | undefined>;
  readonly isZoomed: Signal<boolean>;
  /** Labels of series that are not drawn. */
  readonly hidden: Signal<ReadonlySet<string>>;
}

/** Draws on the element `host`: anew where the kind of the drawing changes, else with other points. */
function usePlot({ series, log = false, sync, onZoom }: ChartProps, height: number): Drawn {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<Plot>(undefined);
  const cursor = useSignal<CursorValues | undefined>(undefined);
  const isZoomed = useSignal(false);
  const hidden = useSignal<ReadonlySet<string>>(new Set());
  const kind = JSON.stringify(series.map(({ label, kind, faint, colour }) => [label, kind, faint, colour]));
  // `kind` stands for what of the series needs another drawing
  useLayoutEffect(() => {
    if (host.current === null) return;
    const before: Range | undefined = isZoomed.peek() ? plot.current?.shown() : undefined;
    plot.current?.destroy();
    const made = createPlot(host.current, {
      series,
      height,
      isLog: log,
      hidden: hidden.peek(),
      group: sync,
      onCursor: (values) => set(cursor, values),
      onZoom: (shown) => {
        isZoomed.value = shown !== undefined;
        onZoom?.(shown);
      },
    });
    plot.current = made;
    if (before !== undefined) made.show(before);
  }, [kind, log, sync, height]);
  useEffect(() => plot.current?.update(series), [series]);
  useEffect(() => () => plot.current?.destroy(), []);
  return { host, plot, cursor, isZoomed, hidden };
}

function onKey(event: KeyboardEvent, plot: Plot, at: number): void {
  const { min, max } = plot.shown();
  const pan = (part: number) => plot.show(panned({ min, max }, part * (max - min), plot.bounds()));
  const zoom = (factor: number) =>
    plot.show(zoomed({ min, max }, { at: Math.min(max, Math.max(min, at)), factor }, plot.bounds()));
  const many = event.shiftKey ? 10 : 1;
  const keys: Readonly<Record<string, () => void>> = {
    ArrowRight: () => plot.step(many),
    ArrowUp: () => plot.step(many),
    ArrowLeft: () => plot.step(-many),
    ArrowDown: () => plot.step(-many),
    Home: () => plot.step(Number.NEGATIVE_INFINITY),
    End: () => plot.step(Number.POSITIVE_INFINITY),
    PageUp: () => pan(-0.5),
    PageDown: () => pan(0.5),
    "+": () => zoom(0.5),
    "=": () => zoom(0.5),
    "-": () => zoom(2),
    Escape: () => plot.show(undefined),
  };
  const act = keys[event.key];
  if (act === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  act();
}

interface LegendProps extends Pick<Drawn, "plot" | "hidden"> {
  readonly series: readonly Series[];
  readonly values: readonly (number | null)[];
  readonly format: (value: number) => string;
}

/** Labels with their values at the crosshair, or the last ones; a click hides a series or shows it again. */
function Legend({ series, values, format, plot, hidden }: LegendProps) {
  const isOnly = series.length === 1; // the title says what it is
  return (
    <ul class="chart-legend">
      {series.map(({ label, kind, faint, colour }, index) => (
        <li key={label}>
          <button
            type="button"
            class={`chart-entry chart-${kind ?? "line"}`}
            style={{ "--series": `var(--series-${((colour ?? index) % SERIES_COLOURS) + 1})` }}
            data-faint={faint}
            aria-pressed={!hidden.value.has(label)}
            onClick={() => {
              hidden.value = toggled(hidden.value, label);
              plot.current?.toggle(index, !hidden.value.has(label));
            }}
          >
            <span class={isOnly ? "unseen" : "chart-label muted"}>{label}</span>
            <span class="chart-value">{valueText(values[index], format)}</span>
          </button>
        </li>
      ))}
    </ul>
  );
}

const valueText = (value: number | null | undefined, format: (value: number) => string): string =>
  value == null ? "–" : format(value);

/** What the chart shows, in words and as a table. */
function Alternative(props: ChartProps & Pick<LegendProps, "format"> & { readonly helpId: string }) {
  const { series, xLabel, yLabel, format, helpId } = props;
  const { sentences, rows } = useMemo(() => summarise(series, { xLabel, format }), [series, xLabel, format]);
  return (
    <div class="unseen">
      <p id={helpId}>{HELP}</p>
      <p>{sentences.join(" ")}</p>
      <table>
        <caption>
          {yLabel} by {xLabel.toLowerCase()}
        </caption>
        <thead>
          <tr>
            <th scope="col">{xLabel}</th>
            {series
              .filter(({ faint }) => faint !== true)
              .map(({ label }) => (
                <th scope="col" key={label}>
                  {label}
                </th>
              ))}
          </tr>
        </thead>
        <tbody>
          {rows.map(({ x, values }) => (
            <tr key={x}>
              <th scope="row">{x}</th>
              {values.map((value, index) => (
                <td key={index}>{valueText(value, format)}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** The last value of each series, at the last x of all. */
function lastValues(series: readonly Series[]): CursorValues {
  const x = Math.max(0, ...series.map((one) => one.x.at(-1) ?? 0));
  return { x, values: series.map(({ y }) => y.findLast((value) => value !== null) ?? null) };
}

function cursorText(
  { x, values }: CursorValues,
  { series, xLabel, format = valueFormat }: ChartProps,
): string {
  const parts = series.map(({ label }, index) => `${label} ${valueText(values[index], format)}`);
  return `${xLabel} ${tickText(x)}: ${parts.join(", ")}`;
}
