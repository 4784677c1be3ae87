// Records of a data file, one at a time, before their format is known.
import { decodeText, MosError, parseJson } from "#common";
import { openForReading, type ReadJsonLinesOptions, readBytes, readJsonLines, readParquetRows } from "#files";
import { extname } from "#platform";
import { readCsv } from "./csv.ts";
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
