// The plan of an experiment: its rows on this model, the files it reads, and every cell with all that decides it.
import { availableParallelism } from "node:os";
import {
  type AdapterConfig,
  type Example,
  type FinetuneSettingsInput,
  finetuneSettings,
  MosError,
  readDataset,
  readModelConfig,
  toLayerShapes,
} from "mixture-of-shards";
import { parseSettings } from "mixture-of-shards-core/common";
import type { ChatFormat } from "#evaluation";
import { BENCHMARK_SEED, type BenchmarkSpec, planBenchmarks } from "./benchmarks.ts";
import { type Evaluation, type Purpose, type TrialName, type TrialSpec, trialFolder } from "./cell.ts";
import { fileDigest, hashParts, modelDigest } from "./digest.ts";
import { type ReproduceOptions, resolveSettings, type Settings } from "./settings.ts";
import { buildExperiment, type Row, selectRows, withPlainBase } from "./tables.ts";
import { planTuning } from "./tuning-files.ts";

/** Everything known before the first cell. */
export type Grid = Awaited<ReturnType<typeof planGrid>>;

/** Updates between checkpoints: what a killed cell does again. */
const SAVE_EVERY = 20;

/** Reads and checks everything that can be, so that a mistake is one message and not a failure of every cell. */
export async function planGrid(options: ReproduceOptions) {
  const settings = resolveSettings(options);
  const { model, train, evaluation } = options;
  const config = await readModelConfig(model);
  const { maxLength } = settings.training;
  if (maxLength > config.maxPositions)
    throw new MosError(
      "bad_option",
      `maxLength ${maxLength} is more than the ${config.maxPositions} positions of ${model}; use at most ${config.maxPositions}`,
    );
  checkTraining(settings);
  const { alpha, dropout, targets, axes, experiment: name } = settings;
  const context = { shapes: toLayerShapes(config), alpha, dropout, targets };
  const requested = settings.benchmarks;
  const { benchmarkFolder: dataFolder = missingFolder } = options;
  // a base that knows no chat is asked without one, too, as the paper does
  const isChat = requested !== undefined && requested.format !== "none";
  const plain = buildExperiment(name, context, axes);
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
      `${evaluation} and ${train} have the same contents; evaluate on examples that are not in the training data`,
    );
  return {
    options,
    settings,
    experiment,
    /** The rows to be run, those that do not fit the model too. */
    selected,
    /** Digests of the files, so that results of other files never count. */
    digests,
    tuning: await planTuning(options, settings, { train: trainSet.examples.length, digests }),
    /** Examples measured on that are trained on, too. */
    repeatedExamples: countRepeated(
      evaluationSet.examples.slice(0, settings.evaluationExamples),
      trainSet.examples.slice(0, settings.training.maxExamples),
    ),
    seeds: Array.from({ length: settings.seeds }, (_, seed) => seed),
    /** Benchmarks of measured cells, in the order of columns. */
    benchmarks: requested === undefined ? [] : await planBenchmarks(requested, { model, dataFolder }),
  };
}

const missingFolder = (): never => {
  throw new MosError("bad_option", "benchmarks requires benchmarkFolder; give both");
};

function countRepeated(measured: readonly Example[], trained: readonly Example[]): number {
  const exampleContent = ({ line: _, ...content }: Example): string => JSON.stringify(content);
  const known = new Set(trained.map(exampleContent));
  return measured.filter((example) => known.has(exampleContent(example))).length;
}

/** The settings that `finetune` checks, before any cell is started. */
function checkTraining({ training, steps, tuneSteps }: Settings): void {
  parseSettings(finetuneSettings, { ...training, steps });
  const fewest = Math.min(steps, tuneSteps);
  if (training.warmup >= 1 && training.warmup > fewest)
    throw new MosError(
      "bad_option",
      `warmup of ${training.warmup} updates is more than the ${fewest} updates of a run`,
    );
}

/** The cells of a row at its rate, one for each seed. The base has nothing random, and one cell. */
export function measuringTrials(
  grid: Grid,
  { adapter, key, chatFormat }: Row,
  learningRate: number | undefined,
): readonly TrialSpec[] {
  if (adapter === null) {
    const spec = trialSpec(grid, { key, purpose: "measure", learningRate: 0, seed: 0 }, null);
    return [chatFormat === undefined ? spec : { ...spec, benchmarks: requestedBenchmarks(grid, chatFormat) }];
  }
  if (adapter === undefined || learningRate === undefined) return [];
  return grid.seeds.map((seed) => trialSpec(grid, { key, purpose: "measure", learningRate, seed }, adapter));
}

/** The prompts of a cell; in another format than the others, if necessary. */
function requestedBenchmarks(
  { benchmarks, settings, options }: Grid,
  format?: ChatFormat,
): readonly BenchmarkSpec[] {
  if (settings.benchmarks === undefined) return [];
  const { tasks: _, ...common } = settings.benchmarks;
  return benchmarks.map(({ task, folder, dataDigest: data }) => {
    const samples = task === "humaneval" ? common.samples : undefined;
    const requested = { ...common, format: format ?? common.format, samples };
    const { version } = options;
    const identity = hashParts({ version, task, ...requested, data, seed: BENCHMARK_SEED });
    return { task, folder, identity, ...requested };
  });
}

/** The files that a cell reads, and their part in its identity. */
function trialInputs(grid: Grid, purpose: Purpose) {
  const { options, digests, settings, tuning } = grid;
  const { answerTokens } = settings;
  if (purpose === "tune") {
    const { files, examples, identity } = tuning;
    const evaluation: Evaluation = { file: files.validation, examples, answers: 0, answerTokens };
    return {
      train: files.train,
      evaluation,
      identity: { train: identity.train, evaluation: identity.validation },
    };
  }
  const { answers, evaluationExamples: examples } = settings;
  const evaluation: Evaluation = { file: options.evaluation, examples, answers, answerTokens };
  const identity = { train: digests.train, evaluation: { ...evaluation, file: digests.evaluation } };
  return { train: options.train, evaluation, identity };
}

/** A cell with all that decides it. */
export function trialSpec(grid: Grid, name: TrialName, config: AdapterConfig | null): TrialSpec {
  const { options, digests, settings } = grid;
  const { learningRate, seed, purpose } = name;
  const inputs = trialInputs(grid, purpose);
  const adapter = config === null ? null : { ...config, seed };
  const training: FinetuneSettingsInput = {
    ...settings.training,
    steps: purpose === "tune" ? settings.tuneSteps : settings.steps,
    validationSplit: 0, // what is measured on is in a file of its own
    saveEvery: SAVE_EVERY,
    seed,
    ...(learningRate > 0 ? { learningRate } : {}),
  };
  const { version } = options;
  const { base } = settings;
  return {
    ...name,
    identity: hashParts({
      version,
      model: digests.model,
      train: adapter === null ? null : inputs.identity.train,
      evaluation: inputs.identity.evaluation,
      adapter,
      // without an adapter nothing is trained, and only what measuring needs counts
      training: adapter === null ? { ...settings.training, maxExamples: undefined } : training,
      base,
    }),
    folder: trialFolder(options.out, name),
    model: options.model,
    base,
    train: inputs.train,
    evaluation: inputs.evaluation,
    benchmarks: purpose === "tune" ? [] : requestedBenchmarks(grid),
    version,
    adapter,
    settings: { ...training, ...base },
    threads: options.threads ?? threadsFor(options.jobs ?? 1),
    jobs: options.jobs ?? 1,
    keepAdapter: options.keepAdapters === true,
    fresh: false,
  };
}

/** Several cells at a time share the cores; one alone leaves the choice to the runtime. */
const threadsFor = (jobs: number): number | undefined =>
  jobs === 1 ? undefined : Math.max(1, Math.floor(availableParallelism() / jobs));
