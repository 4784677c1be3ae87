// The events of an experiment.
import type { BenchmarkName } from "#evaluation";
import type { TrialName } from "./cell.ts";
import type { Row } from "./fit-row.ts";
import type { ExperimentName } from "./tables.ts";

/** Event of an experiment. */
export type ReproduceEvent =
  | {
      readonly type: "plan";
      readonly experiment: ExperimentName;
      readonly title: string;
      readonly rows: readonly Row[];
      /** Number of cells of all phases as far as they are known, and of those finished by an earlier run. */
      readonly trials: number;
      readonly finished: number;
      /** Cells whose results lack scores of benchmarks, and whose adapters were not kept: they are trained again. */
      readonly retrained: number;
      /** Updates of training: those of a cell by its purpose, and those of all remaining cells. */
      readonly updates: { readonly tune: number; readonly measure: number; readonly left: number };
    }
  | {
      readonly type: "started";
      readonly trial: TrialName;
      readonly attempt: number;
      readonly pid: number | undefined;
    }
  | { readonly type: "phase"; readonly trial: TrialName; readonly phase: string }
  | {
      readonly type: "progress";
      readonly trial: TrialName;
      readonly step: number;
      readonly steps: number;
      readonly loss: number;
    }
  | {
      readonly type: "benchmark";
      readonly trial: TrialName;
      readonly task: BenchmarkName;
      readonly done: number;
      readonly total: number;
    }
  | {
      readonly type: "result";
      readonly trial: TrialName;
      /** Validation loss; of a tuning cell, the loss on the examples that rates are chosen on. */
      readonly validationLoss: number;
      readonly answers?: { readonly correct: number; readonly total: number };
      /** In per cent, by the titles of columns. */
      readonly scores?: Readonly<Record<string, number>>;
      /** Number of questions of each. */
      readonly questions?: Readonly<Record<string, number>>;
      readonly seconds: number;
    }
  | {
      readonly type: "failed";
      readonly trial: TrialName;
      readonly message: string;
      /** True if it is retried. */
      readonly retried: boolean;
    }
  | {
      /** The search for a row's rate continues with further rates. */
      readonly type: "refine";
      readonly key: string;
      readonly learningRates: readonly number[];
      /** Cells that the plan did not have, and their updates. */
      readonly trials: number;
      readonly updates: number;
    }
  | { readonly type: "tuned"; readonly key: string; readonly learningRate: number | undefined }
  | {
      readonly type: "finish";
      readonly stopped: boolean;
      readonly files: readonly string[];
      /** A head and a line for each row: what came of it. */
      readonly table: readonly (readonly string[])[];
      /** The same of how its learning rate was found; empty with one rate for all. */
      readonly rates: readonly (readonly string[])[];
      /** Warnings about comparisons of the rows, in sentences. */
      readonly warnings: readonly string[];
      /** Cells of the chosen rows without a result or without all scores, rows that do not fit the model left out. */
      readonly missing: number;
    };
