// What an evaluation found, as it is written to results.json and shown as a table.
import type { Summary, TaskName } from "../types.ts";

/** A task as it was asked. */
export interface TaskRecord {
  readonly task: TaskName;
  readonly metric: string;
  readonly rules: string;
  readonly format: string;
  readonly shots: number;
  readonly questions: number;
  /** Of the data that were read. */
  readonly dataDigest: string;
  readonly notes: readonly string[];
}

/** What a subject scored in a task. */
export interface TaskScore extends Summary {
  readonly task: TaskName;
  readonly subject: string;
  /** Questions whose prompts left no room for an answer. */
  readonly tooLong: number;
  readonly groups: Readonly<Record<string, Summary>>;
  /** Seconds of this run, and how many questions were answered in it rather than before. */
  readonly seconds: number;
  readonly asked: number;
  readonly answerTokens: number;
}

export interface SubjectRecord {
  readonly name: string;
  readonly digest: string | null;
  readonly method?: string;
  readonly rank?: number;
}

/** The whole of results.json. */
export interface EvaluationResult {
  readonly version: string;
  /** ISO 8601 */
  readonly date: string;
  readonly command?: string | undefined;
  readonly environment?: Readonly<Record<string, string | number>>;
  readonly model: { readonly name: string; readonly fingerprint: string; readonly quantize: string };
  readonly settings: Readonly<Record<string, string | number | boolean | null>>;
  readonly subjects: readonly SubjectRecord[];
  readonly tasks: readonly TaskRecord[];
  readonly scores: readonly TaskScore[];
}

/** A score in per cent, as the paper's tables have it. TyDi QA's marks are so already. */
export const inPercent = (task: TaskName, score: number): number => (task === "tydiqa" ? score : 100 * score);

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
