// Parquet tables of the hub, and the files that are written of their rows.
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { parquetMetadata, parquetReadObjects } from "hyparquet";
import { z } from "zod";
import { MosError, parseWith } from "#core";
import { makeFolder, readBytes, writeFileAtomic } from "#storage";

/** The largest of the benchmarks' files has 54 MB packed. */
const MAX_BYTES = 256 << 20;
const MAX_UNPACKED = 1 << 30;
const MAX_ROWS = 500_000;
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
  const { buffer } = await readBytes(path, { code: "bad_data", maximumBytes: MAX_BYTES });
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
  gunzipSync(packed, { maxOutputLength: Math.max(1, Math.min(length, MAX_UNPACKED)) });

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
  if (metadata.num_rows > MAX_ROWS)
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
  if (unpacked > MAX_UNPACKED)
    throw new MosError(
      "bad_data",
      `${path}: ${unpacked} bytes unpacked are more than any of the benchmarks has`,
    );
}

/** Paths of Parquet files by `config/split`, in the order of their names. */
export type Tables = ReadonlyMap<string, readonly string[]>;

/** A whole number, which Parquet may hold in 64 bits. */
export const wholeNumber = z.union([z.int(), z.bigint()]).transform(Number);

/** Accepts the tables of these names, `config/split`. */
export const tablesNamed =
  (...names: readonly string[]) =>
  (config: string, split: string): boolean =>
    names.includes(`${config}/${split}`);

/** All rows of a table. */
export async function tableRows<S extends z.ZodType>(
  tables: Tables,
  name: string,
  schema: S,
): Promise<readonly z.output<S>[]> {
  const rows: z.output<S>[] = [];
  // one by one: a call takes only so many arguments
  for (const path of tables.get(name) ?? [])
    for (const row of await readParquet(path, schema)) rows.push(row);
  return rows;
}

/** Rows as JSON Lines. */
export const jsonLines = (rows: readonly unknown[]): string =>
  rows.map((row) => `${JSON.stringify(row)}\n`).join("");

/** Writes a file below a folder, with the folders on its way. */
export async function writeBelow(folder: string, path: string, content: string | Uint8Array): Promise<void> {
  await makeFolder(dirname(join(folder, path)));
  await writeFileAtomic(join(folder, path), content);
}
