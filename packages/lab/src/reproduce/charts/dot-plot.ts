import { dot, gridX, type Markish, ruleY, text, tickX } from "@observablehq/plot";
import { MosError } from "mixture-of-shards";
import {
  axisBelow,
  type Better,
  barEnds,
  check,
  draw,
  EMPHASISED,
  GRID,
  type Heading,
  INK,
  LEADING,
  longest,
  PADDING,
  PLAIN,
  roomBelow,
  textHeight,
  valueRange,
  wrap,
  written,
} from "./svg.ts";

/** One row: a mean over seeds, its standard deviation, and the values of the seeds. */
export interface DotRow {
  readonly label: string;
  readonly mean: number;
  /** Standard deviation: the error bar extends this far to both sides. */
  readonly deviation?: number;
  /** The values of the seeds, drawn as rings below the mean. */
  readonly points?: readonly number[];
  /** Another colour and a bold label. */
  readonly emphasised?: boolean;
  /** Details in columns after the label. */
  readonly details?: readonly string[];
}

/** Options of a dot plot. */
export interface DotPlotOptions extends Heading {
  /** From top to bottom. */
  readonly rows: readonly DotRow[];
  /** Heads of the columns of details. */
  readonly detailTitles?: readonly string[];
  /** Title of the values, with their unit. */
  readonly valueTitle?: string;
  /** Written at the axis. */
  readonly better?: Better;
  /** The least and the largest possible value: the axis begins at the least, and error bars end at both. */
  readonly limits?: readonly [least: number, largest: number];
  /** Decimals of the means; without them three significant digits. */
  readonly decimals?: number;
  /** Pixels of the whole picture (800); its height grows with the rows. */
  readonly width?: number;
}

/** Pixels of the longest line of a label; longer ones wrap. */
const LABEL_WIDTH = 220;
/** Bold letters are wider. */
const BOLD = 1.05;
/** Pixels of the caps at the ends of an error bar. */
const CAP = 9;
/** Pixels from a row's middle up to its mean and error bar, and down to its rings. */
const [UP, DOWN] = [-4, 8];
/** Pixels between the heads of columns and the axes. */
const GAP = 4;

/**
 * Draws means with their error bars (standard deviation) and the values of the seeds, a row each. The means in numbers
 * have a column of their own: beside a ring a number would read as the ring's value.
 *
 * @returns SVG text; the same text for the same options.
 * @throws MosError `bad_option`: no rows, or a number that is not finite.
 * @example
 * dotPlot({
 *   title: "Accuracy",
 *   rows: [
 *     { label: "LoRA", mean: 0.41, deviation: 0.02 },
 *     { label: "MoS", mean: 0.47, deviation: 0.01, emphasised: true },
 *   ],
 * });
 */
export function dotPlot(options: DotPlotOptions): string {
  checkRows(options);
  const { rows, detailTitles = [], valueTitle, better, limits, decimals, width = 800 } = options;
  const labels = new Map(rows.map(({ label }) => [label, wrap(label, LABEL_WIDTH)]));
  const step = PADDING + textHeight([...labels.values()].reduce(taller));
  const details = detailTitles.map((title, i) => ({
    title,
    of: ({ details }: DotRow) => details?.[i] ?? "",
    width: 2 * PADDING + longest([title, ...rows.map(({ details }) => details?.[i] ?? "")]),
  }));
  const means = { title: "mean", of: ({ mean }: DotRow) => written(mean, decimals) };
  const meansWidth = longest([means.title, ...rows.map(means.of)]);
  const named = PADDING + BOLD * longest([...labels.values()]);
  const marginLeft = details.reduce((sum, column) => sum + column.width, named) + 2 * PADDING;
  const axis = [valueTitle, better && `${better} is better`]
    .filter((words) => words !== undefined)
    .join("; ");
  const values = rows.flatMap((row) => [row.mean, ...(row.points ?? []), ...errorBar(row, limits)]);
  return draw(options, {
    width,
    height: step * rows.length,
    above: textHeight([means.title, ...detailTitles].reduce(taller)) + GAP,
    marginLeft,
    marginRight: 2 * PADDING + meansWidth,
    marginBottom: roomBelow(axis),
    x: { domain: valueRange([...values, ...(limits?.slice(0, 1) ?? [])]), nice: 6 },
    y: { type: "band", domain: rows.map(rowLabel), padding: 0, axis: null },
    marks: [
      gridX({ stroke: GRID, strokeOpacity: 1 }),
      axisBelow(axis),
      ...[false, true].map((bold) =>
        text(
          rows.filter(({ emphasised = false }) => emphasised === bold),
          {
            y: rowLabel,
            text: ({ label }: DotRow) => labels.get(label),
            lineHeight: LEADING,
            frameAnchor: "left",
            textAnchor: "start",
            dx: PADDING - marginLeft,
            fontWeight: bold ? "bold" : "normal",
          },
        ),
      ),
      ...details.flatMap((column, i) => {
        const behind = details.slice(i + 1).reduce((sum, { width }) => sum + width, 2 * PADDING);
        return textColumn(rows, column, { frameAnchor: "left", dx: -behind });
      }),
      ...textColumn(rows, means, { frameAnchor: "right", dx: PADDING + meansWidth }),
      ...plotMarks(options, step),
    ],
  });
}

const rowLabel = ({ label }: DotRow): string => label;
const taller = (a: string, b: string): string => (textHeight(b) > textHeight(a) ? b : a);

/** A column of texts, right-aligned, with its head above the plot. */
function textColumn(
  rows: readonly DotRow[],
  { title, of }: { readonly title: string; readonly of: (row: DotRow) => string },
  { frameAnchor, dx }: { readonly frameAnchor: "left" | "right"; readonly dx: number },
): readonly Markish[] {
  const aligned = { textAnchor: "end", dx, lineHeight: LEADING } as const;
  return [
    text(rows, { ...aligned, y: rowLabel, text: of, frameAnchor }),
    text([title], { ...aligned, frameAnchor: `top-${frameAnchor}`, lineAnchor: "bottom", dy: -GAP }),
  ];
}

/** Where a row's error bar ends; at its mean if it has none. */
const errorBar = ({ mean, deviation }: DotRow, limits?: DotPlotOptions["limits"]) =>
  barEnds(mean, deviation, limits);

/** Means, error bars and rings; each row has `step` pixels. */
function plotMarks({ rows, limits }: DotPlotOptions, step: number): readonly Markish[] {
  const y = rowLabel;
  const fill = ({ emphasised }: DotRow) => (emphasised ? EMPHASISED : PLAIN);
  const line = { y, stroke: INK, strokeWidth: 1.5 };
  const caps = { ...line, insetTop: (step - CAP) / 2, insetBottom: (step - CAP) / 2, dy: UP };
  const deviating = rows.filter(({ deviation = 0 }) => deviation > 0);
  const rings = rows.flatMap(({ label, points = [] }) => points.map((point) => ({ label, point })));
  return [
    ruleY(deviating, {
      ...line,
      dy: UP,
      x1: (row: DotRow) => errorBar(row, limits)[0],
      x2: (row: DotRow) => errorBar(row, limits)[1],
    }),
    // no cap where a bar is cut
    ...([-1, 1] as const).map((side) => {
      const end = ({ mean, deviation = 0 }: DotRow): number => mean + side * deviation;
      const isWhole = (row: DotRow): boolean => errorBar(row, limits).includes(end(row));
      return tickX(deviating.filter(isWhole), { ...caps, x: end });
    }),
    dot(rows, { x: "mean", y, fill, r: 5, dy: UP }),
    dot(rings, {
      x: "point",
      y: "label",
      r: 3,
      stroke: INK,
      strokeWidth: 1,
      fill: INK,
      fillOpacity: 0.15,
      dy: DOWN,
    }),
  ];
}

function checkRows({ rows }: DotPlotOptions): void {
  check(
    "row",
    rows.map((row) => ({
      name: `"${row.label}"`,
      values: [row.mean, ...(row.points ?? []), ...errorBar(row)],
    })),
  );
  for (const { label, deviation = 0 } of rows)
    if (deviation < 0)
      throw new MosError("bad_option", `row "${label}" has a negative deviation, ${deviation}`);
}
