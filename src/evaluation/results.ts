// Results: as a table, and as a file.
import { z } from "zod";
import { MosError } from "#core";
import { expectNoFolder, pathExists, readJson, writeFileAtomic } from "#storage";
import { type BenchmarkName, benchmarkOf } from "./benchmarks/index.ts";
import type { EvaluationResult } from "./types.ts";

/** A score in per cent, as the paper's tables have it. TyDi QA's are so already. */
export const inPercent = (task: BenchmarkName, score: number): number =>
  (100 / benchmarkOf(task).scale) * score;

/** A row for each subject and a column for each task, in per cent, with the mean of a row that is whole at its end. */
export function resultTable({ subjects, tasks, scores }: EvaluationResult): readonly (readonly string[])[] {
  const rows = subjects.map(({ name }) => {
    const values = tasks.map(({ task, metric }) => {
      const score = scores.find((one) => one.subject === name && one.task === task)?.scores[metric];
      return score === undefined ? undefined : inPercent(task, score);
    });
    const whole = values.every((value) => value !== undefined);
    const mean = whole
      ? values.reduce((sum: number, value) => sum + (value ?? 0), 0) / values.length
      : undefined;
    return [name, ...values, mean].map((cell) =>
      typeof cell === "number" ? cell.toFixed(2) : (cell ?? "–"),
    );
  });
  return [["", ...tasks.map(({ task, metric }) => `${task} ${metric}`), "mean"], ...rows];
}

const resultSchema = z.looseObject({
  version: z.string(),
  tasks: z.array(z.unknown()),
  scores: z.array(z.unknown()),
});

/** Keeps another file that was named by mistake from being written over. Throws `bad_option`. */
export async function expectResult(out: string): Promise<void> {
  await expectNoFolder(out);
  if (!(await pathExists(out))) return;
  await readJson(out, resultSchema, { code: "bad_option" }).catch((cause: unknown) => {
    throw new MosError(
      "bad_option",
      `${out} exists and is not a result of an evaluation; give another --out`,
      { cause },
    );
  });
}

export const writeResult = (result: EvaluationResult, out: string): Promise<void> =>
  writeFileAtomic(out, `${JSON.stringify(result, null, 2)}\n`);
