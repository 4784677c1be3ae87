// What a terminal shows while something long runs: numbers for people, one live line, and a curve at the end.

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

/** One line that fits: without control characters, and with "…" in place of what is beyond the columns. */
export function cutToColumns(text: string, columns: number): string {
  const characters = [...text.replace(/\p{Cc}+/gu, " ")];
  if (characters.length <= columns) return characters.join("");
  return columns < 1 ? "" : `${characters.slice(0, columns - 1).join("")}…`;
}

/** The part of a terminal stream (`process.stderr`) that the live line uses. */
export interface LineStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

export interface LiveLineOptions {
  /** Milliseconds, on any clock that does not go back. */
  readonly now: () => number;
  /** How often the line of a terminal may change, in milliseconds. */
  readonly refreshMilliseconds?: number;
  /** How often a line is written where the stream is a file or a pipe, in milliseconds. */
  readonly plainMilliseconds?: number;
}

/** One line at the bottom of a terminal that is written over and over; dispose of it to leave the last state. */
export interface LiveLine extends Disposable {
  /** Shows the state, unless it was shown a moment ago. */
  readonly update: (text: string) => void;
  /** Writes a line that stays, above the live one. */
  readonly print: (text: string) => void;
  /** Takes the line away, and the state with it: nothing of it is left in front of what comes next. */
  readonly clear: () => void;
}

/**
 * Opens a live line on a stream. Where the stream is no terminal, states become plain lines at intervals.
 *
 * @example
 * using line = openLiveLine(process.stderr, { now: () => performance.now() });
 * line.update("step 3/100  loss 2.31");
 */
export function openLiveLine(stream: LineStream, options: LiveLineOptions): LiveLine {
  const { now, refreshMilliseconds = 100, plainMilliseconds = 10_000 } = options;
  const isTerminal = stream.isTTY === true;
  const interval = isTerminal ? refreshMilliseconds : plainMilliseconds;
  let shown = "";
  let latest = "";
  let shownAt = Number.NEGATIVE_INFINITY;
  const show = (): void => {
    shown = latest;
    shownAt = now();
    // The last column stays free: some terminals wrap when it is filled.
    if (isTerminal) stream.write(`\r${cutToColumns(latest, (stream.columns || 80) - 1)}\u001b[K`);
    else stream.write(`${latest}\n`);
  };
  return {
    update(text) {
      latest = text;
      if (now() - shownAt >= interval) show();
    },
    print(text) {
      if (isTerminal && shown !== "") stream.write("\r\u001b[K");
      stream.write(`${text}\n`);
      if (isTerminal && shown !== "") show();
    },
    clear() {
      if (isTerminal && shown !== "") stream.write("\r\u001b[K");
      latest = "";
      shown = "";
    },
    [Symbol.dispose]() {
      if (latest !== shown) show();
      if (isTerminal && shown !== "") stream.write("\n");
      latest = "";
      shown = "";
    },
  };
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
