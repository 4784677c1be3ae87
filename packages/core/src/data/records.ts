// Records of a data file, one at a time, before their format is known.

import { CsvError, parse } from "csv-parse";
import { decodeText, describeEncoding, MosError, parseJson } from "#common";
import {
  openForReading,
  type ReadableFile,
  type ReadJsonLinesOptions,
  readBytes,
  readJsonLines,
  readParquetRows,
} from "#files";
import { extname } from "#platform";
import type { NumberedRecord, Source } from "./example.ts";

/** The values of a file or of an iterable. */
export interface Records {
  readonly unit: Source["unit"];
  readonly values: AsyncIterable<NumberedRecord>;
  /** Parses lists in texts, as tables of texts have them. */
  readonly isTable?: boolean;
}

/** Extensions of readable files. */
export const DATA_EXTENSIONS = [".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet"] as const;

/** Tests whether a name has the extension of a data file. */
export const isDataFile = (name: string): boolean =>
  (DATA_EXTENSIONS as readonly string[]).includes(extname(name).toLowerCase());

/** A list in one file is parsed as a whole. */
const MAX_LIST_BYTES = 256 << 20;
const TABLE_LIMITS = { maximumRows: 20_000_000, maximumUnpackedBytes: 2 ** 33 };

/** Files without examples, by their extensions: the kind of file, and the way from it to examples. */
const OTHER_FILES: readonly (readonly [extensions: string, kind: string, remedy: string])[] = [
  [
    ".txt .md .markdown",
    "a text without examples",
    "mos data passages cuts it into passages, and mos data generate writes questions and answers about them; rename it to .jsonl if its lines are JSON",
  ],
  [
    ".pdf",
    "a PDF",
    "extract its text (pdftotext FILE FILE.txt), which mos data passages cuts into passages; tables belong into a CSV file",
  ],
  [
    ".docx .doc .odt .rtf .pptx .epub .html .htm",
    "a document",
    "save it as text or Markdown (pandoc FILE -o FILE.md), which mos data passages cuts into passages",
  ],
  [".xlsx .xls .ods", "a spreadsheet", "save the sheet as CSV in UTF-8; its first row must name the columns"],
  [".gz .zip .zst .bz2 .xz", "compressed", "decompress it first"],
];

/** The kind of a file that holds no examples, and what to do with it; undefined for data. */
export function describeOtherFile(path: string): string | undefined {
  const extension = extname(path).toLowerCase();
  const found = OTHER_FILES.find(([extensions]) => extensions.split(" ").includes(extension));
  if (found === undefined) return undefined;
  const [, kind, remedy] = found;
  return `${path}: the file is ${kind}; ${remedy}`;
}

/**
 * The values of a file, by how its name ends: JSON Lines where it is not another format's. Of a Parquet table only some
 * columns are read, if they are given; the others are undefined.
 *
 * @throws MosError `unsupported` for a document or a packed file; the values throw `bad_data`, `not_found` and `storage` when
 * they are read.
 */
export async function readRecords(
  path: string,
  {
    columns,
    yieldsErrors,
  }: Pick<ReadJsonLinesOptions, "yieldsErrors"> & { readonly columns?: readonly string[] | undefined } = {},
): Promise<Records> {
  const other = describeOtherFile(path);
  if (other !== undefined)
    throw new MosError("unsupported", `${other}; examples are read from ${DATA_EXTENSIONS.join(", ")}`);
  switch (extname(path).toLowerCase()) {
    case ".csv":
    case ".tsv":
      return { unit: "line", isTable: true, values: readCsv(path) };
    case ".parquet":
      return { unit: "row", isTable: true, values: parquetRecords(path, columns) };
    case ".json":
      return (await isList(path))
        ? { unit: "example", values: listRecords(path) }
        : { unit: "line", values: readJsonOrLines(path, { yieldsErrors }) }; // which are often called .json, too
    default:
      return { unit: "line", values: readJsonLines(path, { yieldsErrors }) };
  }
}

async function* listRecords(path: string): AsyncGenerator<NumberedRecord, void> {
  const place = { code: "bad_data", where: path } as const;
  const bytes = await readBytes(path, { code: "bad_data", maximumBytes: MAX_LIST_BYTES });
  const list = parseJson(decodeText(bytes, place).replace(/^\uFEFF/, ""), place) as readonly unknown[];
  yield* countedRecords(list);
}

/** Lines of a file that is called .json, which may be one object over several lines instead. */
async function* readJsonOrLines(
  path: string,
  options: ReadJsonLinesOptions,
): AsyncGenerator<NumberedRecord, void> {
  let count = 0;
  try {
    for await (const line of readJsonLines(path, options)) {
      count++;
      yield line;
    }
  } catch (error) {
    if (count > 0 || !(error instanceof MosError) || error.code !== "bad_data") throw error;
    const hint = `a ${extname(path)} file holds a list of examples, [{…}, {…}], or one object per line; jq -c . FILE writes such lines`;
    throw new MosError("bad_data", error.message, { hint, cause: error });
  }
}

async function isList(path: string): Promise<boolean> {
  await using file = await openForReading(path, "bad_data");
  const start = new Uint8Array(Math.min(1024, file.size));
  await file.read(start, 0);
  return /^\uFEFF?\s*\[/.test(new TextDecoder("utf-8", { ignoreBOM: true }).decode(start));
}

async function* parquetRecords(
  path: string,
  columns: readonly string[] | undefined,
): AsyncGenerator<NumberedRecord, void> {
  let line = 0;
  for await (const row of readParquetRows(path, { ...TABLE_LIMITS, columns }))
    yield { line: ++line, value: plain(row) };
}

/** As JSON would have it: missing fields for null, numbers for bigints. */
function plain(value: unknown): unknown {
  if (typeof value === "bigint") return Number(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null || value instanceof Date || ArrayBuffer.isView(value))
    return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, field]) => (field === null ? [] : [[name, plain(field)]])),
  );
}

/** Columns that hold lists, which a table of texts has as JSON. */
const LISTS = ["messages", "conversations"] as const;

/** A row of a table, with the lists in it. Throws `bad_data` for a text in a list's column that is not JSON. */
export function withLists(value: unknown, place: string): unknown {
  const row = value as Readonly<Record<string, unknown>>;
  const lists = LISTS.flatMap((name) => {
    const cell = row[name];
    const where = `${place}: column ${name}`;
    return typeof cell === "string" ? [[name, parseJson(cell, { code: "bad_data", where })]] : [];
  });
  return { ...row, ...Object.fromEntries(lists) };
}

/** The elements of an iterable, counted. */
export async function* countedRecords(
  values: Iterable<unknown> | AsyncIterable<unknown>,
): AsyncGenerator<NumberedRecord, void> {
  let line = 0;
  for await (const value of values) yield { line: ++line, value };
}

// Tables as text: RFC 4180, with commas, semicolons or tabs between the columns, and their names in the first row.

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
  await using file = await openForReading(path, "bad_data");
  const text = readText(file);
  const first = await text.next();
  const start = first.done === true ? "" : first.value;
  let rows: CountedRow[] = []; // that were parsed and not given yet
  let next = 1; // the line after the last of them, blank lines left out
  let blank = 0;
  const parser = parse({
    delimiter: detectDelimiter(start),
    record_delimiter: ["\r\n", "\n", "\r"],
    skip_empty_lines: true,
    max_record_size: MAX_CHARACTERS,
    // the parser's own count of lines is wrong where a cell holds CRLF, and in browsers its stream cannot be iterated
    on_record: (cells: string[], { empty_lines }) => {
      blank = empty_lines;
      rows.push({ line: next + blank, cells });
      next += 1 + cells.reduce((sum, cell) => sum + (cell.match(/\r\n|\n|\r/g)?.length ?? 0), 0);
      return undefined;
    },
  });
  const failure = new Promise<Error>((resolve) => parser.on("error", resolve));
  for await (const part of withEnd(start, text)) {
    const parsed = new Promise<Error | null | undefined>((resolve) => {
      if (part === undefined) parser.end(resolve);
      else parser.write(part, resolve);
    });
    const error = await Promise.race([failure, parsed]);
    yield* rows;
    rows = [];
    if (error instanceof CsvError)
      throw new MosError("bad_data", `${path}:${next + blank}: ${describeCsvError(error)}`, { cause: error });
    if (error) throw error;
  }
}

/** The parts of a text, and undefined for its end. */
async function* withEnd(
  start: string,
  rest: AsyncIterable<string>,
): AsyncGenerator<string | undefined, void> {
  yield start;
  yield* rest;
  yield undefined;
}

function describeCsvError({ code, message }: CsvError): string {
  switch (code) {
    case "CSV_QUOTE_NOT_CLOSED":
      return 'a quotation mark opened in the row that begins here is never closed; inside quotes, write "" for a quotation mark';
    case "CSV_INVALID_CLOSING_QUOTE":
    case "INVALID_OPENING_QUOTE":
      return 'an unquoted cell of the row that begins here contains a quotation mark; put the cell in quotes, and write "" for the mark';
    case "CSV_RECORD_INCONSISTENT_FIELDS_LENGTH": {
      const [, named, found] = /expect (\d+), got (\d+)/.exec(message) ?? [];
      return `this row has ${found} cells, and the first row names ${named} columns; put cells that hold the separator in quotes`;
    }
    case "CSV_MAX_RECORD_SIZE":
      return `the row that begins here is longer than ${MAX_CHARACTERS} characters; is a quotation mark missing?`;
    default:
      return `this row cannot be read (${message})`;
  }
}

/** The separator: comma, tab or semicolon, whichever the first row has most of. */
function detectDelimiter(start: string): string {
  const row = /^\s*(.*)/.exec(start)?.[1]?.replace(/"[^"]*"/g, "") ?? "";
  const count = (mark: string): number => row.split(mark).length;
  return [",", "\t", ";"].reduce((most, mark) => (count(mark) > count(most) ? mark : most));
}

async function* readText(file: ReadableFile): AsyncGenerator<string, void> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  for (let position = 0; position < file.size; position += CHUNK) {
    const bytes = new Uint8Array(Math.min(CHUNK, file.size - position));
    await file.read(bytes, position);
    try {
      yield decoder.decode(bytes, { stream: position + CHUNK < file.size });
    } catch (cause) {
      throw new MosError("bad_data", `${file.path}: ${describeEncoding(bytes)}`, { cause });
    }
  }
}
