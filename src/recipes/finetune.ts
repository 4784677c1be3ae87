import { basename, join, resolve } from "node:path";
import {
  ADAPTER_CONFIG,
  type Adapter,
  type AdapterBase,
  type AdapterConfig,
  type AdapterConfigInput,
  type Budget,
  budget,
  CHECKPOINTS,
  createAdapter,
  openAdapterFolder,
  parseAdapterConfig,
  retrainingFolder,
} from "#adapters";
import { MosError, parseSettings } from "#core";
import {
  type EncodedDataset,
  type EncodedExample,
  type Example,
  encodeExamples,
  readDataset,
  splitHeldOut,
} from "#data";
import { formsOf, geometryOf, type LoadedModel, openModel } from "#models";
import type { CompileOptions } from "#runtime";
import { expectSpace, type FreeMemory, freeMemory, limitedMemory, lockFolder, pathExists } from "#storage";
import type { LoadedText } from "#text";
import {
  initialState,
  loadCheckpoint,
  type Parameter,
  type Rematerialise,
  stepsOfEpochs,
  type TrainableModel,
  type TrainingState,
  type TrainSettings,
  train,
} from "#training";
import { type BaseModel, type LoadOptions, loadModel, locatedPath } from "./base.ts";
import { type FinetuneSettings, type FinetuneSettingsInput, finetuneSettings } from "./finetune-settings.ts";
import { baseOfFiles, expectRunMemory, keptAs, type PlannedBase, type RunMemory } from "./memory.ts";
import { parameterCount } from "./params.ts";
import {
  type ClaimedFolder,
  checkResume,
  claimFolder,
  dataDigest,
  lockRun,
  placeOf,
  type RunRecord,
  refuseUsed,
} from "./run-folder.ts";
import {
  type Completion,
  complete,
  type FinetuneEvent,
  type ModelSummary,
  persist,
  runFiles,
  watchForCollapse,
} from "./run-results.ts";
import { adapterModel } from "./trainable.ts";

/** An adapter that a run starts from. */
export interface SavedStart {
  /** Its folder, which the run does not change. */
  readonly from: string;
}

/** What is trained on what, and where it goes. */
export interface FinetuneOptions extends LoadOptions {
  /** A model folder, a .gguf file, org/name of the hub, or a model that is already loaded. */
  readonly model: string | BaseModel;
  /** A JSONL file. */
  readonly data: string;
  /** A JSONL file of the held-out part; without it a part of `data` is held out. */
  readonly heldOutData?: string;
  /** The folder of the adapter and of its run. */
  readonly out: string;
  /** The settings of a new adapter, or the folder of one whose settings and numbers the run starts from. */
  readonly adapter: AdapterConfigInput | SavedStart;
  readonly settings?: FinetuneSettingsInput;
  /** Resume from the last checkpoint in `out`. */
  readonly resume?: boolean;
  /** Replace what `out` holds; an adapter that is there stays until the new one is complete. */
  readonly overwrite?: boolean;
  /** Versions of an adapter that are kept when it is replaced; 3. */
  readonly keep?: number;
  readonly compile?: CompileOptions;
  /** What the machine has left; asked of the system without it. */
  readonly free?: FreeMemory;
  /** Bytes that may still be written to the disk of a folder; asked of the system without it. */
  readonly freeBytes?: (folder: string) => Promise<number>;
  /** Milliseconds of a steady clock, for rates only. */
  readonly now?: () => number;
}

interface Plan {
  readonly base: BaseModel;
  readonly adapter: Adapter;
  readonly settings: FinetuneSettings;
  readonly train: EncodedDataset;
  readonly heldOut: EncodedDataset | undefined;
  readonly run: TrainSettings;
  readonly record: RunRecord;
}

/**
 * Fine-tunes an adapter and saves it in `out` in PEFT's folder shape, with metrics.jsonl, the best adapter by held-out
 * loss, and checkpoints that `resume` continues to the same bytes. Aborting the signal saves and ends. A run that replaces
 * or extends a complete adapter lives in a hidden folder beside it, and takes its place in one move when it is complete.
 * Throws MosError: `bad_option`, `bad_config`, `bad_data`, `bad_model`, `not_found`, `storage`, `diverged`, `cancelled`.
 *
 * @example
 * for await (const event of finetune({
 *   model: "assets/tiny-english",
 *   data: "assets/quickstart/train.jsonl",
 *   out: "adapters/tenant",
 *   adapter: { method: "mos", equivalentRank: 2, rank: 6 },
 * }))
 *   if (event.type === "step") console.log(event.step, event.loss);
 */
export async function* finetune(options: FinetuneOptions): AsyncGenerator<FinetuneEvent, void> {
  const { resume = false, overwrite = false } = options;
  const out = /^\.*$/.test(basename(options.out)) ? resolve(options.out) : options.out;
  const place = await placeOf(out, { resume, overwrite });
  // asked before minutes of loading and encoding, and again when the folder is taken
  if (!resume) await refuseUsed(place, overwrite);
  // an adapter that will be replaced stays in use, and no other run may replace it meanwhile
  await using _adapter = place === out ? undefined : await lockFolder(out);
  await using _run = resume ? await lockRun(place) : undefined;
  const prepared = await prepareRun(options);
  const { memory, free } = prepared;
  const { plan: taken, rematerialise } = memory;
  yield { type: "memory", model: prepared.summary, plan: taken, free, rematerialise };
  const plan = await planRun(options, prepared);
  const model = adapterModel(plan.base.model, plan.adapter);
  const { parameters } = model;
  const started = await startRun(plan, { out, place, resume, overwrite, parameters });
  yield* runPlan(plan, { ...options, out, model, rematerialise, ...started });
}

/** Where a run stands, and the folder that is taken for it; that of a resumed one is locked already. */
interface StartedRun {
  readonly folder: string;
  readonly claimed: ClaimedFolder | undefined;
  readonly state: TrainingState;
  /** Steps of the finished run that is extended. */
  readonly extended: number | undefined;
}

interface StartOptions {
  readonly out: string;
  readonly place: string;
  readonly resume: boolean;
  readonly overwrite: boolean;
  readonly parameters: ReadonlyMap<string, Parameter>;
}

/** Takes the folder, or goes on from the last checkpoint in it. Throws `bad_option`, `bad_data`, `storage`, `not_found`. */
async function startRun({ record }: Plan, start: StartOptions): Promise<StartedRun> {
  const { out, place, resume, overwrite, parameters } = start;
  if (!resume) {
    const claimed = await claimFolder(place, record, { overwrite });
    return { folder: place, claimed, state: initialState(parameters), extended: undefined };
  }
  const extended = await checkResume(place, record, { mayExtend: place === out });
  const found = await loadCheckpoint(join(place, CHECKPOINTS), parameters);
  if (found === undefined && (await pathExists(join(place, ADAPTER_CONFIG))))
    throw new MosError(
      "not_found",
      `${place}: the run is complete, and has no checkpoint to go on from; train anew with --overwrite`,
    );
  const state = found ?? initialState(parameters);
  if (extended === undefined) return { folder: place, claimed: undefined, state, extended };
  const folder = retrainingFolder(out);
  const claimed = await claimFolder(folder, record, { overwrite: true, from: out });
  return { folder, claimed, state, extended };
}

interface RunningPlan extends StartedRun, Pick<FinetuneOptions, "signal" | "compile" | "keep" | "now"> {
  readonly out: string;
  readonly model: TrainableModel;
  readonly rematerialise: Rematerialise;
}

/** Trains from where the run stands to its end. */
async function* runPlan(
  plan: Plan,
  { out, folder, claimed, state, extended, ...options }: RunningPlan,
): AsyncGenerator<FinetuneEvent, void> {
  const { base, adapter, run } = plan;
  const { model, rematerialise, signal, compile, now = () => performance.now() } = options;
  const { best, baseLoss, step } = state;
  await using files = runFiles(claimed, { metrics: join(folder, "metrics.jsonl"), step });
  yield {
    type: "ready",
    adapter: adapter.config,
    budget: budget(adapter.config, adapter.geometry),
    train: plan.train.report,
    heldOut: plan.heldOut?.report,
    ...{ steps: run.steps, step, fingerprint: base.model.fingerprint, folder, extended, baseLoss },
  };
  const events = train({
    model,
    settings: run,
    train: plan.train.encoded,
    heldOut: plan.heldOut?.encoded ?? [],
    ...{ state, now, signal, rematerialise },
    ...(compile === undefined ? {} : { compile }),
  });
  const save = { folder, checkpoints: join(folder, CHECKPOINTS), adapter, base: nameOf(base) };
  const { vocabularySize } = base.model.config;
  const warningsOf = watchForCollapse({ steps: run.steps, vocabularySize, baseLoss, best });
  let ended: Completion = { out, step: run.steps, keep: options.keep, isBest: false };
  for await (const event of events) {
    // stopped before the first result: nothing was computed, and nothing is written
    if (event.type === "stopped" && event.step === 0) yield event;
    else yield* persist(event, { ...save, metrics: await files.begin() });
    yield* warningsOf(event);
    if (event.type === "stopped") return;
    if (event.type === "early_stop")
      ended = { ...ended, step: event.best?.step ?? event.step, isBest: event.best !== undefined };
  }
  yield* complete(save, ended);
}

/** What the adapter's folder says about its base. */
const nameOf = ({ model: { name, fingerprint, identity } }: BaseModel): AdapterBase => ({
  name,
  fingerprint,
  identity,
});

/** What is known before the base is loaded. */
export interface PreparedRun {
  readonly settings: FinetuneSettings;
  readonly config: AdapterConfig;
  readonly model: string | BaseModel;
  readonly base: PlannedBase;
  readonly summary: ModelSummary;
  readonly memory: RunMemory;
  readonly free: FreeMemory;
}

/** A run that may have no folder. */
export type RunOptions = Omit<FinetuneOptions, "out"> & Partial<Pick<FinetuneOptions, "out">>;

/** Checks the settings against the model's header, and that there is memory for the run. Nothing is loaded. */
export async function prepareRun(options: RunOptions): Promise<PreparedRun> {
  const settings = parseSettings(finetuneSettings, options.settings ?? {});
  const config = await configOf(options.adapter, settings);
  const model = typeof options.model === "string" ? await locatedPath(options.model, options) : options.model;
  const base = typeof model === "string" ? await plannedBase(model) : loadedBase(model);
  if (settings.maxLength > base.config.maxPositions)
    throw new MosError(
      "bad_option",
      `maxLength ${settings.maxLength} is more than the ${base.config.maxPositions} positions of ${base.name}; use at most ${base.config.maxPositions}`,
    );
  const free = limitedMemory(settings.memoryLimit, options.free ?? (await freeMemory()));
  const evaluates = options.heldOutData !== undefined || settings.heldOut > 0;
  if (settings.earlyStoppingPatience !== undefined && (!evaluates || settings.evaluateEvery === 0))
    throw new MosError(
      "bad_option",
      "earlyStoppingPatience needs held-out examples, and evaluateEvery above 0 to measure the loss on them",
    );
  const memory = expectRunMemory(base, config, { ...settings, evaluates, free });
  const { freeBytes, out, resume = false } = options;
  const bytes = runBytes(budget(config, geometryOf(base.config)), { evaluates, resume });
  if (out !== undefined) await expectSpace(out, { what: "the run with its checkpoints", bytes, freeBytes });
  const { layers, hiddenSize } = base.config;
  const summary: ModelSummary = {
    ...{ name: base.name, layers, hiddenSize, parameters: parameterCount(base.config) },
    kept: keptAs(base.formsOf({ ...settings, ...memory })),
  };
  return { settings, config, model, base, free, summary, memory };
}

/** The settings of the adapter; one that is there has its own. */
async function configOf(
  adapter: AdapterConfigInput | SavedStart,
  { seed }: FinetuneSettings,
): Promise<AdapterConfig> {
  if (!("from" in adapter)) return parseAdapterConfig({ ...adapter, seed: adapter.seed ?? seed }, "adapter");
  await using folder = await openAdapterFolder(adapter.from);
  const { config } = await folder.describe();
  return config;
}

/** The adapter before the first step, and the digest of the one that it is. */
async function startOf(
  { adapter: given }: FinetuneOptions,
  config: AdapterConfig,
  { config: model, fingerprint, identity }: LoadedModel,
): Promise<{ readonly adapter: Adapter; readonly digest: string | undefined }> {
  const geometry = geometryOf(model);
  if (!("from" in given)) return { adapter: createAdapter(config, geometry), digest: undefined };
  await using folder = await openAdapterFolder(given.from, { inMemory: true });
  const checked = await folder.check({ geometry, fingerprint, identity });
  const adapter = await checked.read();
  return { adapter, digest: await folder.digest() };
}

/** What a run has on the disk at most: a checkpoint or an adapter is complete before the one before it goes. */
function runBytes(
  { trainable, bytes: { float32 } }: Budget,
  { evaluates, resume }: { readonly evaluates: boolean; readonly resume: boolean },
): number {
  const checkpoint = 3 * 4 * trainable + float32;
  return (resume ? 1 : 2) * checkpoint + (evaluates ? 3 : 1) * float32;
}

async function plannedBase(path: string): Promise<PlannedBase> {
  await using files = await openModel(path);
  return baseOfFiles(files);
}

const loadedBase = ({ model: { name, config, weights } }: BaseModel): PlannedBase => ({
  ...{ name, config },
  formsOf: () => formsOf(weights),
});

/** Reads and checks everything that a run needs, before anything is written. */
async function planRun(options: FinetuneOptions, prepared: PreparedRun): Promise<Plan> {
  const { settings, config, model: given, memory } = prepared;
  const { baseDtype, compute } = settings;
  const data = await readRunData(options, settings);
  const base =
    typeof given === "string"
      ? await loadModel(given, {
          ...options,
          ...{ baseDtype, compute, transposedCodes: memory.transposedCodes },
        })
      : given;
  const { adapter, digest } = await startOf(options, config, base.model);
  const { train, heldOut, run } = await encodeRun(data, {
    ...prepared,
    text: base.text,
    signal: options.signal,
  });
  const record: RunRecord = {
    format: 1,
    fingerprint: base.model.fingerprint,
    ...(base.model.identity === undefined ? {} : { identity: base.model.identity }),
    adapter: config,
    ...(digest === undefined ? {} : { from: digest }),
    settings: run,
    baseDtype,
    compute,
    train: dataDigest(train.encoded),
    heldOut: heldOut === undefined ? null : dataDigest(heldOut.encoded),
  };
  return { base, adapter, settings, train, heldOut, run, record };
}

/** The examples of a run. */
export interface RunData {
  readonly train: readonly Example[];
  readonly heldOut: readonly Example[];
  /** Those of the data file, whatever is done with them. */
  readonly all: readonly Example[];
}

/** Reads the data, and holds out a part of it. */
export async function readRunData(
  { data, heldOutData }: Pick<FinetuneOptions, "data" | "heldOutData">,
  { examples, heldOut, seed }: FinetuneSettings,
): Promise<RunData> {
  const { examples: all } = await readDataset(data);
  const chosen = examples === undefined ? all : all.slice(0, examples);
  if (heldOutData !== undefined)
    return { all, train: chosen, heldOut: (await readDataset(heldOutData)).examples };
  return {
    all,
    ...splitHeldOut(chosen, heldOut < 1 ? { seed, fraction: heldOut } : { seed, count: heldOut }),
  };
}

/** What encoding needs of a run. */
export interface RunEncoding extends Pick<PreparedRun, "settings" | "config" | "base"> {
  readonly text: LoadedText;
  readonly signal: AbortSignal | undefined;
}

/** How the examples of a run become tokens. */
export const encodingOf = ({
  text: { tokenizer, template },
  settings: { maxLength, promptFormat, system },
}: Pick<RunEncoding, "text" | "settings">) => ({ tokenizer, template, maxLength, promptFormat, system });

/** Encodes the examples, and decides from them what the run is. */
export async function encodeRun(
  data: RunData,
  options: RunEncoding,
): Promise<Pick<Plan, "train" | "heldOut" | "run">> {
  const { settings, config, base, signal } = options;
  const encoding = { ...encodingOf(options), signal };
  const train = await encodeExamples(data.train, encoding);
  const heldOut = data.heldOut.length === 0 ? undefined : await encodeExamples(data.heldOut, encoding);
  checkTokens([...train.encoded, ...(heldOut?.encoded ?? [])], base);
  const run = trainSettings(settings, {
    encoded: train.encoded,
    dropout: config.dropout,
    padToken: base.config.padToken ?? base.config.eosTokens[0] ?? 0,
  });
  return { train, heldOut, run };
}

/** A tokenizer may know tokens that its model has no embedding for. */
function checkTokens(examples: readonly EncodedExample[], { name, config }: PlannedBase): void {
  const { vocabularySize } = config;
  for (const { ids, line } of examples) {
    const odd = ids.find((id) => id >= vocabularySize);
    if (odd !== undefined)
      throw new MosError(
        "bad_data",
        `line ${line} has token ${odd}, outside the vocabulary of ${vocabularySize} of ${name}; does the tokenizer belong to this model?`,
      );
  }
}

interface EncodedFacts {
  readonly encoded: readonly EncodedExample[];
  readonly dropout: number;
  readonly padToken: number;
}

function trainSettings(
  settings: FinetuneSettings,
  { encoded, dropout, padToken }: EncodedFacts,
): TrainSettings {
  const { learningRate, schedule, maxGradientNorm, accumulate, packing, seed } = settings;
  const { evaluateEvery, earlyStoppingPatience, saveEvery } = settings;
  const common = {
    learningRate,
    schedule,
    optimizer: { beta1: settings.beta1, beta2: settings.beta2, weightDecay: settings.weightDecay },
    maxGradientNorm,
    accumulate,
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
  if (warmup > steps)
    throw new MosError(
      "bad_option",
      `warmup of ${warmup} updates is more than the ${steps} updates of the run`,
    );
  return { ...common, steps, warmup };
}
