import { basename, join, resolve } from "node:path";
import {
  ADAPTER_CONFIG,
  type Adapter,
  type AdapterBase,
  type AdapterConfig,
  budget,
  CHECKPOINTS,
  createAdapter,
  OTHER_TOKENS,
  openAdapterFolder,
  retrainingFolder,
} from "#adapters";
import { MosError } from "#core";
import { lockFolder, pathExists } from "#files";
import { type BaseModel, geometryOf, loadBase, loadText } from "#models";
import { type LoadedText, tokenDigest } from "#text";
import { initialState, loadCheckpoint, type TrainingState } from "./checkpoint.ts";
import { type EncodedRun, encodeRun, readRunData, runMemory, summaryOf } from "./encode-run.ts";
import type { Parameter, TrainableModel } from "./gradients.ts";
import { runTokens } from "./micro-batches.ts";
import { type FinetuneOptions, type PreparedRun, prepareRun } from "./prepare-run.ts";
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
  persist,
  runFiles,
  watchForCollapse,
} from "./run-results.ts";
import type { FinetuneSettings } from "./settings.ts";
import type { Rematerialise } from "./step.ts";
import { adapterModel } from "./trainable.ts";
import { train } from "./trainer.ts";

interface Plan extends EncodedRun {
  readonly base: BaseModel;
  readonly adapter: Adapter;
  readonly settings: FinetuneSettings;
  readonly record: RunRecord;
  /** Whether the adapter that is trained further has learnt other token ids than the base gives now. */
  readonly otherTokens: boolean;
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
  const prepared = yield* prepareRun(options);
  const { free, model: given } = prepared;
  const data = await readRunData(options, prepared.settings);
  const text = typeof given === "string" ? await loadText(given) : given.text;
  const encoded = await encodeRun(data, { ...prepared, text, signal: options.signal });
  const memory = runMemory(prepared, encoded);
  const { plan: taken, rematerialise, transposedCodes } = memory;
  yield { type: "memory", model: summaryOf(prepared, memory), plan: taken, free, rematerialise };
  const plan = await planRun(options, { ...prepared, ...encoded, text, transposedCodes });
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
  /** Whether the state is that of a checkpoint. */
  readonly isResumed: boolean;
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
    return { folder: place, claimed, state: initialState(parameters), isResumed: false, extended: undefined };
  }
  const extended = await checkResume(place, record, { mayExtend: place === out });
  const found = await loadCheckpoint(join(place, CHECKPOINTS), parameters);
  if (found === undefined && (await pathExists(join(place, ADAPTER_CONFIG))))
    throw new MosError(
      "not_found",
      `${place}: the run is complete and has no checkpoint to resume from; retrain with --overwrite`,
    );
  const state = found ?? initialState(parameters);
  const resumed = { state, isResumed: found !== undefined, extended };
  if (extended === undefined) return { folder: place, claimed: undefined, ...resumed };
  const folder = retrainingFolder(out);
  const claimed = await claimFolder(folder, record, { overwrite: true, from: out });
  return { folder, claimed, ...resumed };
}

interface RunningPlan
  extends StartedRun,
    Pick<FinetuneOptions, "signal" | "session" | "keepVersions" | "maxTokens" | "now" | "tensorboard"> {
  readonly out: string;
  readonly model: TrainableModel;
  readonly rematerialise: Rematerialise;
}

/** Trains from where the run stands to its end. */
async function* runPlan(
  plan: Plan,
  { out, folder, claimed, state, isResumed, extended, ...options }: RunningPlan,
): AsyncGenerator<FinetuneEvent, void> {
  const { base, adapter, run } = plan;
  const { model, rematerialise, signal, session, maxTokens, now = () => performance.now() } = options;
  const { best, baseLoss, step } = state;
  const from = isResumed ? state : undefined;
  await using files = runFiles(claimed, { folder, from, tensorboard: options.tensorboard ?? false });
  yield {
    type: "ready",
    adapter: adapter.config,
    budget: budget(adapter.config, adapter.geometry),
    train: plan.train.report,
    validation: plan.validation?.report,
    steps: run.steps,
    learningRate: run.learningRate,
    step,
    fingerprint: base.model.fingerprint,
    folder,
    extended,
    baseLoss,
  };
  if (plan.otherTokens)
    yield { type: "warning", reason: "other_tokens", step, message: `the adapter was ${OTHER_TOKENS}` };
  const limited = limitOf(plan, { step, maxTokens });
  if (limited !== undefined) return yield limited;
  const events = train({
    model,
    settings: run,
    train: plan.train.encoded,
    validation: plan.validation?.encoded ?? [],
    state,
    now,
    signal,
    rematerialise,
    maxTokens,
    ...(session === undefined ? {} : { session }),
  });
  const save = { folder, checkpoints: join(folder, CHECKPOINTS), adapter, base: nameOf(base) };
  const { vocabularySize } = base.model.config;
  const warningsOf = watchForCollapse({ steps: run.steps, vocabularySize, baseLoss, best });
  let ended: Completion = { out, step: run.steps, keepVersions: options.keepVersions, isBest: false };
  for await (const event of events) {
    if (event.type !== "checkpoint" && isWithoutResult(event)) yield event;
    else yield* persist(event, { ...save, metrics: await files.begin() });
    yield* warningsOf(event);
    if (event.type === "stopped" || event.type === "limited") return;
    if (event.type === "earlyStop")
      ended = { ...ended, step: event.best?.step ?? event.step, isBest: event.best !== undefined };
  }
  yield* complete(save, ended);
  yield { type: "finish", out, step: ended.step, steps: run.steps };
}

/** A run by epochs whose tokens are more than it may train. How many a run by updates has is known before each of these. */
function limitOf(
  { settings, train: { encoded }, run }: Plan,
  { step, maxTokens }: { readonly step: number; readonly maxTokens: number | undefined },
): FinetuneEvent | undefined {
  if (maxTokens === undefined || settings.steps !== undefined) return undefined;
  const tokens = runTokens(encoded, run);
  return tokens > maxTokens ? { type: "limited", step, tokens } : undefined;
}

/** Where the run ends before anything was computed, nothing is written. */
const isWithoutResult = (event: FinetuneEvent): boolean =>
  event.type === "limited" ||
  (event.type === "stopped" && event.step === 0 && event.microBatches === undefined);

/** What the adapter's folder says about its base. */
const nameOf = ({ model: { name, fingerprint, identity }, text }: BaseModel): AdapterBase => ({
  name,
  fingerprint,
  identity,
  tokens: tokenDigest(text.tokenizer),
});

/** The adapter before the first step, and the digest of the one that it is. */
async function startOf(
  { adapter: given }: FinetuneOptions,
  config: AdapterConfig,
  { model: { config: model, fingerprint, identity }, text }: BaseModel,
): Promise<Pick<Plan, "adapter" | "otherTokens"> & { readonly digest: string | undefined }> {
  const geometry = geometryOf(model);
  if (!("from" in given))
    return { adapter: createAdapter(config, geometry), digest: undefined, otherTokens: false };
  await using folder = await openAdapterFolder(given.from, { inMemory: true });
  const checked = await folder.check({
    geometry,
    fingerprint,
    identity,
    tokens: tokenDigest(text.tokenizer),
  });
  const adapter = await checked.read();
  const otherTokens = checked.trainedOn?.otherTokens === true;
  return { adapter, digest: await folder.digest(), otherTokens };
}

interface PlanOptions extends PreparedRun, EncodedRun {
  readonly text: LoadedText;
  readonly transposedCodes: boolean;
}

/** Loads the base, and checks everything else that a run needs before anything is written. */
async function planRun(options: FinetuneOptions, prepared: PlanOptions): Promise<Plan> {
  const { settings, config, model: given, text, transposedCodes, train, validation, run } = prepared;
  const { baseDtype, computeDtype } = settings;
  const how = { ...options, baseDtype, computeDtype, transposedCodes };
  const base = typeof given === "string" ? { model: await loadBase(given, how), text } : given;
  const { adapter, digest, otherTokens } = await startOf(options, config, base);
  const record: RunRecord = {
    format: 1,
    fingerprint: base.model.fingerprint,
    ...(base.model.identity === undefined ? {} : { identity: base.model.identity }),
    adapter: config,
    ...(digest === undefined ? {} : { from: digest }),
    settings: run,
    baseDtype,
    computeDtype,
    train: dataDigest(train.encoded),
    validation: validation === undefined ? null : dataDigest(validation.encoded),
  };
  return { base, adapter, settings, train, validation, run, record, otherTokens };
}
