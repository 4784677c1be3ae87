// One way to the files of a benchmark: their sizes are checked before they are read, and every row before it is used.
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { z } from "zod";
import { decodeText, MosError, parseJson, parseWith } from "#core";
import { pathExists, readBytes, readJsonLines } from "#storage";

/** Above all files of the five benchmarks (the largest has 45 MB), far below what fills the memory. */
const MAXIMUM_BYTES = 256 << 20;
const MAXIMUM_ROWS = 500_000;

/** A file of a benchmark's folder; `parts` are names of folders and of the file. */
export interface BenchmarkFile {
  readonly folder: string;
  readonly parts: readonly string[];
}

const pathOf = ({ folder, parts }: BenchmarkFile): string => join(folder, ...parts);

export const benchmarkFileExists = (file: BenchmarkFile): Promise<boolean> => pathExists(pathOf(file));

/** What was found in place of a benchmark's data, with what would do. */
export const missingData = (found: string, holds: string): MosError =>
  new MosError(
    "not_found",
    `${found}; give the folder that holds ${holds} (--data), or leave it out to fetch the data`,
  );

/** Fails with what would do, where a file that a benchmark needs is not there. */
export async function expectFile(file: BenchmarkFile): Promise<string> {
  const path = pathOf(file);
  if (await pathExists(path)) return path;
  throw missingData(`${path}: there is no such file`, file.parts.join("/"));
}

/** All rows of a JSON Lines file. */
export async function readRows<S extends z.ZodType>(
  file: BenchmarkFile,
  schema: S,
): Promise<readonly z.output<S>[]> {
  const path = await expectFile(file);
  const rows: z.output<S>[] = [];
  for await (const { line, value } of readJsonLines(path)) {
    rows.push(parseWith(schema, value, { code: "bad_data", where: `${path}:${line}` }));
    if (rows.length > MAXIMUM_ROWS) throw tooMany(path);
  }
  return someRows(rows, path);
}

/** All rows of a JSON Lines file that is packed by gzip. */
export async function readPackedRows<S extends z.ZodType>(
  file: BenchmarkFile,
  schema: S,
): Promise<readonly z.output<S>[]> {
  const path = await expectFile(file);
  const packed = await readBytes(path, { code: "bad_data", maximumBytes: MAXIMUM_BYTES });
  const text = decodeText(unpack(packed, path), { code: "bad_data", where: path });
  const rows = text.split("\n").flatMap((line, index) => {
    if (line.trim() === "") return [];
    const place = { code: "bad_data", where: `${path}:${index + 1}` } as const;
    return [parseWith(schema, parseJson(line, place), place)];
  });
  return someRows(rows, path);
}

function unpack(packed: Uint8Array, path: string): Uint8Array {
  try {
    return gunzipSync(packed, { maxOutputLength: MAXIMUM_BYTES });
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new MosError("bad_data", `${path}: this is not a gzip file of at most 256 MiB (${reason})`, {
      cause,
    });
  }
}

/** The text of a file. */
export async function readText(file: BenchmarkFile): Promise<string> {
  const path = await expectFile(file);
  const bytes = await readBytes(path, { code: "bad_data" });
  return decodeText(bytes, { code: "bad_data", where: path });
}

/** A file that is one JSON value. */
export async function readValue<S extends z.ZodType>(file: BenchmarkFile, schema: S): Promise<z.output<S>> {
  const path = await expectFile(file);
  const place = { code: "bad_data", where: path } as const;
  const bytes = await readBytes(path, { code: "bad_data", maximumBytes: MAXIMUM_BYTES });
  return parseWith(schema, parseJson(decodeText(bytes, place), place), place);
}

function someRows<T>(rows: readonly T[], path: string): readonly T[] {
  if (rows.length > 0) return rows;
  throw new MosError("bad_data", `${path}: the file holds no questions`);
}

const tooMany = (path: string): MosError =>
  new MosError("bad_data", `${path}: more than ${MAXIMUM_ROWS} rows; this is not the benchmark's file`);
