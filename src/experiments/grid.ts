// The plan of an experiment: its rows on this model, the files it reads, and every cell with all that decides it.
import { availableParallelism } from "node:os";
import { join } from "node:path";
import type { AdapterConfig } from "#adapters";
import { MosError, parseSettings } from "#core";
import { type Example, readDataset, splitHeldOut } from "#data";
import type { ChatFormat } from "#evaluation";
import { type FinetuneSettingsInput, finetuneSettings, geometryOf, readModelConfig } from "#recipes";
import { makeFolder, readJsonLines, writeFileAtomic } from "#storage";
import { type BenchmarkPlan, type BenchmarkSpec, benchmarkSpecs, planBenchmarks } from "./benchmarks.ts";
import { type CellName, type CellSpec, cellFolder, type Evaluation, identityOf } from "./cell.ts";
import { fileDigest, modelDigest } from "./digest.ts";
import type { Row } from "./fit-row.ts";
import { type ReproduceOptions, type Settings, settingsOf } from "./settings.ts";
import { type Experiment, experimentOf, selectRows, withPlainBase } from "./tables.ts";

/** What the files hold, so that results of other files never count. */
export interface Digests {
  readonly model: string;
  readonly train: string;
  readonly evaluation: string;
}

/** Everything known before the first cell. */
export interface Grid {
  readonly options: ReproduceOptions;
  readonly settings: Settings;
  readonly experiment: Experiment;
  /** The rows to be run, those that do not fit the model too. */
  readonly selected: readonly Row[];
  readonly digests: Digests;
  /** Examples of the training file that a tuning cell measures on. */
  readonly tuningExamples: number;
  /** Examples measured on that are trained on, too. */
  readonly repeatedExamples: number;
  readonly seeds: readonly number[];
  /** What measured cells are asked, in the order of columns. */
  readonly benchmarks: readonly BenchmarkPlan[];
}

/** No grid has as many seeds, so no row is measured with the seed that chose its rate. */
const TUNING_SEED = 1_000_003;
const TUNING_SHARE = 0.1;
const MOST_TUNING_EXAMPLES = 64;
/** Updates between checkpoints: what a killed cell does again. */
const SAVE_EVERY = 50;

/** Reads and checks everything that can be, so that a mistake is one message and not a failure of every cell. */
export async function planGrid(options: ReproduceOptions): Promise<Grid> {
  const settings = settingsOf(options);
  const { model, train, evaluation } = options;
  const config = await readModelConfig(model);
  const { maxLength } = settings.training;
  if (maxLength > config.maxPositions)
    throw new MosError(
      "bad_option",
      `maxLength ${maxLength} is more than the ${config.maxPositions} positions of ${model}; use at most ${config.maxPositions}`,
    );
  checkTraining(settings);
  const { alpha, dropout, axes, experiment: name } = settings;
  const context = { geometry: geometryOf(config), alpha, dropout };
  const asked = settings.benchmarks;
  // a base that knows no chat is asked without one, too, as the paper does
  const isChat = asked !== undefined && asked.format !== "none";
  const plain = experimentOf(name, context, axes);
  const experiment = isChat ? withPlainBase(plain) : plain;
  const selected = selectRows(experiment.rows, options.only);
  const trainSet = await readDataset(train);
  const evaluationSet = await readDataset(evaluation);
  const digests = {
    model: await modelDigest(model),
    train: await fileDigest(train),
    evaluation: await fileDigest(evaluation),
  };
  if (digests.train === digests.evaluation)
    throw new MosError(
      "bad_option",
      `${evaluation} holds the same as ${train}; measure on examples that are not trained on`,
    );
  return {
    options,
    settings,
    experiment,
    selected,
    digests,
    tuningExamples: tuningExamplesOf(settings, trainSet.examples.length),
    repeatedExamples: countRepeated(
      evaluationSet.examples.slice(0, settings.evaluationExamples),
      trainSet.examples.slice(0, settings.training.examples),
    ),
    seeds: Array.from({ length: settings.seeds }, (_, seed) => seed),
    benchmarks: await benchmarksOf(options, settings),
  };
}

async function benchmarksOf(
  { benchmarks, model }: ReproduceOptions,
  settings: Settings,
): Promise<readonly BenchmarkPlan[]> {
  if (benchmarks === undefined || settings.benchmarks === undefined) return [];
  return planBenchmarks(settings.benchmarks, { model, dataFolder: benchmarks.dataFolder });
}

function countRepeated(measured: readonly Example[], trained: readonly Example[]): number {
  const contentOf = ({ line: _, ...content }: Example): string => JSON.stringify(content);
  const known = new Set(trained.map(contentOf));
  return measured.filter((example) => known.has(contentOf(example))).length;
}

/** Something has to be left to train on, where there is a rate to choose. */
function tuningExamplesOf({ training, tuneExamples, learningRates }: Settings, count: number): number {
  const examples = Math.min(count, training.examples ?? count);
  const held =
    tuneExamples ?? Math.max(1, Math.min(MOST_TUNING_EXAMPLES, Math.floor(examples * TUNING_SHARE)));
  if (learningRates.length > 1 && held >= examples)
    throw new MosError(
      "bad_option",
      `tuneExamples: ${held} of ${examples} examples to train on leave none to tune with; use fewer, or one learning rate`,
    );
  return held;
}

/** The settings that `finetune` checks, before any cell is started. */
function checkTraining({ training, steps, tuneSteps }: Settings): void {
  parseSettings(finetuneSettings, { ...training, steps });
  const fewest = Math.min(steps, tuneSteps);
  if (training.warmup >= 1 && training.warmup > fewest)
    throw new MosError(
      "bad_option",
      `warmup of ${training.warmup} updates is more than the ${fewest} updates of a cell`,
    );
}

const isTuned = ({ settings }: Grid): boolean => settings.learningRates.length > 1;

const tuningFiles = (out: string) => ({
  folder: join(out, "tuning"),
  train: join(out, "tuning", "train.jsonl"),
  heldOut: join(out, "tuning", "held-out.jsonl"),
});

/** Writes the two parts of the training file that tuning cells train and measure on; the same ones for all rows. */
export async function writeTuningFiles(grid: Grid): Promise<void> {
  if (!isTuned(grid)) return;
  const { options, settings, tuningExamples } = grid;
  const lines: string[] = [];
  for await (const { value } of readJsonLines(options.train)) lines.push(JSON.stringify(value));
  const { train, heldOut } = splitHeldOut(lines.slice(0, settings.training.examples), {
    seed: TUNING_SEED,
    count: tuningExamples,
  });
  const files = tuningFiles(options.out);
  await makeFolder(files.folder);
  await writeFileAtomic(files.train, `${train.join("\n")}\n`);
  await writeFileAtomic(files.heldOut, `${heldOut.join("\n")}\n`);
}

/** The cells that choose a row's rate; none where there is one rate only, or nothing to train. */
export function tuningCells(grid: Grid, row: Row): readonly CellSpec[] {
  const { adapter, key } = row;
  if (!adapter || !isTuned(grid)) return [];
  return grid.settings.learningRates.map((learningRate) =>
    specOf(grid, { key, purpose: "tune", learningRate, seed: TUNING_SEED }, adapter),
  );
}

/** The cells of a row at its rate, one for each seed. The base has nothing random, and one cell. */
export function measuringCells(
  grid: Grid,
  { adapter, key, chatFormat }: Row,
  learningRate: number | undefined,
): readonly CellSpec[] {
  if (adapter === null) {
    const spec = specOf(grid, { key, purpose: "measure", learningRate: 0, seed: 0 }, null);
    return [chatFormat === undefined ? spec : { ...spec, benchmarks: askedOf(grid, chatFormat) }];
  }
  if (adapter === undefined || learningRate === undefined) return [];
  return grid.seeds.map((seed) => specOf(grid, { key, purpose: "measure", learningRate, seed }, adapter));
}

const askedOf = (
  { benchmarks, settings, options: { version } }: Grid,
  format?: ChatFormat,
): readonly BenchmarkSpec[] =>
  settings.benchmarks === undefined
    ? []
    : benchmarkSpecs(benchmarks, settings.benchmarks, { version, format });

function specOf(grid: Grid, name: CellName, config: AdapterConfig | null): CellSpec {
  const { options, digests, settings } = grid;
  const { learningRate, seed, purpose } = name;
  const isTuning = purpose === "tune";
  const tuning = tuningFiles(options.out);
  const adapter = config === null ? null : { ...config, seed };
  const training: FinetuneSettingsInput = {
    ...settings.training,
    steps: isTuning ? settings.tuneSteps : settings.steps,
    heldOut: 0, // what is measured on is in a file of its own
    saveEvery: SAVE_EVERY,
    seed,
    ...(learningRate > 0 ? { learningRate } : {}),
  };
  const evaluation: Evaluation = {
    file: isTuning ? tuning.heldOut : options.evaluation,
    examples: isTuning ? undefined : settings.evaluationExamples,
    answers: isTuning ? 0 : settings.answers,
    answerTokens: settings.answerTokens,
  };
  const { version } = options;
  return {
    ...name,
    identity: identityOf({
      version,
      model: digests.model,
      train: adapter === null ? null : digests.train,
      evaluation: isTuning
        ? { heldOut: grid.tuningExamples, seed: TUNING_SEED }
        : { ...evaluation, file: digests.evaluation },
      adapter,
      // without an adapter nothing is trained, and only what measuring needs counts
      training: adapter === null ? { ...settings.training, examples: undefined } : training,
    }),
    folder: cellFolder(options.out, name),
    model: options.model,
    train: isTuning ? tuning.train : options.train,
    evaluation,
    benchmarks: isTuning ? [] : askedOf(grid),
    version,
    adapter,
    settings: training,
    threads: options.threads ?? threadsFor(options.jobs ?? 1),
    jobs: options.jobs ?? 1,
    keepAdapter: options.keepAdapters === true,
    fresh: false,
  };
}

/** Several cells at a time share the cores; one alone leaves the choice to the runtime. */
const threadsFor = (jobs: number): number | undefined =>
  jobs === 1 ? undefined : Math.max(1, Math.floor(availableParallelism() / jobs));
