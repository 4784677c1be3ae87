import { gunzipSync } from "node:zlib";
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import type { z } from "zod";
import { MosError, parseWith } from "#core";
import { readBytes } from "#storage";

/** The largest of the benchmarks' files has 54 MB packed. */
const MAXIMUM_BYTES = 256 << 20;
const MAXIMUM_UNPACKED = 1 << 30;
const MAXIMUM_ROWS = 500_000;
const CODECS: readonly string[] = ["UNCOMPRESSED", "SNAPPY", "GZIP"];

/**
 * All rows of a Parquet file. What it says of its own size is checked before anything is unpacked.
 *
 * @throws MosError `bad_data`, `unsupported`, `not_found`, `storage`.
 */
export async function readParquet<S extends z.ZodType>(
  path: string,
  schema: S,
): Promise<readonly z.output<S>[]> {
  const { buffer } = await readBytes(path, { code: "bad_data", maximumBytes: MAXIMUM_BYTES });
  const file = buffer as ArrayBuffer; // a fresh array is never shared
  const rows = await guarded(path, async () => {
    const metadata = parquetMetadata(file);
    checkSizes(metadata, path);
    return parquetReadObjects({ file, metadata, compressors: { GZIP: unpack } });
  });
  return rows.map((row, index) =>
    parseWith(schema, row, { code: "bad_data", where: `${path}: row ${index + 1}` }),
  );
}

/** A page of `length` bytes; one that holds more than it says is not unpacked to its end. */
const unpack = (packed: Uint8Array, length: number): Uint8Array =>
  gunzipSync(packed, { maxOutputLength: Math.max(1, Math.min(length, MAXIMUM_UNPACKED)) });

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

function checkSizes(metadata: ReturnType<typeof parquetMetadata>, path: string): void {
  if (metadata.num_rows > MAXIMUM_ROWS)
    throw new MosError(
      "bad_data",
      `${path}: ${metadata.num_rows} rows are more than any of the benchmarks has`,
    );
  let unpacked = 0n;
  for (const { columns } of metadata.row_groups)
    for (const { meta_data: column } of columns) {
      if (column === undefined) continue;
      unpacked += column.total_uncompressed_size;
      if (!CODECS.includes(column.codec))
        throw new MosError(
          "unsupported",
          `${path}: packed by ${column.codec}, of which only ${CODECS.join(", ")} are read; give the data as a folder (--data)`,
        );
    }
  if (unpacked > MAXIMUM_UNPACKED)
    throw new MosError(
      "bad_data",
      `${path}: ${unpacked} bytes unpacked are more than any of the benchmarks has`,
    );
}
