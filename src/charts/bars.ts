import type { TopLevelSpec } from "vega-lite";
import { MosError } from "#core";
import { CATEGORIES, draw, EMPHASISED, type Heading, heading, INK, PLAIN } from "./draw.ts";

/** One bar: a mean over seeds, how far the seeds lie apart, and the seeds themselves. */
export interface Bar {
  readonly label: string;
  /** Which of several bars beside each other under one label. */
  readonly group?: string;
  readonly mean: number;
  /** Standard deviation: the error bar reaches this far up and down. */
  readonly deviation?: number;
  /** The seeds' own values, drawn as small rings. */
  readonly points?: readonly number[];
  /** Draws the reader's eye: another colour (without groups) or full strength beside paler ones, and a bold label. */
  readonly emphasised?: boolean;
}

export interface BarChartOptions extends Heading {
  readonly bars: readonly Bar[];
  /** What the values are, and in which unit. */
  readonly valueTitle?: string;
  readonly labelTitle?: string;
  readonly groupTitle?: string;
  /** Labels down the left, bars to the right: for many or long labels. */
  readonly horizontal?: boolean;
  /** `point` for values far from zero that differ little (losses): a bar that does not start at zero misleads. */
  readonly mark?: "bar" | "point";
  /** Whether the axis of values starts at zero: always for bars, and only on demand for points. */
  readonly fromZero?: boolean;
  /** Writes each mean beside its bar. */
  readonly printMeans?: boolean;
  /** How numbers are written, as d3-format has it: `.3f`. */
  readonly valueFormat?: string;
  /** Pixels of the whole picture. */
  readonly width?: number;
  /** Pixels of the whole picture; a horizontal chart grows with its bars instead. */
  readonly height?: number;
}

const WIDTH = 800;

interface Row {
  readonly label: string;
  readonly group: string;
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly end: number;
  readonly emphasised: boolean;
}

/**
 * Draws means with their error bars (standard deviation) and the seeds' own points, in the order given.
 *
 * @returns SVG text; the same text for the same options.
 * @throws MosError `bad_option`: no bars, a number that is not finite, or bars on an axis that does not start at zero.
 * @example
 * await barChart({
 *   title: "Accuracy",
 *   bars: [
 *     { label: "LoRA", mean: 0.41, deviation: 0.02 },
 *     { label: "MoS", mean: 0.47, deviation: 0.01, emphasised: true },
 *   ],
 * });
 */
export async function barChart(options: BarChartOptions): Promise<string> {
  check(options);
  const labels = new Set(options.bars.map(({ label }) => label)).size;
  const room = options.horizontal ? 34 : Math.max(8, Math.floor((options.width ?? WIDTH) / 9 / labels));
  return draw(
    describe({ ...options, bars: options.bars.map((bar) => ({ ...bar, label: wrap(bar.label, room) })) }),
  );
}

function check({ bars, mark = "bar", fromZero = mark === "bar" }: BarChartOptions): void {
  if (bars.length === 0) throw new MosError("bad_option", "a bar chart without bars: give at least one");
  if (mark === "bar" && !fromZero)
    throw new MosError(
      "bad_option",
      'bars on an axis that does not start at zero mislead the eye: use mark "point", or let the axis start at zero',
    );
  const seen = new Set<string>();
  for (const { label, group = "", mean, deviation = 0, points = [] } of bars) {
    const name = group === "" ? `"${label}"` : `"${label}" of "${group}"`;
    if (![mean, deviation, ...points].every(Number.isFinite))
      throw new MosError(
        "bad_option",
        `bar ${name} holds a number that is not finite: leave it out of the chart`,
      );
    if (deviation < 0) throw new MosError("bad_option", `bar ${name} has a negative deviation, ${deviation}`);
    const key = JSON.stringify([label, group]);
    if (seen.has(key))
      throw new MosError("bad_option", `bar ${name} is there twice: two bars cannot share a place`);
    seen.add(key);
  }
}

function describe(options: BarChartOptions): TopLevelSpec {
  const { bars, horizontal = false, mark = "bar", printMeans = false, width = WIDTH, height = 420 } = options;
  const rows = bars.map((bar) => rowOf(bar, mark === "bar" ? 0 : bar.mean));
  const groups = [...new Set(rows.map(({ group }) => group))];
  const place = placing(options, groups);
  const value = horizontal ? "x" : "y";
  const ink = colouring(rows, { groups, title: options.groupTitle });
  const points = bars.flatMap(({ label, group = "", points: values = [] }) =>
    values.map((one) => ({ label, group, one })),
  );
  const text = { align: horizontal ? "left" : "center", baseline: horizontal ? "middle" : "bottom" } as const;
  const lines = Math.max(...rows.map(({ label }) => label.split("\n").length));
  const size = horizontal
    ? { width, height: { step: groups.length > 1 ? 18 : 12 + 17 * lines } }
    : { width, height };
  return {
    ...heading(options),
    ...size,
    autosize: { type: horizontal ? "fit-x" : "fit", contains: "padding" },
    padding: 12,
    data: { values: rows },
    encoding: place,
    layer: [
      {
        mark: mark === "bar" ? { type: "bar" } : { type: "point", filled: true, size: 130, opacity: 1 },
        encoding: { [value]: valueAxis(options), ...ink },
      },
      {
        transform: [{ filter: "datum.high > datum.low" }],
        mark: { type: "errorbar", ticks: { color: INK, size: 10 }, rule: { color: INK, strokeWidth: 1.5 } },
        encoding: { [value]: { ...valueAxis(options), field: "low" }, [`${value}2`]: { field: "high" } },
      },
      {
        data: { values: points },
        mark: { type: "point", filled: false, size: 26, strokeWidth: 1.2, color: INK, opacity: 0.75 },
        encoding: { [value]: { ...valueAxis(options), field: "one" } },
      },
      ...(printMeans
        ? [
            {
              mark: {
                type: "text" as const,
                ...text,
                ...(horizontal ? { dx: 6 } : { dy: -5 }),
                fontSize: 11,
              },
              encoding: {
                [value]: { ...valueAxis(options), field: "end" },
                text: { field: "mean", type: "quantitative" as const, format: options.valueFormat ?? ".3~g" },
                color: { value: INK },
              },
            },
          ]
        : []),
    ],
  };
}

/** Breaks a label into lines of about `width` characters, between words. */
function wrap(label: string, width: number): string {
  const lines: string[] = [];
  for (const word of label.split(/\s+/)) {
    const last = lines.at(-1);
    if (last === undefined || last.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${last} ${word}`;
  }
  return lines.join("\n");
}

function rowOf(
  { label, group = "", mean, deviation = 0, points = [], emphasised = false }: Bar,
  foot: number,
): Row {
  const [low, high] = [mean - deviation, mean + deviation];
  // The written mean stands beyond everything that is drawn of its bar.
  return { label, group, mean, low, high, end: Math.max(foot, high, ...points), emphasised };
}

/** Where a bar stands: its label, and its group's place under the label. */
function placing({ bars, labelTitle, horizontal = false }: BarChartOptions, groups: readonly string[]) {
  const labels = [...new Set(bars.map(({ label }) => label))];
  const bold = labels.filter((label) => bars.some((bar) => bar.label === label && bar.emphasised));
  const axis = horizontal ? "y" : "x";
  const weight = {
    condition: { test: `indexof(${JSON.stringify(bold)}, datum.value) >= 0`, value: "bold" as const },
    value: "normal" as const,
  };
  return {
    [axis]: {
      field: "label",
      type: "nominal" as const,
      title: labelTitle ?? null,
      scale: { domain: labels, paddingInner: 0.25, paddingOuter: 0.15 },
      axis: {
        labelLimit: 360,
        labelAngle: 0,
        labelExpr: "split(datum.label, '\\n')",
        ticks: false,
        labelPadding: 8,
        labelFontWeight: weight,
      },
    },
    ...(groups.length > 1
      ? { [`${axis}Offset`]: { field: "group", type: "nominal" as const, scale: { domain: [...groups] } } }
      : {}),
  };
}

function valueAxis({ valueTitle, valueFormat, mark = "bar", fromZero = mark === "bar" }: BarChartOptions) {
  return {
    field: "mean",
    type: "quantitative" as const,
    title: valueTitle ?? null,
    scale: { zero: fromZero, nice: true },
    axis: { grid: true, tickCount: 6, ...(valueFormat === undefined ? {} : { format: valueFormat }) },
  };
}

function colouring(
  rows: readonly Row[],
  { groups, title }: { groups: readonly string[]; title: string | undefined },
) {
  const some = rows.some(({ emphasised }) => emphasised);
  if (groups.length <= 1)
    return { color: { condition: { test: "datum.emphasised", value: EMPHASISED }, value: PLAIN } };
  const range = groups.map((_, index) => CATEGORIES[index % CATEGORIES.length] ?? PLAIN);
  return {
    color: {
      field: "group",
      type: "nominal" as const,
      scale: { domain: [...groups], range },
      legend: { title: title ?? null, orient: "top" as const },
    },
    ...(some ? { opacity: { condition: { test: "datum.emphasised", value: 1 }, value: 0.55 } } : {}),
  };
}
