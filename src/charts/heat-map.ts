import { MosError } from "#core";
import {
  decimalsOf,
  element,
  FONT_SIZE,
  type Heading,
  heading,
  INK,
  label,
  PADDING,
  PALE,
  picture,
  ticksOf,
  widthOf,
  written,
} from "./svg.ts";

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
  /** What the values are; written above the scale. */
  readonly valueTitle?: string;
  /** Decimals of the values; without them three significant digits. */
  readonly decimals?: number;
  /** Pixels of the whole picture (800); its height grows with the rows. */
  readonly width?: number;
}

const ROW = 26;
/** Pixels of the bar that shows which colour stands for which value. */
const SCALE_WIDTH = 14;
/** Light to dark blue (ColorBrewer's Blues), which differ in lightness alone. */
const BLUES = [
  [222, 235, 247],
  [158, 202, 225],
  [66, 146, 198],
  [8, 69, 148],
] as const;
/** From this share of the scale on white text reads better. */
const DARK = 0.6;

/**
 * Draws a table of numbers as colours, light to dark blue, with the numbers in the cells.
 *
 * @returns SVG text; the same text for the same options.
 * @throws MosError `bad_option`: no cells, a cell twice, or a value that is not finite.
 * @example
 * heatMap({ title: "Norms", cells: [{ x: "q", y: "0", value: 1.5 }, { x: "v", y: "0" }] });
 */
export function heatMap(options: HeatMapOptions): string {
  const { cells, xTitle, yTitle, valueTitle, decimals, width = 800 } = options;
  check(cells);
  const [columns, rows] = [[...new Set(cells.map(({ x }) => x))], [...new Set(cells.map(({ y }) => y))]];
  const range = rangeOf(cells);
  const { content, bottom } = heading(options, width);
  const top = bottom + (valueTitle === undefined ? 0 : ROW);
  const scale = scaleOf(range, { valueTitle, decimals, right: width - PADDING });
  const left = PADDING + (yTitle === undefined ? 0 : ROW) + Math.max(...rows.map((row) => widthOf(row))) + 8;
  const plot = { left, top, right: scale.left - 2 * PADDING, bottom: top + ROW * rows.length };
  const step = (plot.right - plot.left) / columns.length;
  const middleOf = (column: number): number => plot.left + (column + 0.5) * step;
  const drawn = cells.map((cell) => {
    const at = { x: plot.left + columns.indexOf(cell.x) * step, y: top + rows.indexOf(cell.y) * ROW };
    return drawCell(cell, { ...at, width: step, share: shareOf(cell.value, range), decimals });
  });
  const names = [
    ...columns.map((name, i) =>
      label(name, { x: middleOf(i), y: plot.bottom + ROW / 2, "text-anchor": "middle" }),
    ),
    ...rows.map((name, i) => label(name, { x: left - 8, y: top + (i + 0.5) * ROW, "text-anchor": "end" })),
  ];
  const [across, down] = [(plot.left + plot.right) / 2, (plot.top + plot.bottom) / 2];
  const titles = [
    ...(xTitle === undefined
      ? []
      : [label(xTitle, { x: across, y: plot.bottom + 1.5 * ROW, "text-anchor": "middle" })]),
    ...(yTitle === undefined
      ? []
      : [
          label(yTitle, {
            x: PADDING + FONT_SIZE / 2,
            y: down,
            "text-anchor": "middle",
            transform: `rotate(-90 ${PADDING + FONT_SIZE / 2} ${down})`,
          }),
        ]),
  ];
  const height = Math.max(
    plot.bottom + ROW * (xTitle === undefined ? 1 : 2) + PADDING,
    top + SHORTEST_SCALE + PADDING,
  );
  const size = { width, height };
  return picture(size, [...content, ...drawn, ...names, ...titles, ...scale.draw(plot.top, plot.bottom)]);
}

function check(cells: readonly HeatCell[]): void {
  if (cells.length === 0) throw new MosError("bad_option", "a heat map without cells: give at least one");
  const seen = new Set<string>();
  for (const { x, y, value } of cells) {
    if (value !== undefined && !Number.isFinite(value))
      throw new MosError(
        "bad_option",
        `cell "${x}", "${y}" is ${value}: leave its value out to draw it empty`,
      );
    const key = JSON.stringify([x, y]);
    if (seen.has(key)) throw new MosError("bad_option", `cell "${x}", "${y}" occurs twice`);
    seen.add(key);
  }
}

interface Range {
  readonly low: number;
  readonly high: number;
}

/** Lowest and highest value; any range where there is none. */
function rangeOf(cells: readonly HeatCell[]): Range {
  const values = cells.flatMap(({ value }) => (value === undefined ? [] : [value]));
  if (values.length === 0) return { low: 0, high: 1 };
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return { low, high: high > low ? high : low + 1 };
}

const shareOf = (value: number | undefined, { low, high }: Range): number | undefined =>
  value === undefined ? undefined : (value - low) / (high - low);

function colourOf(share: number): string {
  const place = share * (BLUES.length - 1);
  const index = Math.min(Math.floor(place), BLUES.length - 2);
  const [from, to] = [BLUES[index] ?? BLUES[0], BLUES[index + 1] ?? BLUES[0]];
  const mixed = from.map((part, i) => Math.round(part + ((to[i] ?? part) - part) * (place - index)));
  return `rgb(${mixed.join(", ")})`;
}

interface CellPlace {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  /** Of the scale, from 0 to 1; undefined for an empty cell. */
  readonly share: number | undefined;
  readonly decimals: number | undefined;
}

function drawCell({ value, text }: HeatCell, { x, y, width, share, decimals }: CellPlace): string {
  const box = { x, y, width, height: ROW };
  const rectangle =
    share === undefined
      ? element("rect", { ...box, fill: "#f4f4f4", stroke: "#bbbbbb", "stroke-dasharray": "3,3" })
      : element("rect", { ...box, fill: colourOf(share), stroke: "#ffffff" });
  const said = text ?? (value === undefined ? undefined : written(value, decimals));
  if (said === undefined) return rectangle;
  const fill = (share ?? 0) > DARK ? "#ffffff" : INK;
  const place = {
    x: x + width / 2,
    y: y + ROW / 2,
    "text-anchor": "middle",
    "font-size": FONT_SIZE - 1,
    fill,
  };
  return `${rectangle}${label(said, place)}`;
}

const SHORTEST_SCALE = 104;
const SCALE_STEPS = 40;

interface ScaleOptions {
  readonly valueTitle: string | undefined;
  readonly decimals: number | undefined;
  readonly right: number;
}

/** The scale at the right edge: its colours, and the values of some of them. */
function scaleOf(range: Range, { valueTitle, decimals, right }: ScaleOptions) {
  const ticks = ticksOf(range.low, range.high, 4).filter((tick) => tick >= range.low && tick <= range.high);
  const digits = Math.max(decimalsOf(ticks), Math.min(decimals ?? 0, 2));
  const texts = ticks.map((tick) => tick.toFixed(digits));
  const width = SCALE_WIDTH + 6 + Math.max(0, ...texts.map((text) => widthOf(text)));
  const left = right - Math.max(width, widthOf(valueTitle ?? ""));
  const draw = (top: number, bottom: number): readonly string[] => {
    const length = Math.max(bottom - top, SHORTEST_SCALE);
    const step = length / SCALE_STEPS;
    const at = (share: number): number => top + (1 - share) * length;
    return [
      ...(valueTitle === undefined ? [] : [label(valueTitle, { x: left, y: top - ROW / 2 - 2 })]),
      ...Array.from({ length: SCALE_STEPS }, (_, i) =>
        element("rect", {
          x: left,
          y: at((i + 1) / SCALE_STEPS),
          width: SCALE_WIDTH,
          height: step + 0.5, // no white lines between the steps
          fill: colourOf(i / (SCALE_STEPS - 1)),
        }),
      ),
      ...ticks.map((tick, i) =>
        label(texts[i] ?? "", {
          x: left + SCALE_WIDTH + 6,
          y: at((tick - range.low) / (range.high - range.low)),
          fill: PALE,
        }),
      ),
    ];
  };
  return { left, draw };
}
