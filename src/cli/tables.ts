// Text in columns: rows with labels, tables, and two texts side by side, by widths as a terminal counts them. Lines are
// broken between words.
import { stripVTControlCharacters } from "node:util";
import { breakColumns, paint, type Style } from "./colour.ts";

/** Fewest columns that a text is broken to beside its label. */
const MIN_COLUMNS = 20;

/** A text behind a label of `width` columns; lines that do not fit go on below each other. */
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

/** Rows of a name and a text, the texts in one column, between spaces to `columns`: "model   SmolLM2". */
export function labelled(
  rows: readonly (readonly [label: string, text: string])[],
  columns: number = breakColumns(),
): string {
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

/** Which columns stand together, by what fits; the first one in all. */
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

/** Fills up with spaces to this many columns. */
const padToWidth = (text: string, width: number): string =>
  text + " ".repeat(Math.max(0, width - displayWidth(text)));

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
export interface TitledText {
  readonly title: string;
  readonly text: string;
  /** How the text looks. */
  readonly style?: Style;
}

const MIN_TWO_COLUMNS_WIDTH = 80;

/** Whether two texts fit beside each other. */
export const hasTwoColumns = (columns: number): boolean => columns >= MIN_TWO_COLUMNS_WIDTH;

/** Two texts beside each other, without titles. */
export function twoColumns(left: string, right: string, { columns, style }: TwoColumns): string {
  const width = Math.min(70, Math.floor((columns - 4) / 2));
  const [first, second] = [wrapText(left, width), wrapText(right, width)];
  return Array.from({ length: Math.max(first.length, second.length) }, (_, i) => {
    const text = second[i] ?? "";
    return `${padToWidth(first[i] ?? "", width)}   ${style === undefined ? text : paint(style, text)}`.trimEnd();
  }).join("\n");
}

export interface TwoColumns {
  readonly columns: number;
  /** How the text at the right looks. */
  readonly style?: Style | undefined;
}

/** Two texts side by side where there are at least 80 columns, else one after the other. */
export function sideBySide(left: TitledText, right: TitledText, columns: number): string {
  if (!hasTwoColumns(columns))
    return [left, right]
      .map(({ title, text, style }) => {
        const lines = wrapText(text, columns);
        return [
          title,
          rule(title),
          ...(style === undefined ? lines : lines.map((line) => paint(style, line))),
        ];
      })
      .map((lines) => lines.join("\n"))
      .join("\n\n");
  return [
    twoColumns(left.title, right.title, { columns }),
    twoColumns(rule(left.title), rule(right.title), { columns }),
    twoColumns(left.text, right.text, { columns, style: right.style }),
  ].join("\n");
}

const rule = (title: string): string => "─".repeat(displayWidth(title));
