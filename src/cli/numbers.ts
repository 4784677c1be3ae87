// Numbers as people read them.

const BYTE_UNITS = ["B", "kB", "MB", "GB", "TB", "PB"] as const;
const COUNT_UNITS = ["", " k", " M", " G", " T"] as const;

/** Bytes in decimal units: 1536 is "1.54 kB", 270000000 is "270 MB". */
export const formatBytes = (bytes: number): string => scale(bytes, BYTE_UNITS, " ");

/** A count in three digits: 950 is "950", 4815162 is "4.82 M". */
export const formatCount = (count: number): string => scale(count, COUNT_UNITS, "");

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
  return unit === "bytes" ? `${formatBytes(perSecond)}/s` : `${formatCount(perSecond)} ${unit}/s`;
}

/** A bar of this many columns: `formatBar(0.5, 10)` is "#####-----". */
export function formatBar(fraction: number, width: number): string {
  const known = Number.isFinite(fraction) ? Math.min(1, Math.max(0, fraction)) : 0;
  const full = Math.floor(known * width);
  return "#".repeat(full) + "-".repeat(width - full);
}

/** Three significant digits and the unit of every third power of ten. */
function scale(value: number, units: readonly string[], gap: string): string {
  if (!Number.isFinite(value)) return "?";
  let unit = 0;
  let scaled = Math.abs(value);
  while (scaled >= 999.5 && unit < units.length - 1) {
    scaled /= 1000;
    unit++;
  }
  const digits = unit === 0 && Number.isInteger(scaled) ? String(scaled) : threeDigits(scaled);
  return `${value < 0 ? "-" : ""}${digits}${gap}${units[unit]}`;
}

function threeDigits(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  return value.toFixed(value >= 9.995 ? 1 : 2);
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
