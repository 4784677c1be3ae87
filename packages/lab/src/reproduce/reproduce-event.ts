// The events of an experiment.
import type { BenchmarkName } from "#evaluation";
import type { CellName } from "./cell.ts";
import type { Row } from "./fit-row.ts";
import type { ExperimentName } from "./tables.ts";

/** What happens in an experiment. */
export type ReproduceEvent =
  | {
      readonly type: "plan";
      readonly experiment: ExperimentName;
      readonly title: string;
      readonly rows: readonly Row[];
      /** Of all phases as far as they are known, and how many of them are finished from an earlier run. */
      readonly cells: number;
      readonly finished: number;
      /** Cells whose results lack scores of benchmarks, and whose adapters were not kept: they are trained again. */
      readonly retrained: number;
      /** Of training: those of a cell by what it is for, and those of all cells that are left. */
      readonly updates: { readonly tune: number; readonly measure: number; readonly left: number };
    }
  | {
      readonly type: "started";
      readonly cell: CellName;
      readonly attempt: number;
      readonly pid: number | undefined;
    }
  | { readonly type: "phase"; readonly cell: CellName; readonly phase: string }
  | {
      readonly type: "progress";
      readonly cell: CellName;
      readonly step: number;
      readonly steps: number;
      readonly loss: number;
    }
  | {
      readonly type: "benchmark";
      readonly cell: CellName;
      readonly task: BenchmarkName;
      readonly done: number;
      readonly total: number;
    }
  | {
      readonly type: "result";
      readonly cell: CellName;
      /** Of a cell that tunes, its tuning loss: on the examples that rates are chosen on. */
      readonly validationLoss: number;
      readonly answers?: { readonly correct: number; readonly total: number };
      /** In per cent, by the titles of columns. */
      readonly scores?: Readonly<Record<string, number>>;
      /** How many questions each of them is of. */
      readonly questions?: Readonly<Record<string, number>>;
      readonly seconds: number;
    }
  | {
      readonly type: "failed";
      readonly cell: CellName;
      readonly message: string;
      /** Whether it is tried once more. */
      readonly retried: boolean;
    }
  | {
      /** The search for a row's rate continues with further rates. */
      readonly type: "refine";
      readonly key: string;
      readonly learningRates: readonly number[];
      /** Cells that the plan did not have, and their updates. */
      readonly cells: number;
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
      /** What makes a comparison of the rows doubtful, in sentences. */
      readonly warnings: readonly string[];
      /** Cells of the chosen rows without a result or without all scores, rows that do not fit the model left out. */
      readonly missing: number;
    };
