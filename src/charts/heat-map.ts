import type { TopLevelSpec } from "vega-lite";
import { MosError } from "#core";
import { draw, type Heading, heading, INK } from "./draw.ts";

/** One cell. Without a value it is drawn empty, as measured nowhere. */
export interface HeatCell {
  readonly x: string;
  readonly y: string;
  readonly value?: number;
  /** What stands in the cell; the value where nothing is said. */
  readonly text?: string;
}

export interface HeatMapOptions extends Heading {
  /** Columns and rows stand in the order in which cells first name them. */
  readonly cells: readonly HeatCell[];
  readonly xTitle?: string;
  readonly yTitle?: string;
  readonly valueTitle?: string;
  /** `diverging` for values on both sides of `middle`. */
  readonly scheme?: "sequential" | "diverging";
  /** Where a diverging scheme is white. */
  readonly middle?: number;
  /** Lowest and highest value of the colours; those of the cells where nothing is said. */
  readonly domain?: readonly [low: number, high: number];
  /** How values are written, as d3-format has it. */
  readonly valueFormat?: string;
  /** Pixels of the whole picture. */
  readonly width?: number;
  /** Pixels of one row. */
  readonly rowHeight?: number;
}

/**
 * Draws a table of numbers as colours, with the numbers in the cells. The colours are light to dark blue, or blue over
 * white to orange: both are told apart by the colour-blind.
 *
 * @returns SVG text; the same text for the same options.
 * @throws MosError `bad_option`: no cells, a cell twice, or a value that is not finite.
 * @example
 * await heatMap({ title: "Norms", cells: [{ x: "q", y: "0", value: 1.5 }, { x: "v", y: "0" }] });
 */
export async function heatMap(options: HeatMapOptions): Promise<string> {
  check(options.cells);
  return draw(describe(options));
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
    if (seen.has(key)) throw new MosError("bad_option", `cell "${x}", "${y}" is there twice`);
    seen.add(key);
  }
}

function describe(options: HeatMapOptions): TopLevelSpec {
  const { cells, scheme = "sequential", valueFormat = ".3~g", width = 800, rowHeight = 26 } = options;
  const range = rangeOf(options);
  const rows = cells.map(({ x, y, value, text }) => ({
    x,
    y,
    value: value ?? null,
    text: text ?? "",
    own: text !== undefined,
    dark: value !== undefined && isDark(value, { ...range, scheme }),
  }));
  const colours = {
    scheme: scheme === "sequential" ? ("blues" as const) : ("blueorange" as const),
    domain: scheme === "sequential" ? [range.low, range.high] : [range.low, range.middle, range.high],
  };
  const place = (field: "x" | "y", title: string | undefined) => ({
    field,
    type: "nominal" as const,
    title: title ?? null,
    scale: { domain: [...new Set(cells.map((cell) => cell[field]))] },
    axis: { labelAngle: 0, labelLimit: 260, ticks: false, domain: false, labelPadding: 6 },
  });
  const ink = { condition: { test: "datum.dark", value: "#ffffff" }, value: INK };
  const word = { type: "text" as const, fontSize: 11, baseline: "middle" as const };
  return {
    ...heading(options),
    width,
    height: { step: rowHeight },
    autosize: { type: "fit-x", contains: "padding" },
    padding: 12,
    data: { values: rows },
    encoding: { x: place("x", options.xTitle), y: place("y", options.yTitle) },
    layer: [
      {
        transform: [{ filter: "datum.value !== null" }],
        mark: { type: "rect", stroke: "#ffffff", strokeWidth: 1 },
        encoding: {
          color: {
            field: "value",
            type: "quantitative",
            scale: colours,
            legend: { title: options.valueTitle ?? null, format: valueFormat },
          },
        },
      },
      {
        transform: [{ filter: "datum.value === null" }],
        mark: { type: "rect", fill: "#f4f4f4", stroke: "#bbbbbb", strokeDash: [3, 3], strokeWidth: 1 },
      },
      {
        transform: [{ filter: "datum.own" }],
        mark: word,
        encoding: { text: { field: "text" }, color: ink },
      },
      {
        transform: [{ filter: "!datum.own && datum.value !== null" }],
        mark: word,
        encoding: { text: { field: "value", type: "quantitative", format: valueFormat }, color: ink },
      },
    ],
  };
}

interface ColourRange {
  readonly low: number;
  readonly middle: number;
  readonly high: number;
}

/** The ends of the colours. A diverging scheme reaches equally far to both sides, so that equal strength means equal distance. */
function rangeOf({ cells, domain, scheme = "sequential", middle = 0 }: HeatMapOptions): ColourRange {
  const values = cells.flatMap(({ value }) => (value === undefined ? [] : [value]));
  const low =
    domain?.[0] ?? values.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY);
  const high = domain?.[1] ?? values.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY);
  if (!(low <= high)) return { low: 0, middle: 0, high: 1 };
  if (scheme === "sequential") return { low, middle, high: high > low ? high : low + 1 };
  const reach = Math.max(middle - low, high - middle) || 1;
  return { low: middle - reach, middle, high: middle + reach };
}

/** Whether the colour behind a value is dark enough for white words. */
function isDark(
  value: number,
  { low, middle, high, scheme }: ColourRange & { readonly scheme: string },
): boolean {
  if (scheme === "sequential") return (value - low) / (high - low) > 0.6;
  return Math.abs(value - middle) / (high - middle) > 0.75;
}
