import { finetuneSettings, methods } from "mixture-of-shards";
import {
  adjust,
  distinct,
  parseSettings,
  pick,
  type SettingInput,
  type SettingValues,
  setting,
} from "mixture-of-shards-core/common";
import { z } from "zod";
import { BENCHMARK_NAMES, type BenchmarkName, defaultChatFormat, evaluationSettings } from "#evaluation";
import type { ServiceAccess } from "./service-trainer.ts";
import { type ExperimentName, FIGURE_AXES } from "./tables.ts";

const MAX = 100_000_000;
const AXIS = "one or more different numbers";

/** Settings of the grid and of the search for learning rates. Each is an option of `mos reproduce`. */
export const gridSettings = {
  seeds: setting(z.int().min(1).max(1000), {
    default: 3,
    help: "runs per row, with seeds 0 to n − 1",
  }),
  steps: setting(z.int().min(1).max(MAX), { default: 200, help: "updates per run" }),
  privateRanks: setting(distinct(z.int().min(0).max(4096)).describe(AXIS), {
    default: FIGURE_AXES.privateRanks,
    defaultText: FIGURE_AXES.privateRanks.join(","),
    help: "figure1: private ranks on one axis",
  }),
  shards: setting(distinct(z.int().min(1).max(65_536)).describe(AXIS), {
    default: FIGURE_AXES.shards,
    defaultText: FIGURE_AXES.shards.join(","),
    help: "figure1: shards per vector on the other axis",
  }),
  learningRates: setting(distinct(z.number().gt(0).max(10)).describe("one or more different rates"), {
    default: [1e-3],
    defaultText: "1e-3",
    help: "peak learning rate of all rows; with several, each row searches for its own",
  }),
  tuneSteps: setting(z.int().min(1).max(MAX), {
    defaultText: "as many as --steps",
    help: "updates of each run that tries a learning rate",
  }),
  tuneSeeds: setting(z.int().min(1).max(1000), {
    default: 2,
    help: "seeds with which to try each learning rate",
  }),
  tuneExamples: setting(z.int().min(1).max(MAX), {
    defaultText: "64, or a tenth of a small file",
    help: "examples of --train to hold out for choosing learning rates",
  }),
};

/** Settings of the base of all cells, in training and in answers. */
export const baseSettings = {
  baseDtype: adjust(finetuneSettings.baseDtype, {
    help: "data type of the base weights in memory; the paper uses nf4",
  }),
  computeDtype: adjust(finetuneSettings.computeDtype, { default: "float32", defaultText: "float32" }),
};
export type BaseSettings = SettingValues<typeof baseSettings>;

const { alpha, dropout, targets } = methods.lora.settings;

/** Settings of every method's adapter. */
export const adapterSettings = {
  alpha: adjust(alpha, { help: "scale the update by alpha / rank, for every method but VeRA" }),
  dropout: adjust(dropout, { default: 0.1 }),
  targets: setting(targets.unwrap(), {
    defaultText: "all that the method supports",
    help: "linear layers to adapt with every method",
  }),
};

/** Settings of training, the same in every cell: those of `finetune`, except sizes that no data decide and the paper's gradient norm. */
export const trainingSettings = {
  batchSize: adjust(finetuneSettings.batchSize, { default: 4, defaultText: "4" }),
  gradientAccumulationSteps: finetuneSettings.gradientAccumulationSteps,
  maxLength: adjust(finetuneSettings.maxLength, { default: 512, defaultText: "512" }),
  packing: finetuneSettings.packing,
  schedule: finetuneSettings.schedule,
  warmup: finetuneSettings.warmup,
  weightDecay: finetuneSettings.weightDecay,
  maxGradientNorm: adjust(finetuneSettings.maxGradientNorm, { default: 0.3 }),
  promptFormat: finetuneSettings.promptFormat,
  system: finetuneSettings.system,
  maxExamples: finetuneSettings.maxExamples,
};

/** Settings of measuring a cell. */
export const measuringSettings = {
  evaluationExamples: setting(z.int().min(1).max(MAX), {
    defaultText: "all",
    help: "evaluate only the first n examples",
  }),
  answers: setting(z.int().min(0).max(MAX), {
    default: 32,
    help: "number of test examples to answer greedily and compare for exact match",
  }),
  answerTokens: setting(z.int().min(1).max(1_000_000), {
    default: 200,
    help: "maximum number of output tokens",
  }),
};

/** Settings of the cells' resources. */
export const machineSettings = {
  jobs: setting(z.int().min(1).max(1024), {
    default: 1,
    help: "number of runs at the same time, each in its own process",
  }),
  threads: setting(z.int().min(1).max(1024), {
    defaultText: "the cores, shared by the jobs",
    help: "threads per run",
  }),
};

/** Settings of the benchmarks whose scores are columns. */
export const benchmarkSettings = {
  benchmarks: setting(
    distinct(z.enum(BENCHMARK_NAMES)).describe(`one or more different ones of ${BENCHMARK_NAMES.join(", ")}`),
    {
      placeholder: "names",
      help: `comma-separated benchmarks to add as columns: ${BENCHMARK_NAMES.join(", ")}`,
    },
  ),
  benchmarkLimit: adjust(evaluationSettings.limit, {
    help: "questions per benchmark, the same for all runs",
  }),
  benchmarkSamples: evaluationSettings.samples,
  benchmarkShots: evaluationSettings.shots,
  benchmarkRules: evaluationSettings.rules,
  benchmarkFormat: evaluationSettings.chatFormat,
};

const experimentSettings = { ...gridSettings, ...adapterSettings, ...measuringSettings };

/** A grid of cells: what is trained on what, how often, and where it goes. */
export interface ReproduceOptions
  extends SettingInput<typeof experimentSettings>,
    SettingInput<typeof benchmarkSettings>,
    SettingInput<typeof baseSettings>,
    SettingInput<typeof machineSettings> {
  readonly experiment: ExperimentName;
  /** A model folder or a .gguf file. */
  readonly model: string;
  /** JSON Lines files. The second one is measured on, and never trained on. */
  readonly train: string;
  readonly evaluation: string;
  readonly out: string;
  /** Labels or keys of rows; all without. */
  readonly only?: readonly string[] | undefined;
  /** A file of examples to choose rates on; a part of the training file, held out while tuning, without. */
  readonly tuneEvaluation?: string | undefined;
  /** With a file to choose rates on, what is trained on meanwhile; the training file without. */
  readonly tuneTrain?: string | undefined;
  readonly training?: SettingInput<typeof trainingSettings>;
  /** Folder of a benchmark's data, in the layout of `mos eval --data`; needed where there are benchmarks. */
  readonly benchmarkFolder?: ((task: BenchmarkName) => string) | undefined;
  readonly keepAdapters?: boolean;
  /** A service that trains the adapters as its jobs; this machine without. */
  readonly service?: ServiceAccess | undefined;
  /** Version of the program: results of another version do not count. */
  readonly version: string;
  /** As it was given, for the record. */
  readonly command?: string | undefined;
  /** Description of the machine, for the record. */
  readonly environment?: Readonly<Record<string, string | number>>;
  /** Stops the cells at their next update, with a checkpoint. */
  readonly signal?: AbortSignal | undefined;
  /** A module in place of cell-process.ts, for tests. */
  readonly entry?: string;
}

/** The record of an experiment: its options, completed and checked. */
export type Settings = ReturnType<typeof resolveSettings>;

/**
 * Fills in and checks, training's own settings too.
 *
 * @throws MosError `bad_option` with the name of the setting, what was given, and what would be accepted.
 */
export function resolveSettings(options: ReproduceOptions) {
  const { experiment, training = {} } = options;
  const given = parseSettings(experimentSettings, pick(experimentSettings, options));
  const { privateRanks, shards, tuneSteps = given.steps, ...settings } = given;
  const asked = parseSettings(benchmarkSettings, pick(benchmarkSettings, options));
  const { benchmarks, benchmarkRules: rules } = asked;
  parseSettings(machineSettings, pick(machineSettings, options));
  return {
    experiment,
    ...settings,
    tuneSteps,
    axes: { privateRanks, shards },
    base: parseSettings(baseSettings, pick(baseSettings, options)),
    training: parseSettings(trainingSettings, training),
    benchmarks: benchmarks && {
      // in the order of the paper's columns
      tasks: BENCHMARK_NAMES.filter((name) => benchmarks.includes(name)),
      limit: asked.benchmarkLimit,
      samples: asked.benchmarkSamples,
      shots: asked.benchmarkShots,
      rules,
      format: asked.benchmarkFormat ?? defaultChatFormat(rules),
    },
  };
}
