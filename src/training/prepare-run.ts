// What a run is to be, and whether it can be: settings against the header of the model, memory and disk. Nothing is loaded.
import {
  type AdapterConfig,
  type AdapterConfigInput,
  type Budget,
  budget,
  openAdapterFolder,
  parseAdapterConfig,
  problemOf,
} from "#adapters";
import { type FreeMemory, freeMemory, limitedMemory, MosError, parseSettings } from "#core";
import type { ExampleInput } from "#data";
import { expectSpace } from "#files";
import type { SessionOptions } from "#graph";
import {
  type BaseModel,
  type DownloadEvent,
  formsOf,
  geometryOf,
  type LoadOptions,
  locateModel,
  openModel,
} from "#models";
import { baseOfFiles, expectBaseMemory, type PlannedBase } from "./memory-plan.ts";
import {
  type FinetuneSettings,
  type FinetuneSettingsInput,
  finetuneSettings,
  usualLearningRate,
} from "./settings.ts";

/**
 * Names of data, or examples, each as a line of a file would have it. An iterable is gone through once, so that a generator
 * serves one run.
 */
export type DataInput = string | readonly string[] | Iterable<ExampleInput> | AsyncIterable<ExampleInput>;

/** An adapter that a run starts from. */
export interface SavedStart {
  /** Its folder, which the run does not change. */
  readonly from: string;
}

/** What is trained on what, and where it goes. */
export interface FinetuneOptions extends Omit<LoadOptions, "onDownload"> {
  /** A model folder, a .gguf file, org/name of the hub, or a model that is already loaded. */
  readonly model: string | BaseModel;
  /** Files, patterns such as `data/*.jsonl`, data sets of the hub as `org/name`, or the examples themselves. */
  readonly data: DataInput;
  /** The validation split; without it a part of `data` is held out. */
  readonly validationData?: DataInput;
  /** The folder of the adapter and of its run. */
  readonly out: string;
  /** The settings of a new adapter, or the folder of one whose settings and numbers the run starts from. */
  readonly adapter: AdapterConfigInput | SavedStart;
  readonly settings?: FinetuneSettingsInput;
  /** Resume from the last checkpoint in `out`. */
  readonly resume?: boolean;
  /** Replace what `out` holds; an adapter that is there stays until the new one is complete. */
  readonly overwrite?: boolean;
  /** Write the metrics as event files of TensorBoard, too, in `tensorboard/` beside metrics.jsonl. */
  readonly tensorboard?: boolean;
  /** Versions of an adapter that are kept when it is replaced; 3. */
  readonly keepVersions?: number;
  /** Tokens that the whole run may train, before a resume too; left out, any number. */
  readonly maxTokens?: number;
  readonly session?: SessionOptions;
  /** What the machine has left; asked of the system without it. */
  readonly free?: FreeMemory;
  /** Bytes that may still be written to the disk of a folder; asked of the system without it. */
  readonly freeBytes?: (folder: string) => Promise<number>;
  /** Milliseconds of a steady clock, for rates only. */
  readonly now?: () => number;
}

/** A run that may have no folder. */
export type RunOptions = Omit<FinetuneOptions, "out"> & Partial<Pick<FinetuneOptions, "out">>;

/** Settings with those that the base decides where they are not given. */
export type RunSettings = FinetuneSettings & { readonly learningRate: number };

/** What is known before the data are read. */
export interface PreparedRun {
  readonly settings: RunSettings;
  readonly config: AdapterConfig;
  readonly model: string | BaseModel;
  readonly base: PlannedBase;
  readonly evaluates: boolean;
  readonly free: FreeMemory;
}

function checkLengths(base: PlannedBase, { maxLength, warmup, steps }: FinetuneSettings): void {
  if (maxLength > base.config.maxPositions)
    throw new MosError(
      "bad_option",
      `maxLength ${maxLength} is more than the ${base.config.maxPositions} positions of ${base.name}; use at most ${base.config.maxPositions}`,
    );
  if (steps !== undefined && warmup >= 1) expectWarmup(warmup, steps);
}

export function expectWarmup(warmup: number, steps: number): void {
  if (warmup > steps)
    throw new MosError(
      "bad_option",
      `warmup of ${warmup} updates is more than the ${steps} updates of the run`,
    );
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
export async function runCheck(path: string): Promise<(run: PlannedRun) => void> {
  const base = await plannedBase(path);
  return (run) => checkRun(base, run);
}

/** The part of a run that can be checked before its data are read. */
export type PlannedRun = Pick<FinetuneOptions, "adapter" | "settings">;

function checkRun(base: PlannedBase, run: PlannedRun): void {
  const { adapter } = run;
  const settings = parseSettings(finetuneSettings, run.settings ?? {});
  checkLengths(base, settings);
  if (!("from" in adapter)) budget(fittingConfig(adapter, settings, base), geometryOf(base.config));
  base.formsOf({ ...settings, transposedCodes: false });
}

/**
 * Checks the settings against the model's header, and that there is memory for its base. A model of the hub is downloaded;
 * nothing is loaded.
 */
export async function* prepareRun(options: RunOptions): AsyncGenerator<DownloadEvent, PreparedRun> {
  const settings = parseSettings(finetuneSettings, options.settings ?? {});
  if (!("from" in options.adapter)) parseNew(options.adapter, settings); // before a model is downloaded
  const model =
    typeof options.model === "string" ? yield* locateModel(options.model, options) : options.model;
  const base = typeof model === "string" ? await plannedBase(model) : loadedBase(model);
  const config = await configOf(options.adapter, settings, base);
  checkLengths(base, settings);
  const free = limitedMemory(settings.memoryLimit, options.free ?? (await freeMemory()));
  const evaluates = options.validationData !== undefined || settings.validationSplit > 0;
  if (settings.earlyStoppingPatience !== undefined && (!evaluates || settings.evaluateEvery === 0))
    throw new MosError(
      "bad_option",
      "earlyStoppingPatience needs validation examples, and evaluateEvery above 0 to measure the loss on them",
    );
  expectBaseMemory(base, config, { ...settings, evaluates, free });
  const { freeBytes, out, resume = false } = options;
  const bytes = runBytes(budget(config, geometryOf(base.config)), { evaluates, resume });
  if (out !== undefined) await expectSpace(out, { what: "the run with its checkpoints", bytes, freeBytes });
  const { learningRate = usualLearningRate(base.config.hiddenSize) } = settings;
  return { settings: { ...settings, learningRate }, config, model, base, evaluates, free };
}

const parseNew = (adapter: AdapterConfigInput, { seed }: FinetuneSettings): AdapterConfig =>
  parseAdapterConfig({ ...adapter, seed: adapter.seed ?? seed }, "adapter");

/** The settings of a new adapter. A rank that nobody asked for gives way where the layers of a small model share fewer. */
function fittingConfig(
  adapter: AdapterConfigInput,
  settings: FinetuneSettings,
  base: PlannedBase,
): AdapterConfig {
  const geometry = geometryOf(base.config);
  const asked = parseNew(adapter, settings);
  if (adapter.rank !== undefined) return asked;
  for (let { rank } = asked; rank > 0; rank--) {
    const config = parseAdapterConfig({ ...asked, rank }, "adapter");
    if (problemOf(config, geometry) === undefined) return config;
  }
  return asked;
}

/** The settings of the adapter; one that is there has its own. */
async function configOf(
  adapter: AdapterConfigInput | SavedStart,
  settings: FinetuneSettings,
  base: PlannedBase,
): Promise<AdapterConfig> {
  if (!("from" in adapter)) return fittingConfig(adapter, settings, base);
  await using folder = await openAdapterFolder(adapter.from);
  const { config } = await folder.describe();
  return config;
}

/**
 * What a run has on the disk at most: a checkpoint, which may have the gradients of an unfinished update, or an adapter is
 * complete before the one before it goes.
 */
function runBytes(
  { trainable, bytes: { float32 } }: Budget,
  { evaluates, resume }: { readonly evaluates: boolean; readonly resume: boolean },
): number {
  const checkpoint = 4 * 4 * trainable + float32;
  return (resume ? 1 : 2) * checkpoint + (evaluates ? 3 : 1) * float32;
}

async function plannedBase(path: string): Promise<PlannedBase> {
  await using files = await openModel(path);
  return baseOfFiles(files);
}

const loadedBase = ({ model: { name, config, weights } }: BaseModel): PlannedBase => ({
  name,
  config,
  formsOf: () => formsOf(weights),
});
