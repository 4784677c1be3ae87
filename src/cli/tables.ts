// Text in columns: rows with labels, tables, and two texts side by side, by widths as a terminal counts them.

/** Rows of a name and a text, the texts in one column: "model   SmolLM2". */
export function labelled(rows: readonly (readonly [label: string, text: string])[]): string {
  const width = Math.max(...rows.map(([label]) => label.length)) + 3;
  return rows.map(([label, text]) => `${label.padEnd(width)}${text}`.trimEnd()).join("\n");
}

/** Rows of cells, the columns of `left` at the left and the others at the right. The first row decides how many. */
export function textTable(
  rows: readonly (readonly string[])[],
  { left = [0] }: { readonly left?: readonly number[] } = {},
): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const cell = (text: string, column: number): string => {
    const width = widths[column] ?? 0;
    return left.includes(column) ? text.padEnd(width) : text.padStart(width);
  };
  return rows.map((row) => row.map(cell).join("  ").trimEnd()).join("\n");
}

const WIDE =
  /[\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|\p{Extended_Pictographic}/u;
const NARROW = /[©®™‼⁉]/u; // pictographic, but drawn as letters
const ZERO = /^[\p{Mn}\p{Me}\p{Cf}]$/u;

/** Columns that a terminal needs for a text. */
export function displayWidth(text: string): number {
  let width = 0;
  for (const character of text) {
    if (ZERO.test(character)) continue;
    width += WIDE.test(character) && !NARROW.test(character) ? 2 : 1;
  }
  return width;
}

/** Fills up with spaces to this many columns. */
const padToWidth = (text: string, width: number): string =>
  text + " ".repeat(Math.max(0, width - displayWidth(text)));

/** A word in pieces that each fit. */
function piecesOf(word: string, width: number): readonly string[] {
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

function wrapParagraph(paragraph: string, width: number): readonly string[] {
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
    const pieces = displayWidth(joined) > width ? piecesOf(joined, width) : [joined];
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

/** A text and what stands above it. */
export interface TitledText {
  readonly title: string;
  readonly text: string;
}

const NARROWEST = 80;

/** Whether two texts fit beside each other. */
export const hasTwoColumns = (columns: number): boolean => columns >= NARROWEST;

/** Two texts beside each other, without titles. */
export function twoColumns(left: string, right: string, columns: number): string {
  const width = Math.min(70, Math.floor((columns - 4) / 2));
  const [first, second] = [wrapText(left, width), wrapText(right, width)];
  return Array.from({ length: Math.max(first.length, second.length) }, (_, i) =>
    `${padToWidth(first[i] ?? "", width)}   ${second[i] ?? ""}`.trimEnd(),
  ).join("\n");
}

/** Two texts side by side where there are at least 80 columns, else one after the other. */
export function sideBySide(left: TitledText, right: TitledText, columns: number): string {
  if (!hasTwoColumns(columns))
    return [left, right]
      .map(({ title, text }) => [title, rule(title), ...wrapText(text, columns)].join("\n"))
      .join("\n\n");
  return [
    twoColumns(left.title, right.title, columns),
    twoColumns(rule(left.title), rule(right.title), columns),
    twoColumns(left.text, right.text, columns),
  ].join("\n");
}

const rule = (title: string): string => "─".repeat(displayWidth(title));
