import type { Engine, Quantize } from "#inference";
import type { ProgramChecker } from "#sandbox";
import type { QuestionOptions, TaskName } from "../types.ts";

/** Whose answers are marked: the base, or an adapter of the engine. */
export interface Subject {
  /** `base`, or the adapter's name. */
  readonly name: string;
  /** null is the base. */
  readonly adapter: string | null;
}

/** What is asked, and how. */
export interface TaskOptions extends QuestionOptions {
  readonly tasks: readonly TaskName[];
  /** Where a task's data are, as `Task.questions` reads them. */
  readonly dataFolder: (task: TaskName) => string;
  /** The result, a JSON file; answers are logged in a folder beside it, from which a later run goes on. */
  readonly out: string;
}

/** What `evaluate` works with; everything ambient is an argument. */
export interface EvaluateOptions extends TaskOptions {
  readonly engine: Engine;
  readonly model: {
    readonly name: string;
    readonly fingerprint: string;
    readonly quantize: Quantize;
  };
  readonly subjects: readonly Subject[];
  /** Opens what runs HumanEval's programs, if they are asked for. */
  readonly openChecker: () => Promise<ProgramChecker>;
  /** Questions that are asked at the same time. */
  readonly concurrency: number;
  /** Of the program. Answers of another version do not count. */
  readonly version: string;
  /** For the record. */
  readonly command?: string | undefined;
  readonly environment?: Readonly<Record<string, string | number>>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}
