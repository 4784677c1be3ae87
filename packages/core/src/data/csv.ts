// Tables as text: RFC 4180, with commas, semicolons or tabs between the columns, and their names in the first row.
import { CsvError, parse } from "csv-parse";
import { describeEncoding, MosError } from "#common";
import { openForReading, type ReadableFile } from "#files";
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
