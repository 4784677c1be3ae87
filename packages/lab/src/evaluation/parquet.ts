// Parquet tables of the hub, and the files that are written of their rows.
import { dirname, join } from "node:path";
import { makeFolder, parseWith, readParquetRows, writeFileAtomic } from "mixture-of-shards/cli";
import { z } from "zod";

/** Above all tables of the benchmarks, the largest of which has 54 MB packed. */
const LIMITS = { maximumRows: 500_000, maximumUnpackedBytes: 1 << 30 };

/** All rows of a Parquet file. Throws as `readParquetRows`, and `bad_data` for a row of another form. */
export async function readParquet<S extends z.ZodType>(
  path: string,
  schema: S,
): Promise<readonly z.output<S>[]> {
  const rows: z.output<S>[] = [];
  for await (const row of readParquetRows(path, LIMITS))
    rows.push(parseWith(schema, row, { code: "bad_data", where: `${path}: row ${rows.length + 1}` }));
  return rows;
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
