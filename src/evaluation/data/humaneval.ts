import { z } from "zod";
import { type BenchmarkFile, benchmarkFileExists, readPackedRows, readRows } from "./benchmark-file.ts";
import type { Count } from "./counts.ts";
import { digestOfRows } from "./digest.ts";
import { expectUnique } from "./unique.ts";

const row = z.object({
  task_id: z.string().min(1).max(100),
  prompt: z.string().min(1),
  entry_point: z.string().regex(/^[A-Za-z_]\w*$/, "the name of a Python function"),
  canonical_solution: z.string(),
  test: z.string().min(1),
});

/** A function to be written: its head, its name, a right body, and Python that defines `check`. */
export type HumanEvalRow = Readonly<z.output<typeof row>>;

export interface HumanEvalData {
  readonly test: readonly HumanEvalRow[];
  readonly counts: readonly Count[];
  readonly digest: string;
}

/** Reads `humaneval/HumanEval.jsonl.gz`, or the same unpacked. Throws `not_found`, `bad_data`, `storage`. */
export async function readHumanEval(folder: string): Promise<HumanEvalData> {
  const packed: BenchmarkFile = { folder, parts: ["humaneval", "HumanEval.jsonl.gz"] };
  const plain: BenchmarkFile = { folder, parts: ["humaneval", "HumanEval.jsonl"] };
  const usePlain = !(await benchmarkFileExists(packed)) && (await benchmarkFileExists(plain));
  const test = usePlain ? await readRows(plain, row) : await readPackedRows(packed, row);
  expectUnique(
    test.map(({ task_id }) => task_id),
    "humaneval",
  );
  return {
    test,
    counts: [{ what: "problems of HumanEval", found: test.length, expected: 164 }],
    digest: digestOfRows({ test }),
  };
}
