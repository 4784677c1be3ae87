// Plan of a run, and whether it is possible: settings against the header of the model, data as tokens, memory and disk. The
// base is not loaded, and nothing is written.

import { checkDevice, type Device } from "mixture-of-shards-graph";
import {
  type AdapterConfig,
  type AdapterConfigInput,
  type Budget,
  budget,
  DEFAULT_METHOD,
  fittingConfig,
  openAdapterFolder,
  parseAdapterConfig,
} from "#adapters";
import {
  type FreeMemory,
  fitsMemory,
  freeMemory,
  limitedMemory,
  MosError,
  parseSettings,
  withProgress,
} from "#common";
import {
  type DataKind,
  type DataSource,
  dataPaths,
  type EncodedDataset,
  type EncodedExample,
  type Example,
  encodeExamples,
  locateData,
  parseColumns,
  placeText,
  readDataset,
  splitValidation,
} from "#data";
import { assertSpace } from "#files";
import {
  type BaseModel,
  type ComputeDtype,
  canSharePrompts,
  type DownloadEvent,
  loadText,
  locateModel,
  type PlannedBase,
  planBase,
  toLayerShapes,
} from "#models";
import { type LoadedText, parseResponseFormat, withVariables } from "#text";
import {
  assertBaseMemory,
  MIN_LENGTH,
  memorySize,
  planMemory,
  type RunMemory,
  requireRunMemory,
} from "../memory-plan.ts";
import { chooseObjective, OBJECTIVES } from "../objectives/index.ts";
import type { Objective, ObjectiveKind } from "../objectives/objective.ts";
import { OBJECTIVE_NAMES } from "../objectives/settings.ts";
import {
  assertWarmup,
  chooseValidationSplit,
  continueSettings,
  expectedUpdate,
  longestRow,
  type OpenSettings,
  resolveSettings,
} from "../resolve-settings.ts";
import type { GraderInputs, GraderPlan } from "../rollouts/grader.ts";
import { planRewards, readGrader } from "../rollouts/rewards.ts";
import type { RunRecord } from "../run-record.ts";
import {
  type FinetuneSettings,
  finetuneSettings,
  type ResolvedSettings,
  usualLearningRate,
} from "../settings.ts";
import type { TrainSettings } from "../trainer.ts";
import { type Augmented, augment, expectAugmented, type ReplayEvent, withReplay } from "./augment.ts";
import type { DataInput, RunOptions, SavedStart } from "./interface.ts";

/** The examples of a run. */
interface RunData {
  readonly train: readonly Example[];
  readonly validation: readonly Example[];
  /** Those of the data that were read, whatever is done with them. */
  readonly all: readonly Example[];
}

/** All that is decided about a run before its base is loaded. */
export interface RunPlan {
  /** As given, with those that base and data decide. */
  readonly settings: ResolvedSettings;
  readonly config: AdapterConfig;
  readonly model: string | BaseModel;
  readonly base: PlannedBase;
  readonly text: LoadedText;
  readonly free: FreeMemory;
  readonly device: Device | undefined;
  /** Of a resumed run, whether its sampler has a copy of the weights. */
  readonly prepacksSampler: boolean | undefined;
  readonly data: RunData;
  /** What is learnt in all passes, where that is more than the data. */
  readonly augmented: Augmented | undefined;
  readonly train: EncodedDataset;
  readonly validation: EncodedDataset | undefined;
  readonly objective: Objective;
  readonly graders: {
    /** Of answers that it learns from, where it learns from such. */
    readonly learnt: GraderPlan | undefined;
    /** Of answers to held-out prompts: the same, unless `evaluateBy` names another. */
    readonly heldOut: GraderPlan | undefined;
  };
  /** Settings of the trainer. */
  readonly run: TrainSettings;
  readonly memory: RunMemory;
}

/** A plan whose batches and rows are not chosen yet. */
type OpenPlan = Omit<RunPlan, "settings" | "train" | "validation" | "run" | "memory"> & {
  readonly settings: OpenSettings;
};

interface PlanOptions extends RunOptions {
  /** Lines that are to be shown, which may be beyond the examples of the run: files are read to their end. */
  readonly lines?: readonly number[];
}

/**
 * Plans a run: checks the settings against the model's header and that there is memory for its base, encodes the data, and
 * finds the fastest way that has room. A model of the hub is downloaded. Throws what `finetune` throws.
 */
export async function* planRun(
  options: PlanOptions & { readonly isPreview?: boolean },
  recorded?: RunRecord,
): AsyncGenerator<DownloadEvent | ReplayEvent, RunPlan> {
  const prepared = yield* prepareRun(options, recorded);
  const { settings, model } = prepared;
  const data = await readRunData(options, settings);
  if (settings.evaluateBy !== undefined && data.validation.length === 0)
    throw new MosError(
      "bad_option",
      "evaluateBy grades answers to held-out prompts, but nothing is held out; give validationData, or a validationSplit above 0",
    );
  const text = typeof model === "string" ? await loadText(model) : model.text;
  const plan = await fitPlan({ ...prepared, data, text, augmented: undefined }, options.signal);
  const augmented =
    options.isPreview === true
      ? await expectAugmented(plan, options)
      : yield* augment(plan, { ...options, recorded });
  if (augmented === undefined) return plan;
  // passes are those over the data as they are, and who chose them is known no more
  const { epochs } = settings.steps === undefined ? plan.settings : settings;
  const { targetLoss } = plan.settings;
  return fitPlan(
    { ...prepared, settings: { ...settings, epochs, targetLoss }, data, text, augmented },
    options.signal,
  );
}

/** The fastest plan that has room. */
async function fitPlan(open: OpenPlan, signal: AbortSignal | undefined): Promise<RunPlan> {
  const { settings, base, free } = open;
  const limit = longestRow(settings, base.config.maxPositions);
  let size: RowLimits = { batchSize: settings.batchSize, limit };
  for (;;) {
    const plan = await planSize(open, size, signal);
    if (fitsMemory(plan.memory.plan, free)) return plan;
    const smaller = smallerSize(settings, plan.settings);
    if (smaller === undefined) requireRunMemory(base, plan.config, memorySize(plan));
    else size = smaller;
  }
}

// Settings and the header of the model

function checkLengths(base: PlannedBase, { maxLength = 0, warmup, steps }: FinetuneSettings): void {
  if (maxLength > base.config.maxPositions)
    throw new MosError(
      "bad_option",
      `maxLength ${maxLength} is more than the ${base.config.maxPositions} positions of ${base.name}; use at most ${base.config.maxPositions}`,
    );
  if (steps !== undefined && warmup >= 1) assertWarmup(warmup, steps);
}

/**
 * Reads the header of a model, and checks the runs that are planned for it: what `check` lets through fails only by its data
 * or by the machine's memory.
 *
 * @throws MosError from `check`: `bad_option`, `bad_config`, `unsupported`.
 * @example
 * const check = await runCheck("assets/tiny-english");
 * check({ adapter: { method: "mos", equivalentRank: 2, rank: 8 }, settings: { steps: 100 } });
 */
export async function runCheck(
  path: string,
): Promise<(run: Pick<RunOptions, "adapter" | "settings">) => void> {
  const base = await planBase(path);
  return ({ adapter = DEFAULT_ADAPTER, settings: given = {} }) => {
    const settings = parseSettings(finetuneSettings, given);
    chooseObjective(settings);
    checkLengths(base, settings);
    if (!("from" in adapter)) budget(newConfig(adapter, settings, base), toLayerShapes(base.config));
    const { baseDtype, computeDtype = "float32" } = settings;
    base.formsOf({ baseDtype, computeDtype, transposedCodes: false });
  };
}

/** Checks the settings, and that there is memory for the base. */
async function* prepareRun(
  options: RunOptions,
  recorded: RunRecord | undefined,
): AsyncGenerator<DownloadEvent, Omit<OpenPlan, "data" | "text" | "augmented">> {
  checkDevice(options.session?.device);
  const asked = parseSettings(finetuneSettings, options.settings ?? {});
  const objective = chooseObjective(asked);
  const loaded = typeof options.model === "string" ? undefined : loadedDtype(options.model, asked);
  const given = continueSettings(asked, recorded);
  // a grader that cannot be used is refused before anything is read
  const graders = planGraders(given, options);
  const device = options.session?.device;
  const settings = { ...given, computeDtype: loaded ?? given.computeDtype };
  const { adapter = DEFAULT_ADAPTER } = options;
  if (!("from" in adapter)) parseAdapterConfig(seeded(adapter, settings), "adapter"); // before a model is downloaded
  const model =
    typeof options.model === "string" ? yield* locateModel(options.model, options) : options.model;
  const base = await planBase(model);
  const config = await resolveAdapterConfig(adapter, settings, base);
  checkLengths(base, settings);
  const free = limitedMemory(settings.memoryLimit, options.free ?? (await freeMemory()));
  const evaluates = options.validationData !== undefined || settings.validationSplit !== 0;
  assertBaseMemory(base, config, {
    ...{ ...settings, objective, ...expectedUpdate(settings) },
    ...{ evaluates, free, device },
  });
  const { freeBytes, out, resume = false } = options;
  const bytes = runBytes(budget(config, toLayerShapes(base.config)), { evaluates, resume });
  if (out !== undefined) await assertSpace(out, { what: "the run with its checkpoints", bytes, freeBytes });
  const usual = OBJECTIVES[settings.objective].learningRate * usualLearningRate(base.config.hiddenSize);
  const { learningRate = usual } = settings;
  const prepacksSampler = recorded?.prepacksSampler;
  const found = { config, model, base, free, device, objective, graders, prepacksSampler };
  return { ...found, settings: { ...settings, learningRate } };
}

/** Chooses the graders of a run. Throws `bad_option` and `unsupported` for one that cannot be used. */
function planGraders(settings: FinetuneSettings, inputs: GraderInputs): RunPlan["graders"] {
  const kind: ObjectiveKind = OBJECTIVES[settings.objective];
  const learnt = kind.grader?.(settings, inputs);
  const grader = readGrader(settings, "evaluateBy", inputs);
  return { learnt, heldOut: grader === undefined ? learnt : planRewards(grader, inputs) };
}

const DEFAULT_ADAPTER: AdapterConfigInput = { method: DEFAULT_METHOD };

const seeded = (adapter: AdapterConfigInput, { seed }: FinetuneSettings): AdapterConfigInput => ({
  ...adapter,
  seed: adapter.seed ?? seed,
});

const newConfig = (
  adapter: AdapterConfigInput,
  settings: FinetuneSettings,
  { config }: PlannedBase,
): AdapterConfig => fittingConfig(seeded(adapter, settings), toLayerShapes(config));

/** The settings of the adapter; one that is there has its own. */
async function resolveAdapterConfig(
  adapter: AdapterConfigInput | SavedStart,
  settings: FinetuneSettings,
  base: PlannedBase,
): Promise<AdapterConfig> {
  if (!("from" in adapter)) return newConfig(adapter, settings, base);
  await using folder = await openAdapterFolder(adapter.from);
  const { config } = await folder.describe();
  return OBJECTIVES[settings.objective].usesDropout ? config : { ...config, dropout: 0 };
}

/**
 * Bytes of a run on the disk at most: a checkpoint, which may have the gradients of an unfinished update, or an adapter is
 * complete before the one before it goes.
 */
function runBytes(
  { trainable, bytes: { float32 } }: Budget,
  { evaluates, resume }: { readonly evaluates: boolean; readonly resume: boolean },
): number {
  const checkpoint = 4 * 4 * trainable + float32;
  return (resume ? 1 : 2) * checkpoint + (evaluates ? 3 : 1) * float32;
}

/** What the products of a loaded base are computed in, which its weights decide. Throws `bad_option` for a setting of another. */
function loadedDtype(
  { model: { name, weights } }: BaseModel,
  { computeDtype: asked }: FinetuneSettings,
): ComputeDtype {
  const found = [...weights.values()].some(({ format }) => format.kind === "int8rows") ? "int8" : "float32";
  if (asked === undefined || asked === found) return found;
  throw new MosError(
    "bad_option",
    `computeDtype is ${asked}, but ${name} was loaded for products in ${found}; load it with the computeDtype ${asked}, or leave the setting out`,
  );
}

// Data

/** Reads as much of the data as is used, and holds out a part of it. */
async function readRunData(
  { data, validationData, lines, ...location }: PlanOptions,
  settings: FinetuneSettings,
): Promise<RunData> {
  const { maxExamples, seed, dataColumns, evaluateBy } = settings;
  const { data: kind } = OBJECTIVES[settings.objective];
  const keepsFields = evaluateBy !== undefined;
  const options = { columns: parseColumns(dataColumns), kind, describeUse, keepsFields };
  const find = async (input: DataInput) => {
    const names = dataPaths(input);
    const paths = names === undefined ? undefined : await withProgress(locateData(names, location));
    return { source: paths ?? (input as DataSource), paths };
  };
  const { source, paths } = await find(data);
  const apart = validationData === undefined ? undefined : await find(validationData);
  const limit = paths !== undefined && lines !== undefined ? undefined : maxExamples;
  const { examples: all } = await readDataset(source, { ...options, limit });
  const chosen = maxExamples === undefined ? all : all.slice(0, maxExamples);
  if (apart !== undefined)
    return { all, train: chosen, validation: (await readDataset(apart.source, options)).examples };
  const split = chooseValidationSplit(chosen.length, settings);
  return { all, ...splitValidation(chosen, split < 1 ? { seed, fraction: split } : { seed, count: split }) };
}

/** The objectives that learn from data of a kind, in a part of a message. */
function describeUse(kind: DataKind): string {
  const names = OBJECTIVE_NAMES.filter((name) => OBJECTIVES[name].data === kind);
  return `the objective for it is ${names.join(" or ")} (--objective)`;
}

/** Options of encoding a run's examples. */
export function encodingOptions({
  text: { tokenizer, template },
  base: { config },
  settings,
}: {
  readonly text: LoadedText;
  readonly base: Pick<PlannedBase, "config">;
  readonly settings: FinetuneSettings & Pick<ResolvedSettings, "maxLength">;
}) {
  const { maxLength, promptFormat, system, lastAnswerOnly, responseFormat } = settings;
  return {
    ...{ tokenizer, maxLength, promptFormat, system, lastAnswerOnly },
    template: withVariables(template, settings.chatTemplateKwargs),
    responseFormat: responseFormat && parseResponseFormat(responseFormat),
    splitPairs: OBJECTIVES[settings.objective].data === "rated",
    repeatsPrompts: !canSharePrompts(config),
  };
}

/** A tokenizer may know tokens that its model has no embedding for. */
function checkTokens(examples: readonly EncodedExample[], { name, config }: PlannedBase): void {
  const { vocabularySize } = config;
  for (const { ids, hinted, ...place } of examples) {
    const odd = [...ids, ...(hinted?.ids ?? [])].find((id) => id >= vocabularySize);
    if (odd !== undefined)
      throw new MosError(
        "bad_data",
        `${placeText(place)} has token ${odd}, outside the vocabulary of ${vocabularySize} of ${name}; check that the tokenizer belongs to this model`,
      );
  }
}

// Settings that the data decide, and memory

/** How large batches may be, and how many tokens a row has at most. */
type RowLimits = Pick<FinetuneSettings, "batchSize"> & { readonly limit: number };

/** The plan of a run whose batches are at most so large. */
async function planSize(
  open: OpenPlan,
  { limit, batchSize }: RowLimits,
  signal: AbortSignal | undefined,
): Promise<RunPlan> {
  const { data, text, base, config } = open;
  const evaluates = data.validation.length > 0;
  const given = { ...open.settings, batchSize };
  const encoding = { ...encodingOptions({ text, base, settings: { ...given, maxLength: limit } }), signal };
  const prepared = ({ encoded, ...others }: EncodedDataset): EncodedDataset => {
    const { prepare = (one) => one }: ObjectiveKind = OBJECTIVES[given.objective];
    return { ...others, encoded: encoded.map(prepare) };
  };
  const examples = open.augmented?.train ?? data.train;
  const encodedTrain = prepared(await encodeExamples(examples, encoding));
  const train =
    open.augmented === undefined ? encodedTrain : withReplay(encodedTrain, open.augmented, encoding);
  const validation = evaluates ? prepared(await encodeExamples(data.validation, encoding)) : undefined;
  checkTokens([...train.encoded, ...(validation?.encoded ?? [])], base);
  const { settings, run } = resolveSettings(given, {
    lengths: train.encoded.map(({ ids }) => ids.length),
    longest: Math.max(train.report.longest, validation?.report.longest ?? 0),
    limit,
    evaluates,
    copies: open.augmented?.record.copies ?? 1,
    dropout: config.dropout,
    padToken: base.config.padToken ?? base.config.eosTokens[0] ?? 0,
  });
  const plan = { ...open, settings, train, validation, run };
  return { ...plan, memory: planMemory(base, config, memorySize(plan)) };
}

/** Fewer or shorter rows than those that have no room, where they may be chosen. */
function smallerSize(given: OpenSettings, { batchSize, maxLength }: ResolvedSettings): RowLimits | undefined {
  if (given.batchSize === undefined && batchSize > 1)
    return { batchSize: 1, limit: given.maxLength ?? maxLength };
  if (given.maxLength !== undefined || maxLength < 2 * MIN_LENGTH) return undefined;
  return { batchSize, limit: Math.floor(maxLength / 2) };
}
