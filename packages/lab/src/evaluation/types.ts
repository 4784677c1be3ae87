// Options, events and results of an evaluation.
import type { describeTrainedOn, Engine } from "mixture-of-shards";
import type { ProgramChecker } from "mixture-of-shards-core/graders";
import type { QuestionOptions, ScoreSummary } from "./benchmark.ts";
import type { BenchmarkName } from "./benchmarks/index.ts";

/** Subject of an evaluation: the base, or an adapter on it. */
export interface Subject {
  /** `base`, or the adapter's name: in the result, and in the names of logs. */
  readonly name: string;
  /** As the engine calls it; null is the base. */
  readonly adapter: string | null;
}

/** Options of the benchmarks. */
export interface TaskOptions extends QuestionOptions {
  readonly tasks: readonly BenchmarkName[];
  /** Folder of a benchmark's data, as `Benchmark.questions` reads it. */
  readonly dataFolder: (task: BenchmarkName) => string;
  /** The result, a JSON file; samples are logged in a folder beside it, from which a later run resumes. */
  readonly out: string;
}

/** Options of `evaluate`; everything ambient is an argument. */
export interface EvaluateOptions extends TaskOptions {
  readonly engine: Engine;
  readonly model: Pick<Engine["model"], "fingerprint" | "baseDtype" | "computeDtype"> & {
    readonly name: string;
  };
  readonly subjects: readonly Subject[];
  /** Opens what runs HumanEval's programs, if there are any to run. */
  readonly openChecker: () => Promise<ProgramChecker>;
  /** Questions that are asked at the same time. */
  readonly concurrency: number;
  /** Version of the program. Samples of another version do not count. */
  readonly version: string;
  /** For the record. */
  readonly command?: string | undefined;
  readonly environment?: Readonly<Record<string, string | number>>;
  /** Milliseconds since 1970, by a clock that never goes back: intervals are measured with it. */
  readonly now: () => number;
}

/** The base that an adapter was trained on. */
type TrainedOn = Parameters<typeof describeTrainedOn>[0];

/** Event of an evaluation. */
export type EvaluateEvent =
  /** At the start: this adapter was trained on another quantisation of the model. */
  | { readonly type: "trainedOn"; readonly subject: string; readonly base: TrainedOn }
  /** A task begins: samples of all subjects, and those that are there from earlier runs. */
  | { readonly type: "task"; readonly task: TaskRecord; readonly done: number; readonly total: number }
  /** After each sample, with the subject's mean so far. */
  | {
      readonly type: "progress";
      readonly task: BenchmarkName;
      readonly subject: string;
      readonly done: number;
      readonly total: number;
      readonly score: number;
      readonly secondsLeft: number | undefined;
    }
  | { readonly type: "score"; readonly score: TaskScore }
  /** After a task's scores, of each adapter where the base was asked, too. */
  | { readonly type: "difference"; readonly difference: TaskDifference }
  | { readonly type: "finish"; readonly result: EvaluationResult; readonly out: string };

/** A task: a benchmark as it was asked. */
export interface TaskRecord {
  readonly task: BenchmarkName;
  readonly metric: string;
  readonly rules: string;
  readonly format: string;
  readonly shots: number;
  readonly questions: number;
  /** Digest of the data that were read. */
  readonly dataDigest: string;
  readonly notes: readonly string[];
}

/** Score of a subject in a task. */
export interface TaskScore extends ScoreSummary {
  readonly task: BenchmarkName;
  readonly subject: string;
  /** Questions whose prompts left no room for an answer. */
  readonly tooLong: number;
  readonly groups: Readonly<Record<string, ScoreSummary>>;
  /** Seconds of this run, how many questions were asked in it rather than before, and tokens of their predictions. */
  readonly seconds: number;
  readonly asked: number;
  readonly answerTokens: number;
}

/** Difference of an adapter from the base in a task: paired, question by question. */
export interface TaskDifference {
  readonly task: BenchmarkName;
  /** The adapter's subject, and the base's. */
  readonly subject: string;
  readonly against: string;
  readonly metric: string;
  /** Subject − base, on the benchmark's scale. */
  readonly difference: number;
  /** Its standard error; null where it is not known. */
  readonly error: number | null;
  readonly questions: number;
}

/** A subject, with what identifies the adapter's content. */
export interface SubjectRecord {
  readonly name: string;
  readonly digest: string | null;
  readonly method?: string;
  readonly rank?: number;
  /** Set if that is another quantisation of the model. */
  readonly trainedOn?: TrainedOn;
}

/** The whole of results.json. */
export interface EvaluationResult
  extends Pick<EvaluateOptions, "version" | "command" | "environment" | "model"> {
  /** ISO 8601 */
  readonly date: string;
  readonly settings: Readonly<Record<string, string | number | boolean | null>>;
  readonly subjects: readonly SubjectRecord[];
  readonly tasks: readonly TaskRecord[];
  readonly scores: readonly TaskScore[];
  /** Differences of each adapter from the base, if that was evaluated, too. */
  readonly differences: readonly TaskDifference[];
}
