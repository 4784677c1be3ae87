import { axisX, axisY, cell, rect, text } from "@observablehq/plot";
import { check, draw, type Heading, heightOf, LINE, PADDING, rangeOf, widthOf, written } from "./svg.ts";

/** One cell. Without a value it is drawn empty, as not measured. */
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
  /** Decimals of the values; without them three significant digits. */
  readonly decimals?: number;
  /** Pixels of the whole picture (800), more where columns need it; its height grows with the rows. */
  readonly width?: number;
}

const ROW = 26;
/** Light to dark (ColorBrewer's Blues), without its ends: they differ in lightness alone. */
const COLOURS = { scheme: "blues", range: [0.12, 0.95] } as const;
/** From this share of the scale on white text has more contrast than black. */
const DARK = 0.72;
/** Pixels of the scale that shows which colour stands for which value, and the rectangles that it is made of. */
const [SCALE_WIDTH, SCALE_STEPS] = [240, 60];

/**
 * Draws a table of numbers as colours, light to dark blue, with the numbers in the cells.
 *
 * @returns SVG text; the same text for the same options.
 * @throws MosError `bad_option`: no cells, a cell twice, or a value that is not finite.
 * @example
 * heatMap({ title: "Norms", cells: [{ x: "q", y: "0", value: 1.5 }, { x: "v", y: "0" }] });
 */
export function heatMap(options: HeatMapOptions): string {
  const { cells, xTitle, yTitle, decimals, width = 800 } = options;
  check(
    "cell",
    cells.map(({ x, y, value }) => ({ name: `"${x}", "${y}"`, values: value === undefined ? [] : [value] })),
  );
  const [columns, rows] = [[...new Set(cells.map(({ x }) => x))], [...new Set(cells.map(({ y }) => y))]];
  const values = cells.flatMap(({ value }) => value ?? []);
  const [low, high] = rangeOf(values);
  const said = ({ value, text }: HeatCell) => text ?? (value === undefined ? "" : written(value, decimals));
  const ink = ({ value = low }: HeatCell) => (value - low > DARK * (high - low) ? "white" : "black");
  const names = Math.max(...rows.map((row) => widthOf(row))) + PADDING;
  const marginLeft = PADDING + (yTitle === undefined ? 0 : LINE + PADDING) + names;
  const column = PADDING + Math.max(...[...columns, ...cells.map(said)].map((words) => widthOf(words)));
  const at = { x: "x", y: "y" } as const;
  const axis = { tickSize: 0, labelAnchor: "center", labelArrow: "none" } as const;
  return draw(options, {
    width: Math.max(width, marginLeft + Math.ceil(column) * columns.length + PADDING),
    height: ROW * rows.length,
    marginLeft,
    marginRight: PADDING,
    marginBottom: 2 * PADDING + (xTitle === undefined ? 0 : LINE),
    x: { type: "band", domain: columns, padding: 0 },
    y: { type: "band", domain: rows, padding: 0 },
    color: { ...COLOURS, domain: [low, high] },
    // equal values have no scale
    ...(new Set(values).size < 2 ? {} : { key: scaleOf(options, [low, high]) }),
    marks: [
      cell(
        cells.filter(({ value }) => value === undefined),
        { ...at, inset: 1.5, fill: "#f4f4f4", stroke: "#bbbbbb", strokeDasharray: "3,3" },
      ),
      cell(
        cells.filter(({ value }) => value !== undefined),
        { ...at, inset: 0.5, fill: "value" },
      ),
      text(cells, { ...at, text: said, fill: ink }),
      axisX({ ...axis, label: xTitle ?? null }),
      axisY({ ...axis, label: yTitle ?? null, labelOffset: names + PADDING + LINE / 2 }),
    ],
  });
}

/** The scale: its colours, and the values of some of them. */
function scaleOf({ valueTitle = "" }: HeatMapOptions, [low, high]: readonly [number, number]) {
  const step = (high - low) / SCALE_STEPS;
  const steps = Array.from({ length: SCALE_STEPS }, (_, i) => low + i * step);
  const [marginTop, side, below] = [heightOf(valueTitle) + 2, 3 * PADDING, LINE + 2 * PADDING];
  return {
    width: SCALE_WIDTH + 2 * side,
    height: marginTop + PADDING + below,
    ...{ marginTop, marginBottom: below, marginLeft: side, marginRight: side },
    x: { domain: [low, high] },
    y: { axis: null },
    color: { ...COLOURS, domain: [low, high] },
    marks: [
      // overlapping, so that no seams show
      rect(steps, {
        x1: (x: number) => x,
        x2: (x: number) => x + step,
        y1: 0,
        y2: 1,
        fill: (x: number) => x,
        insetRight: -0.5,
      }),
      axisX({ ticks: 4, tickSize: 4, label: null }),
      text([valueTitle], { frameAnchor: "top-left", lineAnchor: "bottom", dy: -6 }),
    ],
  };
}
