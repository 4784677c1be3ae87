import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { parquetWriteBuffer } from "hyparquet-writer";
import { beforeAll, describe, expect, test } from "vitest";
import { decodeParquetRows, type ParquetRow, type ReadParquetOptions } from "./parquet-decode.ts";

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
  for await (const row of decodeParquetRows(path, { ...LIMITS, ...options })) rows.push(row);
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
  await expect(read({ maximumRows: 249 })).rejects.toMatchObject(refused(/the table has 250 rows/));
  await expect(read({ maximumValues: 290 })).rejects.toMatchObject(
    refused(/rows 1 to 100 are one row group of more than 290 values.*smaller row groups/),
  );
  // three row groups, of which each alone may be unpacked
  await expect(read({ columns: ["id"], maximumUnpackedBytes: 1000 })).rejects.toMatchObject(
    refused(/more than 1000 bytes when decompressed/),
  );
});

describe("a small file that holds gigabytes is refused by its own numbers", () => {
  const LARGE = { maximumRows: 20_000_000, maximumUnpackedBytes: 2 ** 33 };
  const FAST = { params: { [constants.BROTLI_PARAM_QUALITY]: 2 } };
  const bombs = (name: string) => join(path, "..", name);

  async function refusal(file: string): Promise<{ readonly rows: number; readonly error: unknown }> {
    let rows = 0;
    try {
      for await (const _ of decodeParquetRows(file, LARGE)) rows++;
    } catch (error) {
      return { rows, error };
    }
    return { rows, error: undefined };
  }
  const tooMany = expect.objectContaining({
    code: "bad_data",
    message: expect.stringMatching(/more than 1\d{7} bytes when decompressed.*a file of its size/),
  });
  const write = async (name: string, data: readonly string[]): Promise<number> => {
    const bytes = parquetWriteBuffer({
      columnData: [{ name: "text", data: [...data], type: "STRING" }],
      rowGroupSize: data.length,
      codec: "BROTLI",
      compressors: { BROTLI: (page) => brotliCompressSync(page, FAST) },
    });
    await writeFile(bombs(name), new Uint8Array(bytes));
    return bytes.byteLength;
  };

  test("one text in millions of rows, before a row is read", async () => {
    expect(await write("rows.parquet", Array(3_000_000).fill("x".repeat(150)))).toBeLessThan(1800);
    expect(await refusal(bombs("rows.parquet"))).toEqual({ rows: 0, error: tooMany });
  });

  test("one long text in thousands of rows, as soon as they are too many", async () => {
    expect(await write("long.parquet", Array(50_000).fill("x".repeat(60_000)))).toBeLessThan(1800);
    const { rows, error } = await refusal(bombs("long.parquet"));
    expect(error).toEqual(tooMany);
    expect(rows).toBeLessThan(1000);
  });

  test("a page that says that it is large, before it is unpacked", async () => {
    expect(await write("page.parquet", ["x".repeat(40_000_000)])).toBeLessThan(1800);
    expect(await refusal(bombs("page.parquet"))).toEqual({ rows: 0, error: tooMany });
  });
});
