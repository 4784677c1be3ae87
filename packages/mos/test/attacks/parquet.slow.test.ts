// Broken Parquet files, made by hand and by chance. The decoder can be ended by them, or kept busy for ever; its process contains that.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parquetWriteBuffer } from "hyparquet-writer";
import { readParquetRows } from "mixture-of-shards-core/files";
import { type Child, startChild } from "mixture-of-shards-core/process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { FuzzMethods, Mutation, Outcome } from "./parquet-fuzz-process.ts";
import { validTables } from "./parquet-mutations.ts";

const LIMITS = { maximumRows: 20_000_000, maximumUnpackedBytes: 2 ** 33 };

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-parquet-fuzz-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function readOutcome(path: string): Promise<unknown> {
  try {
    for await (const _ of readParquetRows(path, LIMITS));
    return "read";
  } catch (error) {
    return error;
  }
}

const ENDED = expect.objectContaining({
  code: "bad_data",
  message: expect.stringMatching(/reading this table was aborted.*1\d{3} MiB or 1\d s/),
});

type Column = Parameters<typeof parquetWriteBuffer>[0]["columnData"][number];

/** A table of one column with one place written over. */
async function write(column: Column, find: string, replacement: string): Promise<string> {
  const rowGroupSize = column.data.length;
  const options = { codec: "UNCOMPRESSED" as const, statistics: false, pageSize: 1e9, rowGroupSize };
  const bytes = Buffer.from(parquetWriteBuffer({ columnData: [column], ...options }));
  const at = bytes.indexOf(find, 0, "hex");
  expect(at).toBeGreaterThan(0);
  Buffer.from(replacement, "hex").copy(bytes, at);
  const path = join(folder, "made.parquet");
  await writeFile(path, bytes);
  return path;
}

test("a run that is longer than its page, which makes V8 abort", async () => {
  const nulls = { name: "text", data: Array(1 << 20).fill(null), type: "INT32" as const };
  const path = await write(nulls, "80808001001504", "feffff7f");
  expect(await readOutcome(path)).toEqual(ENDED);
});

test("blocks of a negative count, which make the decoder go back for ever", async () => {
  const data = Array.from({ length: 300 }, (_, i) => i * i);
  const column = { name: "a", data, type: "INT32" as const, encoding: "DELTA_BINARY_PACKED" as const };
  const path = await write(column, "800104ac02", "01ffffffff0f");
  expect(await readOutcome(path)).toEqual(ENDED);
}, 400_000);

describe("mutations of valid tables", () => {
  const [MUTATIONS, SECONDS, MEMORY] = [2000, 5, 1e9];
  /** Of 11 s of processor time on a busy machine. */
  const LONGEST_SECONDS = 400;
  let child: Child<FuzzMethods> | undefined;
  afterAll(() => child?.kill());

  /** How it ends in a process that decodes many; undefined where it ends that process, or takes too much. */
  async function decode(mutation: Mutation): Promise<Outcome | undefined> {
    if (child?.isAlive !== true)
      child = startChild<FuzzMethods>(join(import.meta.dirname, "parquet-fuzz-process.ts"), {
        stderr: "ignore",
        exitError: Error,
      });
    const outcome = await child.call("decode", mutation, { timeout: SECONDS }).catch(() => undefined);
    if (outcome !== undefined && outcome.memory < MEMORY) return outcome;
    child.kill();
    return undefined;
  }

  test("each is read or refused as bad data, in bounded time", { timeout: 2_400_000 }, async () => {
    const tables = [...validTables().keys()];
    const path = join(folder, "mutated.parquet");
    const counts = { read: 0, refused: 0, contained: 0 };
    for (let seed = 0; seed < MUTATIONS; seed++) {
      const table = tables[seed % tables.length] ?? "";
      const outcome = await decode({ table, seed, path });
      const told = `${table}, ${seed}: ${outcome?.message}`;
      expect(outcome?.kind, told).not.toBe("thrown");
      if (outcome?.kind === "read" || outcome?.kind === "refused") counts[outcome.kind]++;
      else {
        counts.contained++;
        const since = performance.now();
        const contained = await readOutcome(path);
        if (contained !== "read")
          expect(contained, told).toMatchObject({ name: "MosError", code: "bad_data" });
        expect(performance.now() - since, told).toBeLessThan(LONGEST_SECONDS * 1000);
      }
    }
    expect(counts.read).toBeGreaterThan(MUTATIONS / 10);
    expect(counts.refused).toBeGreaterThan(MUTATIONS / 10);
  });
});
