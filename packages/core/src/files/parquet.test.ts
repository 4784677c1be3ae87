import type { ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { beforeAll, expect, test } from "vitest";
import { recordForks } from "../../../../test/replace-builtin.ts";
import { readParquetRows } from "./parquet.ts";
import { decodeParquetRows, type ParquetRow } from "./parquet-decode.ts";

const LIMITS = { maximumRows: 10_000, maximumUnpackedBytes: 1 << 24 };

const children = recordForks();
const ended = (child?: ChildProcess): boolean => child?.exitCode !== null || child.signalCode !== null;

let folder: string;
let many: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-parquet-"));
  many = join(folder, "many.parquet");
  const rows = Array.from({ length: 2500 }, (_, i) => i);
  const columnData = [
    { name: "id", data: rows.map(BigInt), type: "INT64" as const },
    { name: "text", data: rows.map((i) => (i % 2 === 0 ? null : `text ${i}`)), type: "STRING" as const },
    { name: "time", data: rows.map((i) => new Date(i * 1e6)), type: "TIMESTAMP" as const },
    { name: "part", data: rows.map((i) => ({ of: [i, { it: "x" }] })), type: "JSON" as const },
  ];
  await writeFile(many, new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 600 })));
  return () => rm(folder, { recursive: true });
});

const all = async (rows: AsyncIterable<ParquetRow>): Promise<readonly ParquetRow[]> => {
  const list: ParquetRow[] = [];
  for await (const row of rows) list.push(row);
  return list;
};

test("the process sends all rows as they are decoded, of several batches and of every kind", async () => {
  const options = { ...LIMITS, columns: ["id", "text", "time", "part", "none"] };
  const read = await all(readParquetRows(many, options));
  expect(read).toHaveLength(2500);
  expect(read).toStrictEqual(await all(decodeParquetRows(many, options)));
});

test("errors keep their codes and name the file", async () => {
  const path = join(folder, "text.parquet");
  await writeFile(path, "this is no table");
  await expect(all(readParquetRows(path, LIMITS))).rejects.toMatchObject({
    code: "bad_data",
    message: expect.stringMatching(/text\.parquet: this is not a Parquet file that can be read/),
  });
  await expect(all(readParquetRows(join(folder, "none"), LIMITS))).rejects.toMatchObject({
    code: "not_found",
  });
});

test("a reader that leaves ends the process", async () => {
  for await (const row of readParquetRows(many, LIMITS)) {
    expect(row).toMatchObject({ id: 0n });
    expect(ended(children.at(-1))).toBe(false);
    break;
  }
  await expect.poll(() => children.map(ended)).not.toContain(false);
});
