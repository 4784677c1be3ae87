import { z } from "zod";
import { belowOne, expected, oneOf, parseWithSchema, positiveNumber, wholeNumber } from "#core";
import type { PromptFormat } from "#data";
import type { ScheduleName } from "#training";
import { type BenchmarkOptions, type BenchmarkSettings, benchmarkSettingsOf } from "./benchmarks.ts";
import { EXPERIMENTS, type ExperimentName, FIGURE_AXES, type FigureAxes } from "./tables.ts";

/** What is trained alike in every cell. Named and valued as `finetune` has it, but for what the paper has otherwise. */
export interface TrainingSettings {
  readonly batchSize: number;
  readonly accumulate: number;
  readonly maxLength: number;
  readonly packing: boolean;
  readonly schedule: ScheduleName;
  readonly warmup: number;
  readonly weightDecay: number;
  readonly maxGradientNorm: number;
  readonly promptFormat: PromptFormat;
  readonly system?: string | undefined;
  readonly examples?: number | undefined;
}

/** Of the paper: a gradient norm of 0.3; linear schedule and 3 % warm-up are `finetune`'s defaults too. */
export const TRAINING_DEFAULTS: TrainingSettings = {
  batchSize: 4,
  accumulate: 1,
  maxLength: 512,
  packing: true,
  schedule: "linear",
  warmup: 0.03,
  weightDecay: 0,
  maxGradientNorm: 0.3,
  promptFormat: "template",
};

/** A grid of cells: what is trained on what, how often, and where it goes. */
export interface ReproduceOptions {
  readonly experiment: ExperimentName;
  /** A model folder or a .gguf file. */
  readonly model: string;
  /** JSONL files. The second one is measured on, and never trained on. */
  readonly train: string;
  readonly evaluation: string;
  /** Seeds 0 … n − 1. */
  readonly seeds: number;
  /** Updates of a cell. */
  readonly steps: number;
  readonly out: string;
  /** Labels or keys of rows; all without. */
  readonly only?: readonly string[];
  /** One: all rows have it. Several: each row's search for its own begins with them. */
  readonly learningRates?: readonly number[];
  /** Seeds that each rate is tried with, none of which is measured; 2 without. */
  readonly tuneSeeds?: number | undefined;
  /** Updates of a tuning cell; as many as of the others without. */
  readonly tuneSteps?: number | undefined;
  /** Examples to choose rates on; 64, or a tenth of a small training file, or all of a file of their own, without. */
  readonly tuneExamples?: number | undefined;
  /** A file of examples to choose rates on; a part of the training file, held out while tuning, without. */
  readonly tuneEvaluation?: string | undefined;
  /** With a file to choose rates on, what is trained on meanwhile; the training file without. */
  readonly tuneTrain?: string | undefined;
  readonly alpha?: number;
  readonly dropout?: number;
  readonly training?: Partial<TrainingSettings>;
  readonly axes?: Partial<FigureAxes>;
  /** Held-out examples to measure on; all without. */
  readonly evaluationExamples?: number | undefined;
  /** Greedy answers of a cell; 0 for none. */
  readonly answers?: number;
  readonly answerTokens?: number;
  /** Scores of the paper's benchmarks as columns; none without. */
  readonly benchmarks?: BenchmarkOptions | undefined;
  /** Cells at a time. */
  readonly jobs?: number;
  /** Threads of a cell; the runtime's choice without. */
  readonly threads?: number | undefined;
  readonly keepAdapters?: boolean;
  /** Of the program: results of another version do not count. */
  readonly version: string;
  /** As it was given, for the record. */
  readonly command?: string | undefined;
  /** Of the machine, for the record. */
  readonly environment?: Readonly<Record<string, string | number>>;
  /** Stops the cells at their next update, with a checkpoint. */
  readonly signal?: AbortSignal | undefined;
  /** A module in place of cell-process.ts, for tests. */
  readonly entry?: string;
}

/** The same, filled in and checked. */
export interface Settings {
  readonly experiment: ExperimentName;
  readonly seeds: number;
  readonly steps: number;
  readonly learningRates: readonly number[];
  readonly tuneSteps: number;
  readonly tuneSeeds: number;
  readonly tuneExamples?: number | undefined;
  readonly alpha: number;
  readonly dropout: number;
  readonly training: TrainingSettings;
  readonly axes: FigureAxes;
  readonly evaluationExamples?: number | undefined;
  readonly answers: number;
  readonly answerTokens: number;
  readonly benchmarks?: BenchmarkSettings;
}

const MOST = 100_000_000;
const rates = expected("one or more different rates");
const axis = expected("one or more different numbers");
const isSet = (values: readonly number[]): boolean => new Set(values).size === values.length;

/** Names as the options of the command have them, so that a message finds its flag. */
const schema = z.object({
  experiment: oneOf(EXPERIMENTS),
  seeds: wholeNumber(1, 1000),
  steps: wholeNumber(1, MOST),
  learningRates: z.array(positiveNumber(10), rates).min(1, rates).refine(isSet, rates),
  tuneSteps: wholeNumber(1, MOST),
  tuneSeeds: wholeNumber(1, 1000),
  tuneExamples: wholeNumber(1, MOST).optional(),
  alpha: positiveNumber(1e6),
  dropout: belowOne("a probability"),
  privateRanks: z.array(wholeNumber(0, 4096), axis).min(1, axis).refine(isSet, axis),
  shards: z.array(wholeNumber(1, 65_536), axis).min(1, axis).refine(isSet, axis),
  evaluationExamples: wholeNumber(1, MOST).optional(),
  answers: wholeNumber(0, MOST),
  answerTokens: wholeNumber(1, 1_000_000),
  jobs: wholeNumber(1, 1024),
  threads: wholeNumber(1, 1024).optional(),
});

/** Throws `bad_option` with the name of the setting, what was given, and what would do. Training's own settings are checked by `finetune`. */
export function settingsOf(options: ReproduceOptions): Settings {
  const {
    experiment,
    seeds,
    steps,
    learningRates = [1e-3],
    tuneSteps = steps,
    tuneSeeds = 2,
    tuneExamples,
    axes = {},
  } = options;
  const { privateRanks, shards } = { ...FIGURE_AXES, ...axes };
  const { answers = 32, answerTokens = 200, evaluationExamples } = options;
  const common = {
    experiment,
    seeds,
    steps,
    learningRates,
    tuneSteps,
    tuneSeeds,
    tuneExamples,
    answers,
    answerTokens,
    evaluationExamples,
  };
  const given = { ...common, alpha: options.alpha ?? 16, dropout: options.dropout ?? 0.1 };
  const checked = { ...given, privateRanks, shards, jobs: options.jobs ?? 1, threads: options.threads };
  parseWithSchema(schema, checked);
  return {
    ...given,
    axes: { privateRanks, shards },
    training: { ...TRAINING_DEFAULTS, ...options.training },
    ...(options.benchmarks === undefined ? {} : { benchmarks: benchmarkSettingsOf(options.benchmarks) }),
  };
}
