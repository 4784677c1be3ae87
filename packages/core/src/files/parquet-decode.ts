// Parquet tables, read one row group at a time and only the requested columns. What a file claims about its own size is
// checked before anything is unpacked: a page of a few bytes may stand for millions of values.
import * as zlib from "node:zlib";
import { type Compressors, parquetMetadataAsync, parquetSchema } from "hyparquet";
import { parquetHeader } from "hyparquet/src/column.js";
import { parquetReadColumn } from "hyparquet/src/read.js";
import { errorText, MosError } from "#common";
import { openForReading } from "./atomic-files.ts";

/**
 * Limits of a table's unpacked size by the size of its file: tables of texts have 3 to 30 times that, while one text that
 * is repeated by its number in a dictionary makes gigabytes of a kilobyte.
 */
const [MIN_UNPACKED_BYTES, UNPACKED_FOR_EACH_BYTE] = [1 << 24, 1000];
/** A value in memory, whatever it is. */
const VALUE_BYTES = 8;

/** Limits of a table. */
export interface ParquetLimits {
  readonly maximumRows: number;
  /** Limit for the columns that are read. */
  readonly maximumUnpackedBytes: number;
  /** Limit for a row group, which is unpacked as a whole: values of the columns that are read; 2²⁵. */
  readonly maximumValues?: number;
}

export interface ReadParquetOptions extends ParquetLimits {
  /** The columns that are read where the table has them, the others being undefined in a row; all. */
  readonly columns?: readonly string[] | undefined;
}

/** A row by the names of its columns: 64-bit numbers are bigints, missing values null, lists and structs nested. */
export type ParquetRow = Readonly<Record<string, unknown>>;

type Table = Awaited<ReturnType<typeof openTable>>;

/**
 * The rows of a Parquet file, in this process. A broken file can end the process or keep it busy for ever: `readParquetRows`
 * contains that.
 *
 * @throws MosError `bad_data`, `unsupported`, `not_found`, `storage`.
 */
export async function* decodeParquetRows(
  path: string,
  options: ReadParquetOptions,
): AsyncGenerator<ParquetRow, void> {
  await using source = await openForReading(path, "bad_data");
  const file = {
    byteLength: source.size,
    slice: async (start: number, end: number = source.size): Promise<ArrayBuffer> => {
      const from = Math.max(0, start < 0 ? source.size + start : start);
      const bytes = new Uint8Array(Math.max(0, Math.min(end, source.size) - from));
      await source.read(bytes, from);
      return bytes.buffer;
    },
  };
  const table = await guarded(path, async () => {
    const opened = await openTable(path, file, options);
    checkSizes(opened, options);
    return opened;
  });
  const { maximumUnpackedBytes } = options;
  const plausible = MIN_UNPACKED_BYTES + UNPACKED_FOR_EACH_BYTE * source.size;
  const take = budget(path, Math.min(maximumUnpackedBytes, plausible));
  const takeTexts = budget(path, Math.min(maximumUnpackedBytes, plausible));
  let rowStart = 0;
  for (const group of table.metadata.row_groups) {
    const rows = Number(group.num_rows);
    const range = { rowStart, rowEnd: rowStart + rows };
    const columns = await guarded(path, async () => {
      await checkPages(group, { ...options, ...range, table, take });
      return await readColumns(table, range);
    });
    for (let i = 0; i < rows; i++) {
      const row = Object.fromEntries(table.names.map((name) => [name, columns.get(name)?.[i]]));
      takeTexts(charactersIn(row));
      yield row;
    }
    rowStart += rows;
  }
}

/** Takes unpacked bytes of a file. Throws `bad_data` where there are more than the limit in all. */
function budget(path: string, limit: number): (bytes: number) => void {
  let taken = 0;
  return (bytes) => {
    taken += bytes;
    if (taken <= limit) return;
    throw new MosError(
      "bad_data",
      `${path}: the table has more than ${limit} bytes when decompressed, the limit for a file of its size`,
    );
  };
}

/** Characters of all texts of a value: a text may stand in a million rows and be in the file and in memory once. */
export function charactersIn(value: unknown): number {
  if (typeof value === "string") return value.length;
  if (typeof value !== "object" || value === null || ArrayBuffer.isView(value)) return 0;
  let sum = 0;
  for (const part of Object.values(value)) sum += charactersIn(part);
  return sum;
}

/** A table with the names of all its columns, and of those that are read. */
async function openTable(
  path: string,
  file: { readonly byteLength: number; slice(start: number, end?: number): Promise<ArrayBuffer> },
  options: ReadParquetOptions,
) {
  const compressors = unpackers(options.maximumUnpackedBytes);
  const metadata = await parquetMetadataAsync(file);
  const names = parquetSchema(metadata).children.map(({ element }) => element.name);
  const read = new Set(names.filter((name) => options.columns?.includes(name) ?? true));
  return { path, file, metadata, compressors, names, read };
}

interface RowRange {
  readonly rowStart: number;
  readonly rowEnd: number;
}

/** The columns of a row group as lists of values: rows of all of them at once would take many times the memory. */
async function readColumns(
  { path, file, metadata, compressors, read }: Table,
  range: RowRange,
): Promise<ReadonlyMap<string, ArrayLike<unknown>>> {
  const columns = new Map<string, ArrayLike<unknown>>();
  for (const name of read) {
    const values = await parquetReadColumn({ file, metadata, compressors, columns: [name], ...range });
    if (values.length < range.rowEnd - range.rowStart)
      throw new MosError("bad_data", `${path}: column "${name}" has fewer values than there are rows`);
    columns.set(name, values);
  }
  return columns;
}

interface PageOptions extends ParquetLimits, RowRange {
  readonly table: Table;
  readonly take: (bytes: number) => void;
}

/** Adds up what the pages of a row group hold by their own headers, before one is unpacked. */
async function checkPages(
  { columns }: Table["metadata"]["row_groups"][number],
  options: PageOptions,
): Promise<void> {
  const { table, take, rowStart, rowEnd, maximumValues = 1 << 25 } = options;
  let values = 0;
  for (const { meta_data: column } of columns) {
    if (column === undefined || !table.read.has(column.path_in_schema[0] ?? "")) continue;
    const start = Number(column.dictionary_page_offset || column.data_page_offset);
    const chunk = await table.file.slice(start, start + Number(column.total_compressed_size));
    for (const page of readPages(new DataView(chunk))) {
      values += page.values;
      take(Math.max(page.bytes, VALUE_BYTES * page.values));
    }
    if (values > maximumValues)
      throw new MosError(
        "bad_data",
        `${table.path}: rows ${rowStart + 1} to ${rowEnd} are one row group of more than ${maximumValues} values, which is read at once; write the table in smaller row groups`,
      );
  }
}

/** Yields the sizes that each page's header claims. Throws if they are impossible. */
function* readPages(view: DataView): Generator<{ readonly values: number; readonly bytes: number }, void> {
  for (const reader = { view, offset: 0 }; reader.offset < view.byteLength - 1; ) {
    const header = parquetHeader(reader);
    const { compressed_page_size: packed, uncompressed_page_size: bytes } = header;
    const { num_values: values } = header.data_page_header ??
      header.data_page_header_v2 ??
      header.dictionary_page_header ?? { num_values: 0 };
    if (![packed, bytes, values].every((count) => Number.isInteger(count) && count >= 0))
      throw new Error("a page has no size");
    reader.offset += packed;
    yield { values, bytes };
  }
}

/** Decompressors of pages; one that holds more than it claims is not decompressed to its end. */
function unpackers(maximum: number): Compressors {
  type Unpack = (packed: Uint8Array, options: { readonly maxOutputLength: number }) => Uint8Array;
  const bounded =
    (unpack: Unpack) =>
    (packed: Uint8Array, length: number): Uint8Array =>
      unpack(packed, { maxOutputLength: Math.max(1, Math.min(length, maximum)) });
  const { zstdDecompressSync: zstd } = zlib as { readonly zstdDecompressSync?: Unpack };
  return {
    GZIP: bounded(zlib.gunzipSync),
    BROTLI: bounded(zlib.brotliDecompressSync),
    ...(zstd === undefined ? {} : { ZSTD: bounded(zstd) }),
  };
}

async function guarded<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    if (cause instanceof MosError) throw cause;
    const reason = errorText(cause);
    throw new MosError("bad_data", `${path}: this is not a Parquet file that can be read (${reason})`, {
      cause,
    });
  }
}

function checkSizes({ path, metadata, compressors, read }: Table, { maximumRows }: ParquetLimits): void {
  const counts = metadata.row_groups.map(({ num_rows }) => num_rows);
  if (counts.some((count) => count < 0n))
    throw new MosError("bad_data", `${path}: a row group has a negative row count`);
  const rows = counts.reduce((sum, count) => sum + count, 0n);
  if (rows > maximumRows)
    throw new MosError("bad_data", `${path}: the table has ${rows} rows; the limit is ${maximumRows}`);
  const known = ["UNCOMPRESSED", "SNAPPY", ...Object.keys(compressors)];
  const packings = metadata.row_groups.flatMap(({ columns }) =>
    columns.flatMap(({ meta_data: column }) =>
      column !== undefined && read.has(column.path_in_schema[0] ?? "") ? [column.codec] : [],
    ),
  );
  const unknown = packings.find((codec) => !known.includes(codec));
  if (unknown !== undefined)
    throw new MosError(
      "unsupported",
      `${path}: compressed with ${unknown}; supported are ${known.join(", ")}; write the table with one of these`,
    );
}
