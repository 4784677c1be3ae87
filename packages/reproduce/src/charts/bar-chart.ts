import { axisX, axisY, barX, dot, gridX, type Markish, ruleY, text, tickX } from "@observablehq/plot";
import { MosError } from "mixture-of-shards";
import {
  check,
  draw,
  type Heading,
  heightOf,
  INK,
  LEADING,
  LINE,
  PADDING,
  rangeOf,
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
  /** Decimals of the means; without them three significant digits. */
  readonly decimals?: number;
  /** Pixels of the whole picture (800); its height grows with the bars. */
  readonly width?: number;
}

/** Blue, and orange where something is emphasised (Okabe and Ito, 2008): distinguishable with any colour vision. */
const [PLAIN, EMPHASISED] = ["#7f9fbf", "#d55e00"];
/** Pixels of the longest line of a label; longer ones wrap. */
const LABEL_WIDTH = 250;
const THICKNESS = 17;
/** Pixels of the caps at the ends of an error bar. */
const CAP = 10;

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
  checkBars(options);
  const { bars, valueTitle, mark = "bar", fromZero = mark === "bar", width = 800 } = options;
  const { printMeans = false, decimals } = options;
  const labels = new Map(bars.map(({ label }) => [label, wrap(label, LABEL_WIDTH)]));
  const step = PADDING + Math.ceil(Math.max(...[...labels.values()].map((label) => heightOf(label))));
  const printed = Math.max(...bars.map(({ mean }) => widthOf(written(mean, decimals))));
  return draw(options, {
    width,
    height: step * bars.length,
    // bold letters are wider
    marginLeft: 1.05 * Math.max(...[...labels.values()].map((label) => widthOf(label))) + 2 * PADDING,
    marginRight: 2 * PADDING + (printMeans ? printed : 0),
    marginBottom: 2 * PADDING + (valueTitle === undefined ? 0 : LINE),
    x: { domain: rangeOf([...bars.flatMap(endsOf), ...(fromZero ? [0] : [])]), nice: mark === "point" && 6 },
    y: { type: "band", domain: bars.map(labelOf), padding: 0 },
    marks: [
      gridX({ stroke: "#dddddd", strokeOpacity: 1 }),
      axisX({ tickSize: 0, label: valueTitle ?? null, labelAnchor: "center", labelArrow: "none" }),
      // one axis of plain labels and one of bold ones
      ...[false, true].map((bold) =>
        axisY(bars.filter(({ emphasised = false }) => emphasised === bold).map(labelOf), {
          ...{ tickSize: 0, tickPadding: PADDING, label: null, lineHeight: LEADING },
          ...{ tickFormat: (label: string) => labels.get(label), fontWeight: bold ? "bold" : "normal" },
        }),
      ),
      ...marksOf(options, step),
    ],
  });
}

const labelOf = ({ label }: Bar): string => label;

/** The values that a bar, its error bar and its rings extend to. */
const endsOf = ({ mean, deviation = 0, points = [] }: Bar): readonly number[] => [
  mean - deviation,
  mean + deviation,
  ...points,
];

/** Bars or points, error bars, rings and numbers; each bar has `step` pixels. */
function marksOf(
  { bars, mark = "bar", printMeans = false, decimals }: BarChartOptions,
  step: number,
): readonly Markish[] {
  const y = labelOf;
  const fill = ({ emphasised }: Bar) => (emphasised ? EMPHASISED : PLAIN);
  const line = { y, stroke: INK, strokeWidth: 1.5 };
  const within = (pixels: number) => ({ insetTop: (step - pixels) / 2, insetBottom: (step - pixels) / 2 });
  const low = ({ mean, deviation = 0 }: Bar) => mean - deviation;
  const high = ({ mean, deviation = 0 }: Bar) => mean + deviation;
  const deviating = bars.filter(({ deviation = 0 }) => deviation > 0);
  const rings = bars.flatMap(({ label, points = [] }) => points.map((point) => ({ label, point })));
  return [
    mark === "bar"
      ? barX(bars, { x: "mean", y, fill, ...within(THICKNESS) })
      : dot(bars, { x: "mean", y, fill, r: 6 }),
    ruleY(deviating, { ...line, x1: low, x2: high }),
    tickX(deviating, { ...line, ...within(CAP), x: low }),
    tickX(deviating, { ...line, ...within(CAP), x: high }),
    dot(rings, { x: "point", y: "label", r: 3, stroke: INK, strokeWidth: 1.2 }),
    text(printMeans ? bars : [], {
      ...{ y, x: (bar: Bar) => Math.max(...endsOf(bar), ...(mark === "bar" ? [0] : [])) },
      ...{ text: ({ mean }: Bar) => written(mean, decimals), textAnchor: "start", dx: PADDING },
    }),
  ];
}

function checkBars({ bars, mark = "bar", fromZero = mark === "bar" }: BarChartOptions): void {
  check(
    "bar",
    bars.map((bar) => ({ name: `"${bar.label}"`, values: endsOf(bar) })),
  );
  if (mark === "bar" && !fromZero)
    throw new MosError(
      "bad_option",
      'bars on an axis that does not start at zero mislead the eye: use mark "point", or let the axis start at zero',
    );
  for (const { label, deviation = 0 } of bars)
    if (deviation < 0)
      throw new MosError("bad_option", `bar "${label}" has a negative deviation, ${deviation}`);
}
