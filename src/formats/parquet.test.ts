import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { beforeAll, expect, test } from "vitest";
import { type ParquetRow, type ReadParquetOptions, readParquetRows } from "./parquet.ts";

let path: string;
beforeAll(async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-parquet-"));
  path = join(folder, "a.parquet");
  const rows = Array.from({ length: 250 }, (_, i) => i);
  const columnData = [
    { name: "text", data: rows.map(() => "again and again"), type: "STRING" as const },
    { name: "empty", data: rows.map(() => null), type: "INT32" as const },
    { name: "id", data: rows, type: "INT32" as const },
  ];
  await writeFile(path, new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize: 100 })));
  return () => rm(folder, { recursive: true });
});

const LIMITS = { maximumRows: 1000, maximumUnpackedBytes: 1 << 20 };

async function read(options: Partial<ReadParquetOptions> = {}): Promise<readonly ParquetRow[]> {
  const rows: ParquetRow[] = [];
  for await (const row of readParquetRows(path, { ...LIMITS, ...options })) rows.push(row);
  return rows;
}

test("rows of all row groups, in their order", async () => {
  const rows = await read();
  expect(rows.map(({ id }) => id)).toEqual(Array.from({ length: 250 }, (_, i) => i));
  expect(rows[249]).toEqual({ text: "again and again", empty: null, id: 249 });
});

test("columns that are not asked for are named and not read", async () => {
  const rows = await read({ columns: ["id", "prompt"], maximumValues: 200 });
  expect(Object.entries(rows[101] ?? {})).toEqual([
    ["text", undefined],
    ["empty", undefined],
    ["id", 101],
  ]);
});

test("a table is refused before more is unpacked than it may have", async () => {
  const refused = (message: RegExp) => ({ code: "bad_data", message: expect.stringMatching(message) });
  await expect(read({ maximumRows: 249 })).rejects.toMatchObject(refused(/250 rows are too many/));
  await expect(read({ maximumValues: 290 })).rejects.toMatchObject(
    refused(/rows 1 to 100 are one row group of more than 290 values.*smaller row groups/),
  );
  // three row groups, of which each alone may be unpacked
  await expect(read({ columns: ["id"], maximumUnpackedBytes: 1000 })).rejects.toMatchObject(
    refused(/more than 1000 bytes unpacked/),
  );
});
