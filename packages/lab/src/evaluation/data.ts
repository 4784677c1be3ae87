// Files of benchmarks, in a folder or as the tables of the hub that such a folder is made from. Their sizes are checked before
// they are read, and every row before it is used.
import { createHash } from "node:crypto";
import { dirname, join } from "node:path";
import { gunzipSync } from "node:zlib";
import { MosError } from "mixture-of-shards";
import { decodeText, errorText, parseJson, parseWith } from "mixture-of-shards-core/common";
import {
  makeFolder,
  pathExists,
  readBytes,
  readJsonLines,
  readParquetRows,
  writeFileAtomic,
} from "mixture-of-shards-core/files";
import { z } from "zod";

/** Above all files of the five benchmarks (the largest has 45 MB), far below what fills the memory. */
const MAX_BYTES = 256 << 20;
const MAX_ROWS = 500_000;

/** Metadata of every benchmark's data. */
export interface BenchmarkData {
  readonly counts: readonly Count[];
  /** Digest of everything that was read. */
  readonly digest: string;
}

/** Found and expected number of something in a benchmark. */
export interface Count {
  /** Name of the counted things: `questions of MMLU`. */
  readonly what: string;
  readonly found: number;
  readonly expected: number;
}

/** A note for each count that is not the whole benchmark's: a folder may hold a part on purpose. */
export const describeCounts = (counts: readonly Count[]): readonly string[] =>
  counts
    .filter(({ found, expected }) => found !== expected)
    .map(({ what, found, expected }) => `${found} ${what} instead of ${expected}`);

/** @throws MosError `bad_data` where what was fetched is not the whole benchmark. */
export function assertCounts(counts: readonly Count[], source: string): void {
  const notes = describeCounts(counts);
  if (notes.length === 0) return;
  throw new MosError(
    "bad_data",
    `${source}: ${notes.join("; ")}: the data set has changed since these rules were written; pass a folder with the original version (--data)`,
  );
}

/**
 * SHA-256 over rows as JSON, one a line: the same for the same questions, whether they come from a folder or from the hub's
 * Parquet files. `parts` tell the kinds of rows apart.
 */
export function digestRows(parts: Readonly<Record<string, readonly unknown[]>>): string {
  const hash = createHash("sha256");
  for (const name of Object.keys(parts).sort()) {
    hash.update(`${name}\n`);
    for (const row of parts[name] ?? []) hash.update(`${JSON.stringify(row)}\n`);
  }
  return hash.digest("hex");
}

/** @throws MosError `bad_data` where two questions have one id, which would count one of them twice. */
export function assertUnique(ids: readonly string[], where: string): void {
  const seen = new Set<string>();
  for (const id of ids) {
    if (seen.has(id)) throw new MosError("bad_data", `${where}: the id ${id} is used by two questions`);
    seen.add(id);
  }
}

/** A file of a benchmark's folder; `parts` are names of folders and of the file. */
export interface BenchmarkFile {
  readonly folder: string;
  readonly parts: readonly string[];
}

const benchmarkPath = ({ folder, parts }: BenchmarkFile): string => join(folder, ...parts);

export const benchmarkFileExists = (file: BenchmarkFile): Promise<boolean> => pathExists(benchmarkPath(file));

/** The error for missing data of a benchmark: what was found instead, and what to do. */
export const missingData = (found: string, holds: string): MosError =>
  new MosError(
    "not_found",
    `${found}; pass the folder that holds ${holds} (--data), or omit --data to download them`,
  );

async function requireFile(file: BenchmarkFile): Promise<string> {
  const path = benchmarkPath(file);
  if (await pathExists(path)) return path;
  throw missingData(`${path}: no such file`, file.parts.join("/"));
}

/** All rows of a JSON Lines file, which gzip may have packed. Throws `not_found`, `bad_data`, as all readers here do. */
export async function readRows<S extends z.ZodType>(
  file: BenchmarkFile,
  schema: S,
): Promise<readonly z.output<S>[]> {
  const path = await requireFile(file);
  const rows: z.output<S>[] = [];
  for await (const { line, value } of path.endsWith(".gz") ? packedLines(path) : readJsonLines(path)) {
    rows.push(parseWith(schema, value, { code: "bad_data", where: `${path}:${line}` }));
    if (rows.length > MAX_ROWS)
      throw new MosError("bad_data", `${path}: more than ${MAX_ROWS} rows; this is not the benchmark's file`);
  }
  if (rows.length > 0) return rows;
  throw new MosError("bad_data", `${path}: the file holds no questions`);
}

async function* packedLines(path: string) {
  const packed = await readBytes(path, { code: "bad_data", maximumBytes: MAX_BYTES });
  const text = decodeText(unpack(packed, path), { code: "bad_data", where: path });
  for (const [i, line] of text.split("\n").entries())
    if (line.trim() !== "")
      yield { line: i + 1, value: parseJson(line, { code: "bad_data", where: `${path}:${i + 1}` }) };
}

function unpack(packed: Uint8Array, path: string): Uint8Array {
  try {
    return gunzipSync(packed, { maxOutputLength: MAX_BYTES });
  } catch (cause) {
    const reason = errorText(cause);
    throw new MosError("bad_data", `${path}: this is not a gzip file of at most 256 MiB (${reason})`, {
      cause,
    });
  }
}

/** The text of a file. */
export async function readText(file: BenchmarkFile): Promise<string> {
  const path = await requireFile(file);
  const bytes = await readBytes(path, { code: "bad_data", maximumBytes: MAX_BYTES });
  return decodeText(bytes, { code: "bad_data", where: path });
}

/** A file that is one JSON value. */
export async function readValue<S extends z.ZodType>(file: BenchmarkFile, schema: S): Promise<z.output<S>> {
  const place = { code: "bad_data", where: benchmarkPath(file) } as const;
  return parseWith(schema, parseJson(await readText(file), place), place);
}

// --- the hub

/** Above all tables of the benchmarks, the largest of which has 54 MB packed. */
const LIMITS = { maximumRows: 500_000, maximumUnpackedBytes: 1 << 30 };

/** All rows of a Parquet file. Throws as `readParquetRows`, and `bad_data` for a row that the schema rejects. */
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
  // one by one: the number of arguments of a call is limited
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
