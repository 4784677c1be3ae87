import { union } from "./align.ts";
import type { ChartProps } from "./chart.tsx";
import type { Series } from "./plot.ts";

type Texts = Required<Pick<ChartProps, "xLabel" | "format">>;

const MAX_ROWS = 12;

/** How a series runs: its ends, its least and its greatest value. */
function sentence({ label, x, y }: Series, { xLabel, format }: Texts): string {
  const at = (index: number): string =>
    `${format(y[index] ?? Number.NaN)} at ${xLabel.toLowerCase()} ${x[index]}`;
  const present = y.flatMap((value, index) => (value === null || !Number.isFinite(value) ? [] : [index]));
  const [first] = present;
  const last = present.at(-1);
  if (first === undefined || last === undefined) return `${label}: no values yet.`;
  if (first === last) return `${label}: ${at(first)}.`;
  const extreme = (isBeyond: (one: number, other: number) => boolean): number =>
    present.reduce((best, index) => (isBeyond(y[index] ?? 0, y[best] ?? 0) ? index : best), first);
  const least = extreme((one, other) => one < other);
  const greatest = extreme((one, other) => one > other);
  return `${label}: from ${at(first)} to ${at(last)}; lowest ${at(least)}, highest ${at(greatest)}.`;
}

/** Sums up for readers who do not see it the series that are not drawn pale, in a sentence each and in a table of few rows. */
export function summarise(series: readonly Series[], texts: Texts) {
  const told = series.filter(({ faint }) => faint !== true);
  const x = union(told.map((one) => one.x));
  const every = Math.max(1, (x.length - 1) / (MAX_ROWS - 1));
  const places = new Set(
    Array.from({ length: Math.min(MAX_ROWS, x.length) }, (_, row) => x[Math.round(row * every)] ?? 0),
  );
  return {
    sentences: told.map((one) => sentence(one, texts)),
    rows: [...places].map((at) => ({
      x: at,
      values: told.map((one) => {
        const index = one.x.indexOf(at);
        return index < 0 ? null : (one.y[index] ?? null);
      }),
    })),
  };
}
