import { axisX, axisY, cell, type PlotOptions, rect, type ScaleOptions, text } from "@observablehq/plot";
import type { Better, Heading } from "./heading.ts";
import {
  axisBelow,
  check,
  draw,
  EDGE,
  EMPTY,
  INK,
  LINE,
  longest,
  PADDING,
  rangeOf,
  roomBelow,
  written,
} from "./svg.ts";

/** One cell. Without a value it is drawn empty. */
export interface HeatCell {
  readonly x: string;
  readonly y: string;
  readonly value?: number;
  /** What is written in the cell; the value by default. */
  readonly text?: string;
}

/** What a heat map is drawn from. */
export interface HeatMapOptions extends Heading {
  /** Columns and rows are in the order in which cells first name them. */
  readonly cells: readonly HeatCell[];
  readonly xTitle?: string;
  readonly yTitle?: string;
  /** What the values are; written above the scale of colours. */
  readonly valueTitle?: string;
  /** Which values are good: these are dark. Without it large ones are. */
  readonly better?: Better;
  /** Decimals of the values; without them three significant digits. */
  readonly decimals?: number;
  /** Pixels of the whole picture (800), more where columns need it; its height grows with the rows. */
  readonly width?: number;
}

const ROW = 26;
/** ColorBrewer's Blues without its ends, light to dark: they differ in lightness alone. */
const SHADES = [0.12, 0.95] as const;
/** From this share of the shades on white text has more contrast than black. */
const DARK = 0.72;
/** Pixels of the scale that shows which colour stands for which value, and the rectangles that it is made of. */
const [SCALE_WIDTH, SCALE_STEPS] = [240, 60];
/** Pixels of all of it: a line above it, its colours, and its axis. */
const SCALE_HEIGHT = 2 * LINE + 3 * PADDING + 4;

/**
 * Draws a table of numbers as colours, light to dark blue, with the numbers in the cells. The best ones are darkest.
 *
 * @returns SVG text; the same text for the same options.
 * @throws MosError `bad_option`: no cells, a cell twice, or a value that is not finite.
 * @example
 * heatMap({ title: "Norms", cells: [{ x: "q", y: "0", value: 1.5 }, { x: "v", y: "0" }] });
 */
export function heatMap(options: HeatMapOptions): string {
  const { cells, xTitle = "", yTitle, better, decimals } = options;
  check(
    "cell",
    cells.map(({ x, y, value }) => ({ name: `"${x}", "${y}"`, values: value === undefined ? [] : [value] })),
  );
  const [columns, rows] = [[...new Set(cells.map(({ x }) => x))], [...new Set(cells.map(({ y }) => y))]];
  const values = cells.flatMap(({ value }) => value ?? []);
  const [low, high] = rangeOf(values);
  const isReversed = better === "lower";
  const range = isReversed ? SHADES.toReversed() : SHADES;
  const color = { scheme: "blues", range, domain: [low, high] } as const;
  const said = ({ value, text }: HeatCell) => text ?? (value === undefined ? "" : written(value, decimals));
  const ink = ({ value }: HeatCell) => {
    if (value === undefined) return INK;
    const share = (value - low) / (high - low);
    return (isReversed ? 1 - share : share) > DARK ? "white" : "black";
  };
  const names = longest(rows) + PADDING;
  const marginLeft = PADDING + (yTitle === undefined ? 0 : LINE + PADDING) + names;
  const column = PADDING + Math.ceil(longest([...columns, ...cells.map(said)]));
  const width = Math.max(options.width ?? 800, marginLeft + column * columns.length + PADDING);
  const at = { x: "x", y: "y" } as const;
  return draw(options, {
    width,
    height: ROW * rows.length,
    marginLeft,
    marginRight: PADDING,
    marginBottom: roomBelow(xTitle),
    x: { type: "band", domain: columns, padding: 0 },
    y: { type: "band", domain: rows, padding: 0 },
    color,
    // equal values have no scale
    ...(new Set(values).size < 2
      ? {}
      : { above: SCALE_HEIGHT, key: scaleOf(options, { color, marginLeft, width }) }),
    marks: [
      cell(
        cells.filter(({ value }) => value === undefined),
        { ...at, inset: 1.5, fill: EMPTY, stroke: EDGE, strokeDasharray: "3,3" },
      ),
      cell(
        cells.filter(({ value }) => value !== undefined),
        { ...at, inset: 0.5, fill: "value" },
      ),
      text(cells, { ...at, text: said, fill: ink }),
      axisBelow(xTitle),
      axisY({
        tickSize: 0,
        label: yTitle ?? null,
        labelAnchor: "center",
        labelArrow: "none",
        labelOffset: names + PADDING + LINE / 2,
      }),
    ],
  });
}

/** The scale: its colours, the values of some of them, and what dark ones mean. */
function scaleOf(
  { valueTitle = "value", better }: HeatMapOptions,
  at: { readonly color: ScaleOptions; readonly marginLeft: number; readonly width: number },
): PlotOptions {
  const { color, marginLeft, width } = at;
  const [low = 0, high = 1] = color.domain as readonly number[];
  const step = (high - low) / SCALE_STEPS;
  const steps = Array.from({ length: SCALE_STEPS }, (_, i) => low + i * step);
  const meaning = better === undefined ? "higher" : `${better}, and better`;
  return {
    marginTop: LINE + 4,
    marginBottom: LINE + 2 * PADDING,
    marginLeft,
    marginRight: width - marginLeft - SCALE_WIDTH,
    x: { domain: [low, high] },
    y: { axis: null },
    color,
    marks: [
      // overlapping, so that no seams show
      rect(steps, {
        x1: (x: number) => x,
        x2: (x: number) => x + step,
        y1: 0,
        y2: 1,
        fill: (x: number) => x,
        insetRight: -1,
      }),
      axisX({ ticks: 4, tickSize: 4, label: null }),
      text([`${valueTitle}; darker is ${meaning}`], {
        frameAnchor: "top-left",
        lineAnchor: "bottom",
        dy: -6,
      }),
    ],
  };
}
