// Parquet tables, read one row group at a time. What a file says of its own size is checked before anything is unpacked.
import * as zlib from "node:zlib";
import { type Compressors, parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { MosError } from "#core";
import { openForReading } from "#storage";

/** What a table may be at most. */
export interface ParquetLimits {
  readonly maximumRows: number;
  /** Of all its columns. */
  readonly maximumUnpackedBytes: number;
}

/** A row by the names of its columns: 64-bit numbers are bigints, missing values null, lists and structs nested. */
export type ParquetRow = Readonly<Record<string, unknown>>;

type Metadata = Awaited<ReturnType<typeof parquetMetadataAsync>>;

/**
 * The rows of a Parquet file, packed by Snappy, gzip, Brotli, Zstandard (Node 22.15 and later) or not at all.
 *
 * @throws MosError `bad_data`, `unsupported`, `not_found`, `storage`.
 * @example
 * for await (const row of readParquetRows("train.parquet", { maximumRows: 1e6, maximumUnpackedBytes: 2 ** 30 })) use(row);
 */
export async function* readParquetRows(
  path: string,
  limits: ParquetLimits,
): AsyncGenerator<ParquetRow, void> {
  await using opened = await openForReading(path, "bad_data");
  const file = {
    byteLength: opened.size,
    slice: async (start: number, end: number = opened.size): Promise<ArrayBuffer> => {
      const from = Math.max(0, start < 0 ? opened.size + start : start);
      const bytes = new Uint8Array(Math.max(0, Math.min(end, opened.size) - from));
      await opened.read(bytes, from);
      return bytes.buffer;
    },
  };
  const compressors = unpackers(limits.maximumUnpackedBytes);
  const metadata = await guarded(path, async () => {
    const found = await parquetMetadataAsync(file);
    checkSizes(found, { path, limits, compressors });
    return found;
  });
  let rowStart = 0;
  for (const { num_rows } of metadata.row_groups) {
    const rowEnd = rowStart + Number(num_rows);
    const range = { rowStart, rowEnd };
    yield* await guarded(path, () => parquetReadObjects({ file, metadata, compressors, ...range }));
    rowStart = rowEnd;
  }
}

/** What unpacks pages; one that holds more than it says is not unpacked to its end. */
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
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MosError("bad_data", `${path}: this is not a Parquet file that can be read (${reason})`, {
      cause,
    });
  }
}

interface CheckOptions {
  readonly path: string;
  readonly limits: ParquetLimits;
  readonly compressors: Compressors;
}

function checkSizes(metadata: Metadata, { path, limits, compressors }: CheckOptions): void {
  const { maximumRows, maximumUnpackedBytes } = limits;
  const tooMany = (found: bigint, what: string, most: number): MosError =>
    new MosError("bad_data", `${path}: ${found} ${what} are too many; at most ${most} are read`);
  const counts = metadata.row_groups.map(({ num_rows }) => num_rows);
  if (counts.some((count) => count < 0n))
    throw new MosError("bad_data", `${path}: a part of the table has fewer than no rows`);
  const rows = counts.reduce((sum, count) => sum + count, 0n);
  if (rows > maximumRows) throw tooMany(rows, "rows", maximumRows);
  const known = ["UNCOMPRESSED", "SNAPPY", ...Object.keys(compressors)];
  let unpacked = 0n;
  for (const { columns } of metadata.row_groups)
    for (const { meta_data: column } of columns) {
      if (column === undefined) continue;
      unpacked += column.total_uncompressed_size;
      if (!known.includes(column.codec))
        throw new MosError(
          "unsupported",
          `${path}: packed by ${column.codec}, of which only ${known.join(", ")} are read here; write the table with one of these`,
        );
    }
  if (unpacked > maximumUnpackedBytes) throw tooMany(unpacked, "bytes unpacked", maximumUnpackedBytes);
}
