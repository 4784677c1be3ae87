// Results: as a table, and as a file.

import { MosError } from "mixture-of-shards";
import { assertNoFolder, pathExists, readJson, writeFileAtomic } from "mixture-of-shards-core/files";
import { z } from "zod";
import type { ScoreSummary } from "./benchmark.ts";
import { type BenchmarkName, findBenchmark } from "./benchmarks/index.ts";
import { meanError } from "./scoring.ts";
import type { EvaluationResult, TaskDifference } from "./types.ts";

/** A score in per cent, as the paper's tables have it. TyDi QA's are so already. */
export const inPercent = (task: BenchmarkName, score: number): number =>
  (100 / findBenchmark(task).scale) * score;

/** Minimum number of questions for a percentage; of fewer, the number of right ones says more. */
const MIN_QUESTIONS = 10;
/** Up to as many, it is said how many were right. */
const FEW = 100;

/** Decimals of a percentage of so many questions: none that one question more or less would jump over. */
export const percentDecimals = (questions: number): number =>
  questions <= FEW ? 0 : questions <= 1000 ? 1 : 2;

/** A figure in per cent. */
export interface Percentage {
  readonly percent: number;
  /** Its standard error, in points. */
  readonly error?: number | undefined;
  readonly questions: number;
  /** Number of right questions, if the percentage is the share of them. */
  readonly right?: number | undefined;
}

/**
 * A percentage in no more digits than its questions allow, with its standard error: "26.28 ± 1.21", of up to a hundred
 * questions "20 of 50 (40 ± 7)", of up to nine "1 of 3".
 */
export function percentText({ percent, error, questions, right }: Percentage): string {
  const decimals = percentDecimals(questions);
  const isSure = questions >= MIN_QUESTIONS && error !== undefined && error > 0;
  const text = `${percent.toFixed(decimals)}${isSure ? ` ± ${error.toFixed(decimals)}` : ""}`;
  if (questions > FEW || right === undefined) return text;
  const count = `${right} of ${questions}`;
  return isSure ? `${count} (${text})` : count;
}

/** The score of a task by its metric, in per cent. */
export function toPercentage(
  task: BenchmarkName,
  metric: string,
  { scores, errors, right, questions }: ScoreSummary,
): Percentage | undefined {
  const { [metric]: score } = scores;
  const { [metric]: error } = errors;
  if (score === undefined) return undefined;
  return {
    percent: inPercent(task, score),
    error: error === undefined ? undefined : inPercent(task, error),
    questions,
    right: right[metric],
  };
}

/** A difference in points of per cent. */
export const toPoints = ({ task, difference, error, questions }: TaskDifference): Percentage => ({
  percent: inPercent(task, difference),
  error: error === null ? undefined : inPercent(task, error),
  questions,
});

/** Points with their sign: "+2.10 ± 1.02". */
export function pointsText(points: Percentage): string {
  const size = Math.abs(points.percent);
  const isZero = Number(size.toFixed(percentDecimals(points.questions))) === 0;
  return `${isZero ? "" : points.percent > 0 ? "+" : "−"}${percentText({ ...points, percent: size })}`;
}

/** The mean of figures of different tasks, in the digits of the coarsest; none where one is missing. */
function averageTasks(figures: readonly (Percentage | undefined)[]): Percentage | undefined {
  const all = figures.filter((figure) => figure !== undefined);
  if (all.length < figures.length || all.length === 0) return undefined;
  return {
    percent: all.reduce((sum, { percent }) => sum + percent, 0) / all.length,
    error: meanError(all.map(({ error }) => error)),
    questions: Math.min(...all.map(({ questions }) => questions)),
  };
}

/**
 * A row for each subject and a column for each task, in per cent with standard errors, and the mean of a row that is whole at
 * its end; then what each adapter changes, in points.
 */
export function resultTable({
  subjects,
  tasks,
  scores,
  differences,
}: EvaluationResult): readonly (readonly string[])[] {
  const hasMean = tasks.length > 1;
  const formatRow = (
    name: string,
    figures: readonly (Percentage | undefined)[],
    text: (figure: Percentage) => string,
  ): readonly string[] => {
    const cells = hasMean ? [...figures, averageTasks(figures)] : figures;
    return [name, ...cells.map((figure) => (figure === undefined ? "–" : text(figure)))];
  };
  const rows = subjects.map(({ name }) => {
    const figures = tasks.map(({ task, metric }) => {
      const score = scores.find((one) => one.subject === name && one.task === task);
      return score === undefined ? undefined : toPercentage(task, metric, score);
    });
    return formatRow(name, figures, percentText);
  });
  const changes = subjects.flatMap(({ name }) => {
    const own = differences.filter(({ subject }) => subject === name);
    const [first] = own;
    if (first === undefined) return [];
    const figures = tasks.map(({ task }) => {
      const found = own.find((one) => one.task === task);
      return found === undefined ? undefined : toPoints(found);
    });
    return [formatRow(`${name} − ${first.against}`, figures, pointsText)];
  });
  const head = ["", ...tasks.map(({ task, metric }) => `${task} ${metric}`), ...(hasMean ? ["mean"] : [])];
  return [head, ...rows, ...changes];
}

const resultSchema = z.looseObject({
  version: z.string(),
  tasks: z.array(z.unknown()),
  scores: z.array(z.unknown()),
});

/** Keeps another file that was named by mistake from being written over. Throws `bad_option`. */
export async function assertResult(out: string): Promise<void> {
  await assertNoFolder(out);
  if (!(await pathExists(out))) return;
  await readJson(out, resultSchema, { code: "bad_option" }).catch((cause: unknown) => {
    throw new MosError("bad_option", `${out} exists and is not an evaluation result; choose another --out`, {
      cause,
    });
  });
}

export const writeResult = (result: EvaluationResult, out: string): Promise<void> =>
  writeFileAtomic(out, `${JSON.stringify(result, null, 2)}\n`);

/** Rows of cells as a table in Markdown; the first row is the head. */
export function markdownTable(
  [head = [], ...rows]: readonly (readonly string[])[],
  { left = [0] }: { readonly left?: readonly number[] } = {},
): string {
  const row = (cells: readonly string[]): string =>
    `| ${cells.map((text) => text.replaceAll("|", "\\|")).join(" | ")} |`;
  const rule = head.map((_, column) => (left.includes(column) ? "---" : "---:"));
  return [row(head), `|${rule.join("|")}|`, ...rows.map(row)].join("\n");
}
