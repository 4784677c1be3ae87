// The data of a run as tokens, and the updates that they make.

import { MosError } from "#core";
import {
  columnsOf,
  type DataSource,
  type EncodedDataset,
  type EncodedExample,
  type Example,
  encodeExamples,
  type LocateDataOptions,
  locateData,
  pathsOf,
  placeText,
  readDataset,
  splitValidation,
} from "#data";
import { parameterCount } from "#models";
import { type LoadedText, withVariables } from "#text";
import {
  type BatchSize,
  expectRunMemory,
  keptAs,
  type PlannedBase,
  type RunMemory,
  type RunShapes,
} from "./memory-plan.ts";
import { paddedTokens, stepsOfEpochs } from "./micro-batches.ts";
import {
  type DataInput,
  expectWarmup,
  type FinetuneOptions,
  type PreparedRun,
  type RunSettings,
} from "./prepare-run.ts";
import type { ModelSummary } from "./run-results.ts";
import type { FinetuneSettings } from "./settings.ts";
import type { TrainSettings } from "./trainer.ts";

/** The examples of a run. */
export interface RunData {
  readonly train: readonly Example[];
  readonly validation: readonly Example[];
  /** Those of the data that were read, whatever is done with them. */
  readonly all: readonly Example[];
}

interface RunDataOptions extends Pick<FinetuneOptions, "data" | "validationData" | "hub" | "signal"> {
  /** Lines that are to be shown, which may be beyond the examples of the run: files are read to their end. */
  readonly lines?: readonly number[];
}

/** Reads as much of the data as is used, and holds out a part of it. */
export async function readRunData(
  { data, validationData, lines, ...options }: RunDataOptions,
  { maxExamples, validationSplit, seed, dataColumns }: FinetuneSettings,
): Promise<RunData> {
  const columns = columnsOf(dataColumns);
  const find = async (input: DataInput) => {
    const names = pathsOf(input);
    const paths = names === undefined ? undefined : await located(names, options);
    return { source: paths ?? (input as DataSource), paths };
  };
  const { source, paths } = await find(data);
  const apart = validationData === undefined ? undefined : await find(validationData);
  const limit = paths !== undefined && lines !== undefined ? undefined : maxExamples;
  const { examples: all } = await readDataset(source, { columns, limit });
  const chosen = maxExamples === undefined ? all : all.slice(0, maxExamples);
  if (apart !== undefined)
    return { all, train: chosen, validation: (await readDataset(apart.source, { columns })).examples };
  return {
    all,
    ...splitValidation(
      chosen,
      validationSplit < 1 ? { seed, fraction: validationSplit } : { seed, count: validationSplit },
    ),
  };
}

/** The files of data; downloads go unseen. */
async function located(names: readonly string[], options: LocateDataOptions): Promise<readonly string[]> {
  const location = locateData(names, options);
  let step = await location.next();
  while (step.done !== true) step = await location.next();
  return step.value;
}

/** What encoding needs of a run. */
export interface RunEncoding extends Pick<PreparedRun, "settings" | "config" | "base"> {
  readonly text: LoadedText;
  readonly signal: AbortSignal | undefined;
}

/** How the examples of a run become tokens. */
export const encodingOf = ({
  text: { tokenizer, template },
  settings: { maxLength, promptFormat, system, chatTemplateKwargs },
}: Pick<RunEncoding, "text" | "settings">) => ({
  template: withVariables(template, chatTemplateKwargs),
  tokenizer,
  maxLength,
  promptFormat,
  system,
});

/** The examples of a run as tokens, and what is computed of them. */
export interface EncodedRun {
  readonly train: EncodedDataset;
  readonly validation: EncodedDataset | undefined;
  readonly run: TrainSettings;
}

/** Encodes the examples, and decides from them what the run is. */
export async function encodeRun(data: RunData, options: RunEncoding): Promise<EncodedRun> {
  const { settings, config, base, signal } = options;
  const encoding = { ...encodingOf(options), signal };
  const train = await encodeExamples(data.train, encoding);
  const validation =
    data.validation.length === 0 ? undefined : await encodeExamples(data.validation, encoding);
  checkTokens([...train.encoded, ...(validation?.encoded ?? [])], base);
  const run = trainSettings(settings, {
    encoded: train.encoded,
    dropout: config.dropout,
    padToken: base.config.padToken ?? base.config.eosTokens[0] ?? 0,
  });
  return { train, validation, run };
}

/** The memory of a run, by the batches that its examples make. Throws `memory` where there is no room. */
export function runMemory(
  { base, config, settings, evaluates, free }: PreparedRun,
  { train, validation, run }: EncodedRun,
): RunMemory {
  const shapeOf = ({ encoded }: EncodedDataset, { batchSize, maxLength }: BatchSize) => {
    const lengths = encoded.map(({ ids }) => Math.min(ids.length, maxLength));
    const { rows, longest } = paddedTokens(lengths, { ...run, batchRows: batchSize, rowLength: maxLength });
    const maxSegment = Math.max(train.report.longest, validation?.report.longest ?? 0);
    return { rows, length: longest, maxSegment: Math.min(maxSegment, maxLength) };
  };
  const shapesOf = (size: BatchSize): RunShapes => ({
    shape: shapeOf(train, size),
    validationShape: validation === undefined ? undefined : shapeOf(validation, size),
  });
  return expectRunMemory(base, config, { ...settings, evaluates, free, shapesOf });
}

/** The base of a run, in what is shown of it. */
export function summaryOf({ base, settings }: PreparedRun, memory: RunMemory): ModelSummary {
  const { layers, hiddenSize } = base.config;
  return {
    name: base.name,
    layers,
    hiddenSize,
    parameters: parameterCount(base.config),
    kept: keptAs(base.formsOf({ ...settings, ...memory })),
  };
}

/** A tokenizer may know tokens that its model has no embedding for. */
function checkTokens(examples: readonly EncodedExample[], { name, config }: PlannedBase): void {
  const { vocabularySize } = config;
  for (const { ids, ...place } of examples) {
    const odd = ids.find((id) => id >= vocabularySize);
    if (odd !== undefined)
      throw new MosError(
        "bad_data",
        `${placeText(place)} has token ${odd}, outside the vocabulary of ${vocabularySize} of ${name}; does the tokenizer belong to this model?`,
      );
  }
}

interface EncodedFacts {
  readonly encoded: readonly EncodedExample[];
  readonly dropout: number;
  readonly padToken: number;
}

function trainSettings(settings: RunSettings, { encoded, dropout, padToken }: EncodedFacts): TrainSettings {
  const { learningRate, schedule, maxGradientNorm, gradientAccumulationSteps, packing, seed } = settings;
  const { evaluateEvery, earlyStoppingPatience, saveEvery } = settings;
  const common = {
    learningRate,
    schedule,
    optimizer: { beta1: settings.beta1, beta2: settings.beta2, weightDecay: settings.weightDecay },
    maxGradientNorm,
    gradientAccumulationSteps,
    batchRows: settings.batchSize,
    rowLength: settings.maxLength,
    packed: packing,
    dropout,
    seed,
    padToken,
    evaluateEvery,
    earlyStoppingPatience,
    saveEvery,
    warmup: 0,
  };
  const steps =
    settings.steps ??
    stepsOfEpochs(
      encoded.map(({ ids }) => ids.length),
      settings.epochs,
      common,
    );
  const warmup = settings.warmup < 1 ? Math.round(settings.warmup * steps) : settings.warmup;
  expectWarmup(warmup, steps);
  return { ...common, steps, warmup };
}
