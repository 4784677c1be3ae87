// Text for a terminal: colour, numbers, and columns by widths as a terminal counts them. Lines are broken between words.
import { stripVTControlCharacters, styleText } from "node:util";
import { describeBytes, describeCount } from "mixture-of-shards-core/common";

/** Fewest columns that a text is broken to beside its label. */
const MIN_COLUMNS = 20;

/** Text after a label of `width` columns; long lines are wrapped. */
function hanging(
  label: string,
  text: string,
  { width, columns }: { width: number; columns: number },
): string {
  const room = columns - width;
  if (displayWidth(text) <= room) return `${label}${text}`.trimEnd();
  if (room >= MIN_COLUMNS) return label + breakLines(text, room).replaceAll("\n", `\n${" ".repeat(width)}`);
  return `${label.trimEnd()}\n  ${breakLines(text, columns - 2).replaceAll("\n", "\n  ")}`;
}

export type Row = readonly [label: string, text: string];

/** Rows of a name and a text, the texts in one column, between spaces to `columns`: "model   SmolLM2". False is no row. */
export function labelled(given: readonly (Row | false)[], columns: number = breakColumns()): string {
  const rows = given.filter((row) => row !== false);
  const width = Math.max(...rows.map(([label]) => displayWidth(label))) + 3;
  return rows
    .map(([label, text]) =>
      hanging(paint("dim", label) + " ".repeat(width - displayWidth(label)), text, { width, columns }),
    )
    .join("\n");
}

const GAP = "  ";

/**
 * Rows of cells, the columns of `left` at the left and the others at the right. The first row decides how many. A table
 * that is wider than `columns` becomes several, one below the other, each with the first column.
 */
export function textTable(
  rows: readonly (readonly string[])[],
  {
    left = [0],
    columns = breakColumns(),
  }: { readonly left?: readonly number[]; readonly columns?: number } = {},
): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => displayWidth(row[column] ?? ""))),
  );
  const cell = (row: readonly string[], column: number): string => {
    const text = row[column] ?? "";
    const space = " ".repeat((widths[column] ?? 0) - displayWidth(text));
    return left.includes(column) ? text + space : space + text;
  };
  const formatLine = (row: readonly string[], block: readonly number[]): string => {
    const [first = 0, last = first] = block;
    const line = block
      .map((column) => cell(row, column))
      .join(GAP)
      .trimEnd();
    if (displayWidth(line) <= columns) return line;
    // one column beside the first, and still too wide
    const width = (widths[first] ?? 0) + GAP.length;
    return hanging(cell(row, first) + GAP, row[last] ?? "", { width, columns });
  };
  return groupColumns(widths, columns)
    .map((block, i) =>
      rows
        .filter((row) => i === 0 || block.some((column) => column > 0 && row[column] !== ""))
        .map((row) => formatLine(row, block))
        .join("\n"),
    )
    .filter((block) => block !== "")
    .join("\n\n");
}

/** Groups columns by what fits; the first one is in every group. */
function groupColumns(widths: readonly number[], columns: number): readonly (readonly number[])[] {
  const blocks: number[][] = [[0]];
  let used = widths[0] ?? 0;
  for (let column = 1; column < widths.length; column++) {
    const width = GAP.length + (widths[column] ?? 0);
    const block = blocks.at(-1) ?? [];
    if (block.length > 1 && used + width > columns) {
      blocks.push([0, column]);
      used = (widths[0] ?? 0) + width;
    } else {
      block.push(column);
      used += width;
    }
  }
  return blocks;
}

const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Extended_Pictographic}/u;
const NARROW = /[©®™‼⁉]/u; // pictographic, but drawn as letters
const ZERO = /^[\p{Mn}\p{Me}\p{Cf}]$/u;

/** Columns that a terminal needs for a text, its colours left out. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text.includes("\u001b") ? stripVTControlCharacters(text) : text) {
    if (ZERO.test(character)) continue;
    width += WIDE.test(character) && !NARROW.test(character) ? 2 : 1;
  }
  return width;
}

/** A word in pieces that each fit. */
function splitWord(word: string, width: number): readonly string[] {
  const pieces: string[] = [];
  let piece = "";
  for (const character of word) {
    if (piece !== "" && displayWidth(piece + character) > width) {
      pieces.push(piece);
      piece = "";
    }
    piece += character;
  }
  return [...pieces, piece];
}

function wrapParagraph(paragraph: string, width: number, cutsWords = true): readonly string[] {
  const indent = /^ */.exec(paragraph)?.[0].slice(0, Math.floor(width / 2)) ?? "";
  const lines: string[] = [];
  let line = indent;
  for (const word of paragraph.trim().split(/\s+/)) {
    const fits = line === indent || displayWidth(line) + 1 + displayWidth(word) <= width;
    if (!fits) {
      lines.push(line);
      line = indent;
    }
    const joined = line === indent ? line + word : `${line} ${word}`;
    const pieces = cutsWords && displayWidth(joined) > width ? splitWord(joined, width) : [joined];
    lines.push(...pieces.slice(0, -1));
    line = pieces.at(-1) ?? "";
  }
  return [...lines, line];
}

/** Breaks a text into lines of at most `width` columns: at spaces, and inside words only where they are too long.
 * Lines keep the indent of their paragraph. */
export function wrapText(text: string, width: number): readonly string[] {
  return text
    .replaceAll("\t", "  ")
    .split(/\r?\n/)
    .flatMap((paragraph) => wrapParagraph(paragraph, Math.max(1, width)));
}

/** A text whose lines fit: longer ones are broken at spaces, never inside a word, so that a path can be copied. */
export const breakLines = (text: string, columns: number): string =>
  columns === Number.POSITIVE_INFINITY
    ? text
    : text
        .split("\n")
        .flatMap((line) =>
          displayWidth(line) <= columns ? [line] : wrapParagraph(line, Math.max(1, columns), false),
        )
        .join("\n");

/** Words of a command; quoted spaces are not between words. */
const COMMAND_WORD = /(?:'[^']*'|"[^"]*"|\\.|[^\s'"\\])+/g;

/** A command on lines that fit, each but the last with a backslash at its end, so that a shell takes them as one. */
export function commandText(command: string, columns: number = breakColumns()): string {
  const lines: string[] = [];
  let line = " ";
  for (const word of command.match(COMMAND_WORD) ?? []) {
    if (line.trim() !== "" && displayWidth(line) + displayWidth(word) + 3 > columns) {
      lines.push(`${line} \\`);
      line = "     ";
    }
    line += ` ${word}`;
  }
  return [...lines, line].join("\n");
}

/** A text and what stands above it. */
interface TitledText {
  readonly title: string;
  readonly text: string;
  readonly style?: Style;
}

/** Two texts side by side where there are at least 80 columns, else one after the other. */
export function sideBySide(left: TitledText, right: TitledText, columns: number): string {
  const isNarrow = columns < 80;
  const width = isNarrow ? columns : Math.min(70, Math.floor((columns - 4) / 2));
  const toParts = ({ title, text, style }: TitledText): readonly (readonly string[])[] => [
    wrapText(title, width),
    wrapText(rule(title), width),
    wrapText(text, width).map((line) => (style === undefined ? line : paint(style, line))),
  ];
  const [first, second] = [toParts(left), toParts(right)];
  if (isNarrow) return [first, second].map((parts) => parts.flat().join("\n")).join("\n\n");
  const rows = first.flatMap((lines, part) => {
    const { [part]: others = [] } = second;
    return Array.from({ length: Math.max(lines.length, others.length) }, (_, i) => {
      const beside = lines[i] ?? "";
      return `${beside}${" ".repeat(width - displayWidth(beside) + 3)}${others[i] ?? ""}`.trimEnd();
    });
  });
  return rows.join("\n");
}

const rule = (title: string): string => "─".repeat(displayWidth(title));

// Capabilities of a stream are decided separately for stdout and stderr, and by the environment.

export type Style = "bold" | "dim" | "red" | "green" | "yellow" | "cyan";

/** The part of a stream (`process.stdout`) that this depends on. */
export interface TerminalStream {
  readonly isTTY?: boolean | undefined;
  readonly columns?: number | undefined;
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Tests whether a stream is a terminal that takes escape codes: colours, and those that move the cursor. */
export const isTerminal = (stream: TerminalStream, env: Environment = process.env): boolean =>
  stream.isTTY === true && env["TERM"] !== "dumb";

/** Tests whether a stream shows colour: a terminal does unless `NO_COLOR` is set; `FORCE_COLOR` enables it for files and pipes. */
export function hasColour(stream: TerminalStream, env: Environment = process.env): boolean {
  if ((env["NO_COLOR"] ?? "") !== "" || env["TERM"] === "dumb") return false;
  const forced = env["FORCE_COLOR"];
  if (forced === "0" || forced === "false") return false;
  return forced !== undefined || isTerminal(stream, env);
}

/**
 * A text in a style where its stream shows colour, else as it is. Widths are counted before: paint last.
 *
 * @example
 * printLine(paint("bold", "mixture of shards"));
 * note(paint("yellow", "warning: the disk is nearly full", process.stderr));
 */
export const paint = (
  style: Style | readonly Style[],
  text: string,
  stream: TerminalStream = process.stdout,
): string =>
  text !== "" && hasColour(stream)
    ? styleText(typeof style === "string" ? style : [...style], text, { validateStream: false })
    : text;

/** Columns of a terminal: its own, or `COLUMNS` where it says 0, or 80. */
export const terminalColumns = (
  stream: TerminalStream = process.stdout,
  env: Environment = process.env,
): number => stream.columns || Math.max(0, Math.trunc(Number(env["COLUMNS"]))) || 80;

/** Columns that lines are broken to: those of a terminal. In files and pipes lines stay whole, for programs that read them. */
export const breakColumns = (stream: TerminalStream = process.stdout): number =>
  stream.isTTY === true ? terminalColumns(stream) : Number.POSITIVE_INFINITY;

/** All digits, in groups: 4815162 is "4,815,162". */
export const formatInteger = (value: number): string => Math.round(value).toLocaleString("en-US");

/** Seconds as "0.42 s", "17 s", "3 min 05 s", "2 h 07 min" or "3 d 04 h"; "?" where unknown. */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return "?";
  if (seconds < 9.95) return `${seconds.toPrecision(2)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  const pair = (value: number, unit: number, [large, small]: readonly [string, string]): string =>
    `${Math.floor(value / unit)} ${large} ${String(value % unit).padStart(2, "0")} ${small}`;
  if (whole < 3600) return pair(whole, 60, ["min", "s"]);
  const minutes = Math.round(seconds / 60);
  if (minutes < 1440) return pair(minutes, 60, ["h", "min"]);
  return pair(Math.round(seconds / 3600), 24, ["d", "h"]);
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

/** `1 example`, `2 examples`. */
export const counted = (count: number, noun: string): string =>
  `${formatInteger(count)} ${noun}${count === 1 ? "" : "s"}`;
