// The third step of a run: the base, the adapter and the folder that its plan names.
import {
  ADAPTER_CONFIG,
  type Adapter,
  type AdapterBase,
  type AdapterConfig,
  createAdapter,
  openAdapterFolder,
  RUN_FILES,
  retrainingFolder,
} from "#adapters";
import { MosError, omitUndefined } from "#common";
import { pathExists } from "#files";
import { type BaseModel, loadBase, toLayerShapes } from "#models";
import { join } from "#platform";
import { tokenDigest } from "#text";
import { isAnchored } from "../augment/replay.ts";
import { initialState, loadCheckpoint, type TrainingState } from "../checkpoint.ts";
import type { Parameters, TrainableModel } from "../gradients.ts";
import { objectiveRecord } from "../objectives/index.ts";
import { copyParameters } from "../reference.ts";
import { heldOutSampling } from "../rollouts/held-out.ts";
import type { RunRecord } from "../run-record.ts";
import { pickChosen } from "../settings.ts";
import { adapterModel } from "../trainable.ts";
import { teachesChat } from "./augment.ts";
import { type ClaimedFolder, checkResume, claimFolder, dataDigest } from "./folder.ts";
import type { FinetuneOptions } from "./options.ts";
import type { RunPlan } from "./plan.ts";

/** A run whose base and adapter are loaded, and whose folder is taken. */
export interface LoadedRun {
  readonly plan: RunPlan;
  readonly base: BaseModel;
  readonly adapter: Adapter;
  readonly model: TrainableModel;
  /** The base as the adapter's folder records it. */
  readonly named: AdapterBase;
  readonly record: RunRecord;
  /** The parameters before the first step, where the objective or the outcome compares with them. */
  readonly reference: Parameters | undefined;
  /** True if the adapter that is trained further has learnt other token ids than the base gives now. */
  readonly otherTokens: boolean;
  /** Where the adapter goes. */
  readonly out: string;
  /** Where the run lives until then. */
  readonly folder: string;
  /** Undefined for a resumed run, whose folder is locked already. */
  readonly claimed: ClaimedFolder | undefined;
  readonly state: TrainingState;
  /** True if the state is that of a checkpoint. */
  readonly isResumed: boolean;
  /** Steps of the finished run that is extended. */
  readonly extended: number | undefined;
}

/** Where a run lives. */
interface RunPlace {
  readonly place: string;
  /** The record of the run that is resumed. */
  readonly before: RunRecord | undefined;
}

/**
 * Loads the base, checks everything else that a run needs before anything is written, and takes its folder. Throws what
 * `finetune` throws.
 */
export async function loadRun(
  plan: RunPlan,
  { place, before, ...options }: FinetuneOptions & RunPlace,
): Promise<LoadedRun> {
  const { settings, config, model: given, text, memory, train, validation, run } = plan;
  const { baseDtype } = settings;
  const { computeDtype, transposedCodes } = memory;
  const how = { ...options, baseDtype, computeDtype, transposedCodes };
  const base = typeof given === "string" ? { model: await loadBase(given, how), text } : given;
  const { adapter, digest, otherTokens } = await initialAdapter(options, config, base);
  const record: RunRecord = {
    format: 1,
    fingerprint: base.model.fingerprint,
    ...(base.model.identity === undefined ? {} : { identity: base.model.identity }),
    adapter: config,
    ...(digest === undefined ? {} : { from: digest }),
    ...omitUndefined({ objective: objectiveRecord(settings) }),
    ...(settings.evaluateBy === undefined ? {} : { answers: heldOutSampling(settings) }),
    settings: { ...run, ...pickChosen(settings) },
    baseDtype,
    computeDtype,
    ...omitUndefined({ augmented: plan.augmented?.record }),
    train: dataDigest(train.encoded),
    validation: validation === undefined ? null : dataDigest(validation.encoded),
  };
  const trained = { ...adapter, config: { ...adapter.config, dropout: config.dropout } };
  const model = adapterModel(base.model, trained);
  const comparesWith =
    plan.objective.usesReference || teachesChat(plan) || plan.train.encoded.some(isAnchored);
  const reference = comparesWith ? copyParameters(model.parameters) : undefined;
  const named = namedBase(base);
  const { out, overwrite = false } = options;
  const taken = await takeFolder(record, model.parameters, { out, place, before, overwrite });
  return { plan, base, adapter, model, named, record, reference, otherTokens, out, ...taken };
}

/** Takes the folder, or goes on from the last checkpoint in it. Throws `bad_option`, `bad_data`, `storage`, `not_found`. */
async function takeFolder(
  record: RunRecord,
  parameters: Parameters,
  { out, place, before, overwrite }: RunPlace & { readonly out: string; readonly overwrite: boolean },
): Promise<Pick<LoadedRun, "folder" | "claimed" | "state" | "isResumed" | "extended">> {
  if (before === undefined) {
    const claimed = await claimFolder(place, record, { overwrite });
    const state = initialState(parameters);
    return { folder: place, claimed, state, isResumed: false, extended: undefined };
  }
  const extended = await checkResume(place, { before, record, mayExtend: place === out });
  const found = await loadCheckpoint(join(place, RUN_FILES.checkpoints), parameters);
  if (found === undefined && (await pathExists(join(place, ADAPTER_CONFIG))))
    throw new MosError(
      "not_found",
      `${place}: the run is complete and has no checkpoint to resume from; retrain with --overwrite`,
    );
  const state = found ?? initialState(parameters);
  const resumed = { state, isResumed: found !== undefined, extended };
  if (extended === undefined) return { ...resumed, folder: place, claimed: undefined };
  const folder = retrainingFolder(out);
  const claimed = await claimFolder(folder, record, { overwrite: true, from: out });
  return { ...resumed, folder, claimed };
}

/** The base as the adapter's folder records it. */
const namedBase = ({ model: { name, fingerprint, identity }, text }: BaseModel): AdapterBase => ({
  name,
  fingerprint,
  identity,
  tokens: tokenDigest(text.tokenizer),
});

/** The adapter before the first step, and the digest of the one that it is. */
async function initialAdapter(
  { adapter: given }: FinetuneOptions,
  config: AdapterConfig,
  { model: { config: model, fingerprint, identity }, text }: BaseModel,
): Promise<Pick<LoadedRun, "adapter" | "otherTokens"> & { readonly digest: string | undefined }> {
  const shapes = toLayerShapes(model);
  if (given === undefined || !("from" in given))
    return { adapter: createAdapter(config, shapes), digest: undefined, otherTokens: false };
  await using folder = await openAdapterFolder(given.from, { inMemory: true });
  const checked = await folder.check({
    shapes,
    fingerprint,
    identity,
    tokens: tokenDigest(text.tokenizer),
  });
  const adapter = await checked.read();
  const otherTokens = checked.trainedOn?.otherTokens === true;
  return { adapter, digest: await folder.digest(), otherTokens };
}
