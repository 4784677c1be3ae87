// Numbers, sizes and times as the page shows them. All of them keep their width: figures are tabular in its style sheet.

/** What stands for a value that is not known. */
const NONE = "–";

type Maybe = number | null | undefined;

const isKnown = (value: Maybe): value is number => typeof value === "number" && Number.isFinite(value);

/** The moment, as the API counts: in seconds since 1970. */
export const nowInSeconds = (): number => Date.now() / 1000;

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** 12,345; from a million on 1.23M. */
export function formatCount(value: Maybe): string {
  if (!isKnown(value)) return NONE;
  const size = Math.abs(value);
  if (size < 1e6) return whole.format(value);
  const [unit, letter] = size < 1e9 ? [1e6, "M"] : [1e9, "B"];
  return `${(value / unit).toPrecision(3)}${letter}`;
}

/** A loss or a norm: four figures, and an exponent where zeros would fill the cell. */
export function formatLoss(value: Maybe): string {
  if (!isKnown(value)) return NONE;
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e5)) return value.toExponential(2);
  return size >= 1000 ? whole.format(value) : value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 3);
}

const BYTES: readonly (readonly [number, string])[] = [
  [1e12, "TB"],
  [1e9, "GB"],
  [1e6, "MB"],
  [1e3, "kB"],
];

/** 1.2 MB: decimal units, as the command line prints them. */
export function formatBytes(value: Maybe): string {
  if (!isKnown(value)) return NONE;
  // 999,950 bytes would be 1000.0 kB
  const unit = BYTES.find(([size]) => Math.abs(value) >= size * 0.99995);
  return unit === undefined ? `${whole.format(value)} B` : `${(value / unit[0]).toFixed(1)} ${unit[1]}`;
}

/** 42 s, 3 min 05 s, 2 h 10 min, 4 d 3 h. */
export function formatDuration(seconds: Maybe): string {
  if (!isKnown(seconds)) return NONE;
  if (seconds < 9.95) return `${seconds < 0.95 ? seconds.toFixed(2) : seconds.toFixed(1)} s`;
  const rounded = Math.round(seconds);
  const [minutes, hours, days] = [60, 3600, 86400].map((unit) => Math.floor(rounded / unit)) as [
    number,
    number,
    number,
  ];
  const two = (value: number): string => String(value).padStart(2, "0");
  if (minutes === 0) return `${rounded} s`;
  if (hours === 0) return `${minutes} min ${two(rounded % 60)} s`;
  return days === 0 ? `${hours} h ${two(minutes % 60)} min` : `${days} d ${hours % 24} h`;
}

/** 12.3/s, of tokens for example. */
export const formatRate = (perSecond: Maybe): string =>
  isKnown(perSecond) ? `${perSecond < 100 ? perSecond.toFixed(1) : whole.format(perSecond)}/s` : NONE;

/** 0.25 as 25%, and small shares with two figures. */
export function formatShare(value: Maybe): string {
  if (!isKnown(value)) return NONE;
  const percent = value * 100;
  if (percent === 0 || Math.abs(percent) >= 10) return `${percent.toFixed(0)}%`;
  return `${percent.toPrecision(2)}%`;
}

/** The moment in the reader's zone, such as 5 Mar 2026, 14:03:12. */
export const formatTime = (at: Maybe): string =>
  isKnown(at)
    ? new Date(at * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" })
    : NONE;

const RELATIVE: readonly (readonly [number, number, string])[] = [
  [60, 1, "s"],
  [3600, 60, "min"],
  [86400, 3600, "h"],
  [86400 * 30, 86400, "d"],
];

/** 12 s ago, 3 h ago, in 5 min; a date if it is over a month away. Both in seconds. */
export function formatRelative(at: Maybe, now: number): string {
  if (!isKnown(at)) return NONE;
  const away = Math.round(Math.abs(now - at));
  if (away < 1) return "now";
  const unit = RELATIVE.find(([below]) => away < below);
  if (unit === undefined) return new Date(at * 1000).toLocaleDateString(undefined, { dateStyle: "medium" });
  const text = `${Math.floor(away / unit[1])} ${unit[2]}`;
  return at > now ? `in ${text}` : `${text} ago`;
}

/** "1 line", "2 lines". */
export const countOf = (count: number, what: string): string =>
  `${formatCount(count)} ${what}${count === 1 ? "" : "s"}`;

/** Whether all words of a search stand in some texts, anywhere and in any case. */
export function hasWords(search: string, texts: readonly (string | null)[]): boolean {
  const all = texts.join("\n").toLowerCase();
  return search
    .toLowerCase()
    .split(/\s+/)
    .every((word) => all.includes(word));
}

const ACRONYMS = /\b(sft|dpo|grpo|kl|ema)\b/g;

/** `max_gradient_norm` as a label: "Max gradient norm"; `grpo_loss` as "GRPO loss", and `beta1` as "Beta 1". */
export function labelOf(name: string): string {
  const words = name
    .replaceAll("_", " ")
    .replace(/(?<=[a-z])\d+$/, " $&")
    .replace(ACRONYMS, (word) => word.toUpperCase());
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** The value of a setting. */
export function formatValue(value: unknown): string {
  if (value === undefined || value === null) return NONE;
  return Array.isArray(value) ? value.map(formatValue).join(", ") : String(value);
}
