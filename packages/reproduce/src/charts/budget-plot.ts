import { axisY, dot, gridX, gridY, line, ruleX, text } from "@observablehq/plot";
import type { Better, Heading } from "./heading.ts";
import {
  axisBelow,
  check,
  draw,
  EMPHASISED,
  endsOf,
  GRID,
  INK,
  longest,
  PADDING,
  PAPER,
  PLAIN,
  rangeOf,
  roomBelow,
  written,
} from "./svg.ts";

/** One method at one budget. */
export interface BudgetPoint {
  readonly label: string;
  /** Trainable numbers. */
  readonly numbers: number;
  readonly mean: number;
  /** Half of the interval that is drawn: as far to both sides of the mean. */
  readonly half?: number;
}

/** A method at several budgets, joined by a line. */
export interface BudgetSeries {
  readonly name: string;
  readonly points: readonly BudgetPoint[];
  /** Another colour, and labels at the right of the points rather than the left. */
  readonly emphasised?: boolean;
}

/** What a plot of quality against budget is drawn from. */
export interface BudgetPlotOptions extends Heading {
  readonly series: readonly BudgetSeries[];
  /** What the values are, and in which unit. */
  readonly valueTitle: string;
  readonly better: Better;
  readonly decimals?: number;
  /** The least and the largest possible value: intervals and the axis end there. */
  readonly limits?: readonly [least: number, largest: number];
  /** Pixels of the whole picture (800) and of the part inside the axes (260). */
  readonly width?: number;
  readonly height?: number;
}

/** Two methods of one budget stand beside each other, so that their intervals can be told apart. */
const ASIDE = 1.015;
/** Pixels at the left, for the values of the axis. */
const MARGIN = 64;
/** Pixels from a point to its label. */
const AWAY = 10;

/**
 * Draws means with their intervals over the number of trainable numbers, which has a logarithmic axis.
 *
 * @returns SVG text; the same text for the same options.
 * @throws MosError `bad_option`: nothing to draw, a label twice, or a number that is not finite.
 * @example
 * budgetPlot({
 *   valueTitle: "loss",
 *   better: "lower",
 *   series: [{ name: "LoRA", points: [{ label: "LoRA r = 2", numbers: 23_360, mean: 0.4, half: 0.02 }] }],
 * });
 */
export function budgetPlot(options: BudgetPlotOptions): string {
  const { series, valueTitle, better, decimals, limits, width = 800, height = 260 } = options;
  const points = series.flatMap(({ points, emphasised = false }) =>
    points.map((point) => {
      const [low, high] = endsOf(point.mean, point.half, limits);
      return { ...point, emphasised, x: point.numbers * (emphasised ? ASIDE : 1 / ASIDE), low, high };
    }),
  );
  check(
    "point",
    points.map(({ label, x, low, high }) => ({ name: `"${label}"`, values: [x, low, high] })),
  );
  const axis = "trainable parameters";
  const room = longest(points.map(({ label }) => label)) + AWAY;
  const tickFormat = (numbers: number): string => numbers.toLocaleString("en-US");
  const ticks = [...new Set(points.map(({ numbers }) => numbers))];
  return draw(options, {
    width,
    height,
    above: 2.5 * PADDING,
    marginLeft: MARGIN,
    marginRight: PADDING,
    marginBottom: roomBelow(axis),
    x: { type: "log", inset: room },
    y: {
      domain: rangeOf(points.flatMap(({ low, high }) => [low, high])),
      inset: AWAY,
      ...(limits ? {} : { nice: 5 }),
    },
    marks: [
      gridX(ticks, { stroke: GRID, strokeOpacity: 1 }),
      gridY({ stroke: GRID, strokeOpacity: 1 }),
      axisBelow(axis, { ticks, tickFormat }),
      axisY({ tickSize: 0, label: null, tickFormat: (value: number) => written(value, decimals) }),
      text([`${valueTitle}; ${better} is better`], {
        frameAnchor: "top-left",
        lineAnchor: "bottom",
        dx: PADDING - MARGIN,
        dy: -AWAY,
      }),
      ...[false, true].flatMap((emphasised) => {
        const own = points.filter((point) => point.emphasised === emphasised);
        const stroke = emphasised ? EMPHASISED : PLAIN;
        return [
          ...series
            .filter((one) => (one.emphasised ?? false) === emphasised)
            .map((one) =>
              line(
                own.filter(({ label }) => one.points.some((point) => point.label === label)),
                { x: "x", y: "mean", stroke, strokeWidth: 1.5, strokeDasharray: emphasised ? "none" : "4 3" },
              ),
            ),
          ruleX(own, { x: "x", y1: "low", y2: "high", stroke: INK, strokeWidth: 1.5 }),
          dot(own, { x: "x", y: "mean", fill: stroke, r: 5 }),
          text(own, {
            x: "x",
            y: "mean",
            text: "label",
            stroke: PAPER,
            strokeWidth: 4,
            fill: INK,
            ...(emphasised ? { textAnchor: "start", dx: AWAY } : { textAnchor: "end", dx: -AWAY }),
          }),
        ];
      }),
    ],
  });
}
