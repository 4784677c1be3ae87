// Tables as text: RFC 4180, with commas, semicolons or tabs between the columns, and their names in the first row.
import { describeEncoding, MosError } from "#core";
import { openForReading } from "#files";
import type { NumberedRecord } from "./example.ts";

const CHUNK = 1 << 18;
/** More than any context window holds. */
const MAX_CHARACTERS = 1 << 24;
const MAX_COLUMNS = 4096;

interface CountedRow {
  /** The line on which the row begins. */
  readonly line: number;
  readonly cells: readonly string[];
}

/**
 * Reads a table as a stream. A byte order mark, CRLF, blank lines and line ends within quotation marks are fine.
 *
 * @throws MosError `bad_data` with the line of a row that is not as the first one, or whose quotation marks do not match.
 */
export async function* readCsv(path: string): AsyncGenerator<NumberedRecord, void> {
  let names: readonly string[] | undefined;
  for await (const { line, cells } of readRows(path)) {
    if (names === undefined) names = columnNames(cells, path);
    else yield { line, value: Object.fromEntries(names.map((name, i) => [name, cells[i]])) };
  }
}

function columnNames(cells: readonly string[], path: string): readonly string[] {
  const names = cells.map((cell) => cell.trim());
  if (names.length > MAX_COLUMNS)
    throw new MosError(
      "bad_data",
      `${path}: the first row names ${names.length} columns; the limit is ${MAX_COLUMNS}; remove those that are not used`,
    );
  const seen = new Set<string>();
  const again = names.find((name) => seen.size === seen.add(name).size);
  if (names.includes("") || again !== undefined)
    throw new MosError(
      "bad_data",
      `${path}: the first row must name the columns, without duplicates; ${again === undefined || again === "" ? "one has no name" : `"${again}" occurs twice`}`,
    );
  return names;
}

async function* readRows(path: string): AsyncGenerator<CountedRow, void> {
  const reader = new RowReader(path);
  for await (const part of readText(path)) yield* reader.take(part);
}

/** Cuts text that comes in parts into rows. */
class RowReader {
  readonly #path: string;
  /** Text from the row on that the parts so far do not end. */
  #rest = "";
  #line = 1;
  #delimiter: string | undefined;
  #width: number | undefined;

  constructor(path: string) {
    this.#path = path;
  }

  *take({ text, isEnd }: TextPart): Generator<CountedRow, void> {
    this.#rest += text;
    this.#delimiter ??= detectDelimiter(this.#rest);
    let begin = 0;
    while (begin < this.#rest.length) {
      const row = parseRow(this.#rest, { begin, isEnd, delimiter: this.#delimiter });
      if ((row?.end ?? this.#rest.length) - begin > MAX_CHARACTERS)
        throw this.#refuse(
          `the row that begins here is longer than ${MAX_CHARACTERS} characters; is a quotation mark missing?`,
        );
      if (row === undefined) {
        if (!isEnd) break;
        throw this.#refuse(
          'a quotation mark opened in the row that begins here is never closed; inside quotes, write "" for a quotation mark',
        );
      }
      if (row.end === undefined)
        throw this.#refuse(
          'an unquoted cell of the row that begins here contains a quotation mark; put the cell in quotes, and write "" for the mark',
        );
      const isBlank = row.cells.length === 1 && row.cells[0] === "" && this.#rest[begin] !== '"';
      if (!isBlank) yield this.#checked(row.cells);
      this.#line += 1 + row.cells.reduce((sum, cell) => sum + (cell.match(LINE_END)?.length ?? 0), 0);
      begin = row.end;
    }
    this.#rest = this.#rest.slice(begin);
  }

  #checked(cells: readonly string[]): CountedRow {
    this.#width ??= cells.length;
    if (cells.length === this.#width) return { line: this.#line, cells };
    throw this.#refuse(
      `this row has ${cells.length} cells, and the first row names ${this.#width} columns; put cells that hold the separator in quotes`,
    );
  }

  #refuse(why: string): MosError {
    return new MosError("bad_data", `${this.#path}:${this.#line}: ${why}`);
  }
}

const LINE_END = /\r\n|\n|\r/g;

interface RowPlace {
  readonly begin: number;
  /** Whether nothing follows the text. */
  readonly isEnd: boolean;
  readonly delimiter: string;
}

interface ParsedRow {
  readonly cells: readonly string[];
  /** Where the next row begins; undefined where a quotation mark is in a cell. */
  readonly end: number | undefined;
}

/** The row that begins at a position; undefined where the text ends before it does. */
function parseRow(text: string, { begin, isEnd, delimiter }: RowPlace): ParsedRow | undefined {
  const cells: string[] = [];
  for (let at = begin; ; at++) {
    const end = text[at] === '"' ? findClosingQuote(text, at) : findCellEnd(text, at, delimiter);
    // what ends the text may be half of "" or of CRLF
    if (end === undefined || (!isEnd && end >= text.length - 1)) return undefined;
    const cell = text.slice(at, end);
    cells.push(cell.startsWith('"') ? cell.slice(1, -1).replaceAll('""', '"') : cell);
    at = end;
    if (text[at] !== delimiter) return { cells, end: findNextRow(text, at) };
  }
}

/** The position after a line end, or the end of the text; undefined for anything else. */
function findNextRow(text: string, at: number): number | undefined {
  if (text.startsWith("\r\n", at)) return at + 2;
  return at === text.length || text[at] === "\n" || text[at] === "\r" ? at + 1 : undefined;
}

/** The position after a cell in quotes. */
function findClosingQuote(text: string, at: number): number | undefined {
  for (let quote = text.indexOf('"', at + 1); quote >= 0; quote = text.indexOf('"', quote + 2))
    if (text[quote + 1] !== '"') return quote + 1;
  return undefined;
}

/** The position after a cell without quotes: of the separator, a line end, a quotation mark, or the end of the text. */
function findCellEnd(text: string, at: number, delimiter: string): number {
  const pattern = CELL_ENDS[delimiter] ?? CELL_ENDS[","];
  pattern.lastIndex = at;
  return pattern.exec(text)?.index ?? text.length;
}

const CELL_ENDS: Readonly<Record<string, RegExp>> & { readonly ",": RegExp } = {
  ",": /[,"\r\n]/g,
  ";": /[;"\r\n]/g,
  "\t": /[\t"\r\n]/g,
};

/** The separator: comma, tab or semicolon, whichever the first row has most of. */
function detectDelimiter(start: string): string {
  const row = /^\s*(.*)/.exec(start)?.[1]?.replace(/"[^"]*"/g, "") ?? "";
  const count = (mark: string): number => row.split(mark).length;
  return [",", "\t", ";"].reduce((most, mark) => (count(mark) > count(most) ? mark : most));
}

interface TextPart {
  readonly text: string;
  readonly isEnd: boolean;
}

async function* readText(path: string): AsyncGenerator<TextPart, void> {
  await using file = await openForReading(path, "bad_data");
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let position = 0; position < file.size; position += CHUNK) {
    const bytes = new Uint8Array(Math.min(CHUNK, file.size - position));
    await file.read(bytes, position);
    try {
      const isEnd = position + CHUNK >= file.size;
      yield { text: decoder.decode(bytes, { stream: !isEnd }), isEnd };
    } catch (cause) {
      throw new MosError("bad_data", `${path}: ${describeEncoding(bytes)}`, { cause });
    }
  }
}
