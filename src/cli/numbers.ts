// Numbers as people read them.
import { describeBytes, describeCount } from "#core";

/** All digits, in groups: 4815162 is "4,815,162". */
export const formatInteger = (value: number): string => Math.round(value).toLocaleString("en-US");

/** Seconds as "0.42 s", "17 s", "3 min 05 s", "2 h 07 min" or "3 d 04 h"; "?" where unknown. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return "?";
  if (seconds < 9.95) return `${seconds.toPrecision(2)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return pair(whole, { unit: 60, names: ["min", "s"] });
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return pair(minutes, { unit: 60, names: ["h", "min"] });
  return pair(Math.round(seconds / 3600), { unit: 24, names: ["d", "h"] });
}

/** A speed: `formatRate(1240, "tokens")` is "1.24 k tokens/s", `formatRate(3e6, "bytes")` is "3.00 MB/s". */
export function formatRate(perSecond: number, unit: string): string {
  if (!Number.isFinite(perSecond)) return `? ${unit}/s`;
  return unit === "bytes" ? `${describeBytes(perSecond)}/s` : `${describeCount(perSecond)} ${unit}/s`;
}

/** A bar of this many columns: `formatBar(0.5, 10)` is "#####-----". */
export function formatBar(fraction: number, width: number): string {
  const known = Number.isFinite(fraction) ? Math.min(1, Math.max(0, fraction)) : 0;
  const full = Math.floor(known * width);
  return "#".repeat(full) + "-".repeat(width - full);
}

interface PairNames {
  readonly unit: number;
  readonly names: readonly [string, string];
}

const pair = (value: number, { unit, names }: PairNames): string =>
  `${Math.floor(value / unit)} ${names[0]} ${String(value % unit).padStart(2, "0")} ${names[1]}`;

/** `1 example`, `2 examples`. */
export const counted = (count: number, noun: string): string =>
  `${Math.round(count).toLocaleString("en-US")} ${noun}${count === 1 ? "" : "s"}`;
