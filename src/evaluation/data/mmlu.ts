import { z } from "zod";
import { type BenchmarkFile, benchmarkFileExists, readRows } from "./benchmark-file.ts";
import type { Count } from "./counts.ts";
import { digestOfRows } from "./digest.ts";

const row = z.object({
  subject: z.string().regex(/^[a-z_]{1,80}$/, "a subject in small letters, such as abstract_algebra"),
  question: z.string(),
  choices: z.tuple([z.string(), z.string(), z.string(), z.string()]),
  answer: z.int().min(0).max(3),
});

/** A question with four choices; `answer` counts from 0. Texts are as they are, outer blanks included. */
export type MmluRow = Readonly<z.output<typeof row>>;

export interface MmluData {
  /** By subject in the order of their names, and in a subject in the file's order. */
  readonly test: readonly MmluRow[];
  /** The examples; none where the folder has no dev.jsonl. */
  readonly dev: readonly MmluRow[];
  readonly counts: readonly Count[];
  readonly digest: string;
}

const bySubject = (rows: readonly MmluRow[]): readonly MmluRow[] =>
  rows.toSorted((a, b) => (a.subject < b.subject ? -1 : a.subject > b.subject ? 1 : 0));

/** Reads `mmlu/test.jsonl` and, where it is, `mmlu/dev.jsonl`. Throws `not_found`, `bad_data`, `storage`. */
export async function readMmlu(folder: string): Promise<MmluData> {
  const devFile: BenchmarkFile = { folder, parts: ["mmlu", "dev.jsonl"] };
  const test = bySubject(await readRows({ folder, parts: ["mmlu", "test.jsonl"] }, row));
  const dev = (await benchmarkFileExists(devFile)) ? bySubject(await readRows(devFile, row)) : [];
  const subjects = new Set(test.map(({ subject }) => subject));
  return {
    test,
    dev,
    counts: [
      { what: "questions of MMLU", found: test.length, expected: 14_042 },
      { what: "subjects of MMLU", found: subjects.size, expected: 57 },
    ],
    digest: digestOfRows({ test, dev }),
  };
}
