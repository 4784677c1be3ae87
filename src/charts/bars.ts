import { MosError } from "#core";
import {
  decimalsOf,
  EMPHASISED,
  element,
  FONT_SIZE,
  GRID,
  type Heading,
  heading,
  INK,
  label,
  PADDING,
  PALE,
  PLAIN,
  picture,
  ticksOf,
  widthOf,
  wrap,
  written,
} from "./svg.ts";

/** One bar: a mean over seeds, its standard deviation, and the values of the seeds. */
export interface Bar {
  readonly label: string;
  readonly mean: number;
  /** Standard deviation: the error bar extends this far to both sides. */
  readonly deviation?: number;
  /** The values of the seeds, drawn as small rings. */
  readonly points?: readonly number[];
  /** Another colour and a bold label. */
  readonly emphasised?: boolean;
}

/** What a bar chart is drawn from. */
export interface BarChartOptions extends Heading {
  /** From top to bottom. */
  readonly bars: readonly Bar[];
  /** What the values are, and in which unit. */
  readonly valueTitle?: string;
  /** `point` for values far from zero that differ little (losses): a bar that does not start at zero misleads. */
  readonly mark?: "bar" | "point";
  /** Whether the axis of values starts at zero: always for bars, and only on demand for points. */
  readonly fromZero?: boolean;
  /** Writes each mean beside its bar. */
  readonly printMeans?: boolean;
  /** Decimals of the means and of the axis; without them three significant digits. */
  readonly decimals?: number;
  /** Pixels of the whole picture (800); its height grows with the bars. */
  readonly width?: number;
}

/** Pixels of the longest line of a label; longer ones wrap. */
const LABEL_WIDTH = 250;
const LINE = 17;
/** Pixels from the end of a bar to its mean. */
const GAP = 10;
const TICKS = 6;

/**
 * Draws means with their error bars (standard deviation) and the values of the seeds, one bar below the other.
 *
 * @returns SVG text; the same text for the same options.
 * @throws MosError `bad_option`: no bars, a number that is not finite, or bars on an axis that does not start at zero.
 * @example
 * barChart({
 *   title: "Accuracy",
 *   bars: [
 *     { label: "LoRA", mean: 0.41, deviation: 0.02 },
 *     { label: "MoS", mean: 0.47, deviation: 0.01, emphasised: true },
 *   ],
 * });
 */
export function barChart(options: BarChartOptions): string {
  check(options);
  const { valueTitle, width = 800 } = options;
  const { content, bottom: top } = heading(options, width);
  const rows = placeRows(options.bars, top);
  const bottom = rows.at(-1)?.bottom ?? top;
  const axis = axisOf(options, { left: labelsWidth(rows) + 2 * PADDING, right: width - PADDING });
  const title =
    valueTitle === undefined
      ? []
      : [
          label(valueTitle, {
            x: (axis.left + axis.right) / 2,
            y: bottom + 2 * LINE + PADDING,
            "text-anchor": "middle",
          }),
        ];
  const height = bottom + LINE + PADDING + (title.length > 0 ? LINE + PADDING : 0);
  return picture({ width, height }, [
    ...content,
    ...drawAxis(axis, { top, bottom }),
    ...rows.flatMap((row) => drawRow(row, axis, options)),
    ...title,
  ]);
}

function check({ bars, mark = "bar", fromZero = mark === "bar" }: BarChartOptions): void {
  if (bars.length === 0) throw new MosError("bad_option", "a bar chart without bars: give at least one");
  if (mark === "bar" && !fromZero)
    throw new MosError(
      "bad_option",
      'bars on an axis that does not start at zero mislead the eye: use mark "point", or let the axis start at zero',
    );
  const seen = new Set<string>();
  for (const { label: name, mean, deviation = 0, points = [] } of bars) {
    if (![mean, deviation, ...points].every(Number.isFinite))
      throw new MosError(
        "bad_option",
        `bar "${name}" holds a number that is not finite: leave it out of the chart`,
      );
    if (deviation < 0)
      throw new MosError("bad_option", `bar "${name}" has a negative deviation, ${deviation}`);
    if (seen.has(name)) throw new MosError("bad_option", `bar "${name}" occurs twice`);
    seen.add(name);
  }
}

interface Row {
  readonly bar: Bar;
  readonly lines: readonly string[];
  readonly bottom: number;
  readonly middle: number;
}

function placeRows(bars: readonly Bar[], top: number): readonly Row[] {
  let bottom = top;
  return bars.map((bar) => {
    const lines = wrap(bar.label, { width: LABEL_WIDTH });
    const height = LINE * lines.length + PADDING;
    bottom += height;
    return { bar, lines, bottom, middle: bottom - height / 2 };
  });
}

/** Bold letters are about a tenth wider. */
const labelsWidth = (rows: readonly Row[]): number =>
  Math.max(
    ...rows.flatMap(({ lines, bar }) => lines.map((line) => widthOf(line) * (bar.emphasised ? 1.1 : 1))),
  );

interface Axis {
  readonly left: number;
  readonly right: number;
  readonly ticks: readonly number[];
  readonly decimals: number;
  /** A value as a position. */
  readonly at: (value: number) => number;
}

const endsOf = ({ mean, deviation = 0, points = [] }: Bar): readonly number[] => [
  mean - deviation,
  mean + deviation,
  ...points,
];

function axisOf(
  { bars, mark = "bar", fromZero = mark === "bar", printMeans = false, decimals }: BarChartOptions,
  { left, right }: { readonly left: number; readonly right: number },
): Axis {
  const values = [...bars.flatMap(endsOf), ...(fromZero ? [0] : [])];
  const ticks = ticksOf(Math.min(...values), Math.max(...values), TICKS);
  const [low = 0, high = 1] = [ticks[0], ticks.at(-1)];
  // the longest mean may be that of the longest bar
  const text = Math.max(...bars.map(({ mean }) => widthOf(written(mean, decimals))));
  const end = right - (printMeans ? GAP + text : PADDING);
  return {
    left,
    right: end,
    ticks,
    decimals: Math.max(decimalsOf(ticks), Math.min(decimals ?? 0, 2)),
    at: (value) => left + ((value - low) / (high - low)) * (end - left),
  };
}

function drawAxis(
  { ticks, decimals, at }: Axis,
  { top, bottom }: { readonly top: number; readonly bottom: number },
): readonly string[] {
  return ticks.flatMap((tick) => {
    const x = at(tick);
    return [
      element("line", { x1: x, x2: x, y1: top, y2: bottom, stroke: GRID }),
      label(tick.toFixed(decimals), { x, y: bottom + LINE, "text-anchor": "middle", fill: PALE }),
    ];
  });
}

/** The error bar with its two ends. */
function drawDeviation({ mean, deviation = 0 }: Bar, middle: number, at: Axis["at"]): readonly string[] {
  if (deviation === 0) return [];
  const [low, high] = [at(mean - deviation), at(mean + deviation)];
  const line = (x1: number, x2: number, [y1, y2]: readonly [number, number]): string =>
    element("line", { x1, x2, y1, y2, stroke: INK, "stroke-width": 1.5 });
  return [
    line(low, high, [middle, middle]),
    line(low, low, [middle - 5, middle + 5]),
    line(high, high, [middle - 5, middle + 5]),
  ];
}

function drawRow(
  { bar, lines, middle }: Row,
  { left, at }: Axis,
  { mark = "bar", printMeans = false, decimals }: BarChartOptions,
): readonly string[] {
  const { mean, points = [], emphasised = false } = bar;
  const fill = emphasised ? EMPHASISED : PLAIN;
  const [from, to] = [Math.min(at(0), at(mean)), Math.max(at(0), at(mean))];
  const thickness = LINE;
  const drawn =
    mark === "bar"
      ? element("rect", { x: from, y: middle - thickness / 2, width: to - from, height: thickness, fill })
      : element("circle", { cx: at(mean), cy: middle, r: 6, fill });
  const names = lines.map((line, i) =>
    label(line, {
      x: left - PADDING,
      y: middle + (i - (lines.length - 1) / 2) * LINE,
      "text-anchor": "end",
      ...(emphasised ? { "font-weight": "bold" } : {}),
    }),
  );
  const rings = points.map((point) =>
    element("circle", { cx: at(point), cy: middle, r: 3, fill: "none", stroke: INK, "stroke-width": 1.2 }),
  );
  const end = Math.max(to, ...endsOf(bar).map(at));
  const number = label(written(mean, decimals), { x: end + GAP, y: middle, "font-size": FONT_SIZE - 1 });
  return [...names, drawn, ...drawDeviation(bar, middle, at), ...rings, ...(printMeans ? [number] : [])];
}
