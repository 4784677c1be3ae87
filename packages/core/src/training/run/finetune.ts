// A run from its options to its adapter, in steps that each take what the one before gives: plan, load, train, record.
import { z } from "zod";
import {
  ADAPTER_CONFIG,
  type Adapter,
  type AdapterBase,
  type AdapterConfig,
  budget,
  type LayerShapes,
  OTHER_TOKENS,
  openAdapterFolder,
  RUN_FILES,
  retrainingFolder,
  startAdapter,
} from "#adapters";
import { MosError, monotonicNow, omitUndefined } from "#common";
import { lockFolder, pathExists, writeFileAtomic } from "#files";
import { type BaseModel, loadBase, toBaseShapes } from "#models";
import { basename, join, resolve } from "#platform";
import { tokenDigest } from "#text";
import { isAnchored } from "../augment/replay.ts";
import { initialState, loadCheckpoint, type TrainingState } from "../checkpoint.ts";
import { lastStep } from "../ending.ts";
import { gradientSource } from "../gradients.ts";
import { runTokens } from "../micro-batches.ts";
import { learnsFromAnswers, objectiveRecord } from "../objectives/index.ts";
import {
  computeReference,
  copyParameters,
  type ExampleSets,
  readReference,
  referenceDigest,
  writeReference,
} from "../reference.ts";
import { heldOutSampling } from "../rollouts/held-out.ts";
import { openRollouts } from "../rollouts/stream.ts";
import { type RunRecord, readRecord } from "../run-record.ts";
import { pickChosen } from "../settings.ts";
import { adapterModel, type Parameters, type TrainableModel } from "../step-graph.ts";
import { sourceOptions, type TrainEvent, type TrainOptions, train } from "../trainer.ts";
import { baseOf } from "../validation.ts";
import { comparesWithStart } from "./augment.ts";
import {
  type ClaimedFolder,
  checkResume,
  chooseRunPath,
  claimFolder,
  complete,
  dataDigest,
  lockRun,
  openRunFolder,
  persist,
  type RunFolder,
  refuseUsed,
} from "./folder.ts";
import {
  checkRunOptions,
  type FinetuneEvent,
  type FinetuneOptions,
  type FinishEvent,
  modelSummary,
} from "./interface.ts";
import { measureOutcome, type OutcomeOptions, outcomeWarning } from "./outcome.ts";
import { planRun, type RunPlan } from "./plan.ts";
import { watchForCollapse } from "./warnings.ts";

/**
 * Fine-tunes an adapter and saves it in `out` in PEFT's folder layout, with metrics.jsonl, the best adapter by validation
 * loss, and checkpoints that `resume` continues to the same bytes. Aborting the signal saves and ends. A run that replaces
 * or extends a complete adapter lives in a hidden folder beside it, and takes its place in one move when it is complete.
 * Throws MosError: `bad_option`, `bad_config`, `bad_data`, `bad_model`, `not_found`, `storage`, `diverged`, `no_signal`, `cancelled`.
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
  checkRunOptions("finetune", options, { out: z.string() });
  const { resume = false, overwrite = false } = options;
  const out = /^\.*$/.test(basename(options.out)) ? resolve(options.out) : options.out;
  const place = await chooseRunPath(out, { resume, overwrite });
  // asked before minutes of loading and encoding, and again when the folder is taken
  if (!resume) await refuseUsed(place, overwrite);
  // an adapter that will be replaced stays in use, and no other run may replace it meanwhile
  await using _adapter = place === out ? undefined : await lockFolder(out);
  await using _run = resume ? await lockRun(place) : undefined;
  const before = resume ? await readRecord(place) : undefined;
  const plan = yield* planRun(options, before);
  const { memory, free } = plan;
  const { rematerialise } = memory;
  yield { type: "memory", model: modelSummary(plan), plan: memory.plan, free, rematerialise };
  yield* trainRun(await loadRun(plan, { ...options, out, place, before }), options);
}

// Loading

/** A run whose base and adapter are loaded, and whose folder is taken. */
export interface LoadedRun {
  readonly plan: RunPlan;
  readonly base: BaseModel;
  readonly adapter: Adapter;
  readonly model: TrainableModel;
  /** The base as the adapter's folder records it. */
  readonly named: AdapterBase;
  readonly record: RunRecord;
  /** The parameters before the first step, where the objective compares with them. */
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

/** Where a run lives, and the record of the one that is resumed. */
type RunPlace = { readonly place: string; readonly before: RunRecord | undefined };

/**
 * Loads the base, checks everything else that a run needs before anything is written, and takes its folder. Throws what
 * `finetune` throws.
 */
async function loadRun(
  plan: RunPlan,
  { place, before, ...options }: FinetuneOptions & RunPlace,
): Promise<LoadedRun> {
  const { settings, config, model: given, text, memory, train, validation, run } = plan;
  const { baseDtype } = settings;
  const { computeDtype, transposedCodes, tableInFile } = memory;
  const how = { ...options, baseDtype, computeDtype, transposedCodes, tableInFile };
  const base = typeof given === "string" ? { model: await loadBase(given, how), text } : given;
  const { name, fingerprint, identity } = base.model;
  const named = { name, fingerprint, identity, tokens: tokenDigest(base.text.tokenizer) };
  const shapes = toBaseShapes(base.model);
  const { adapter, ...start } = await initialAdapter(options, config, { ...named, shapes });
  const record: RunRecord = {
    format: 1,
    fingerprint,
    ...omitUndefined({ identity }),
    adapter: config,
    ...omitUndefined({
      from: start.digest,
      objective: objectiveRecord(settings),
      answers: settings.evaluateBy && heldOutSampling(settings),
    }),
    settings: { ...run, ...pickChosen(settings) },
    baseDtype,
    computeDtype,
    ...omitUndefined({ prepacksSampler: memory.prepacksSampler, augmented: plan.augmented?.record }),
    train: dataDigest(train.encoded),
    validation: validation === undefined ? null : dataDigest(validation.encoded),
  };
  const trained = { ...adapter, config: { ...adapter.config, dropout: config.dropout } };
  const model = adapterModel(base.model, trained);
  const reference = comparesWithStart(plan) ? copyParameters(model.parameters) : undefined;
  const { out, overwrite = false } = options;
  const taken = await takeFolder(record, model.parameters, { out, place, before, overwrite });
  const { otherTokens } = start;
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
  const last = found ?? initialState(parameters);
  // what is asked for now decides where an extended run ends
  const state = extended === undefined ? last : { ...last, pass: undefined, ending: undefined };
  const resumed = { state, isResumed: found !== undefined, extended };
  if (extended === undefined) return { ...resumed, folder: place, claimed: undefined };
  const folder = retrainingFolder(out);
  const claimed = await claimFolder(folder, record, { overwrite: true, from: out });
  return { ...resumed, folder, claimed };
}

/** The adapter before the first step, and the digest of the one that it is. */
async function initialAdapter(
  { adapter: given }: FinetuneOptions,
  config: AdapterConfig,
  base: AdapterBase & { readonly shapes: LayerShapes },
) {
  if (given === undefined || !("from" in given))
    return { adapter: await startAdapter(config, base.shapes), digest: undefined, otherTokens: false };
  await using folder = await openAdapterFolder(given.from, { inMemory: true });
  const checked = await folder.check(base);
  const adapter = await checked.read();
  const otherTokens = checked.trainedOn?.otherTokens === true;
  return { adapter, digest: await folder.digest(), otherTokens };
}

// Training

/** Event at the start of training. */
function readyEvent({ plan, base, adapter, folder, state, extended }: LoadedRun): FinetuneEvent {
  const { settings, run, train, validation } = plan;
  return {
    type: "ready",
    adapter: plan.config,
    budget: budget(plan.config, adapter.shapes),
    train: train.report,
    validation: validation?.report,
    steps: run.steps,
    ...pickChosen(settings),
    step: state.step,
    fingerprint: base.model.fingerprint,
    folder,
    extended,
    baseLoss: state.baseLoss,
    baseReward: state.baseReward,
    augmented: plan.augmented?.counts,
    shown: plan.objective.shown,
  };
}

/** Trains from where the run stands to its end. */
async function* trainRun(
  started: LoadedRun,
  {
    signal,
    session,
    keepVersions,
    maxTokens,
    saveSeconds,
    now = monotonicNow,
    tensorboard = false,
    follow,
  }: FinetuneOptions,
): AsyncGenerator<FinetuneEvent, void> {
  const { plan, model, out, state } = started;
  const { run, train: examples, validation } = plan;
  const { best, step } = state;
  const { objective } = plan;
  await using files = openRunFolder(started, { tensorboard, follow });
  yield readyEvent(started);
  if (started.otherTokens)
    yield { type: "warning", reason: "other_tokens", step, message: `the adapter was ${OTHER_TOKENS}` };
  const limited = limitedEvent(plan, { step, maxTokens });
  if (limited !== undefined) return yield limited;
  const sets = { train: examples.encoded, validation: validation?.encoded ?? [] };
  await using rollouts = await openRollouts(started, { session, signal, now });
  const { maker, answers } = rollouts ?? {};
  const given: TrainOptions = {
    ...{ model, settings: run, ...sets, state, now, signal, maxTokens, saveSeconds },
    ...{ maker, answers, objective, reference: started.reference, rematerialise: plan.memory.rematerialise },
    ...(session === undefined ? {} : { session }),
  };
  await using source = gradientSource(model, sourceOptions(given));
  const options = { ...given, source };
  const referenced = yield* withReference(started, options, files);
  if (referenced === undefined) return yield { type: "stopped", step };
  const events = train({ ...options, ...referenced });
  const { vocabularySize } = started.base.model.config;
  const { steps } = run;
  const keepsBest = plan.settings.earlyStoppingPatience > 0;
  const base = baseOf(state);
  const facts = { lastStep: lastStep(state, run), keepsBest, vocabularySize };
  const toWarnings = watchForCollapse({ ...facts, base, best, objective });
  const end = watchEnd({ steps, keepsBest, best });
  for await (const event of events) {
    if (event.type !== "checkpoint" && isWithoutResult(event)) yield event;
    else yield* persist(event, { ...started, files });
    yield* toWarnings(event);
    if (event.type === "stopped" || event.type === "limited") return;
    end.follow(event);
  }
  await files.end();
  const { isBest, ...ended } = end.result();
  yield* complete(started, { step: ended.step, isBest, keepVersions });
  // the parameters are those of the last step, and the adapter may be of a better one before
  if (ended.step === ended.lastStep) yield* reportOutcome(started, { source, step: ended.step, signal });
  yield { type: "finish", out, steps, ...ended };
}

/** What a run has taught and lost. */
async function* reportOutcome(
  { plan, reference, out }: LoadedRun,
  { step, ...options }: { readonly step: number } & Omit<OutcomeOptions, "before">,
): AsyncGenerator<FinetuneEvent, void> {
  const outcome = reference && (await measureOutcome(plan, { ...options, before: reference }));
  if (outcome === undefined) return;
  await writeFileAtomic(join(out, RUN_FILES.outcome), `${JSON.stringify(outcome)}\n`);
  yield { type: "outcome", step, ...outcome };
  const message = outcomeWarning(outcome);
  if (message !== undefined) yield { type: "warning", reason: "forgotten", step, message };
}

/** The examples with what the reference says of them, read or computed; undefined where the signal is aborted. */
async function* withReference(
  { plan, folder, out, extended, record, reference }: LoadedRun,
  options: TrainOptions,
  files: RunFolder,
): AsyncGenerator<FinetuneEvent, ExampleSets | undefined> {
  const { settings, train, validation, now, signal } = options;
  const { usesReference } = plan.objective;
  // an answer of the base that is replayed is one example each time
  const sets = usesReference
    ? { train, validation }
    : { train: [...new Set(train.filter(isAnchored))], validation: [] };
  // answers that are sampled have theirs computed with their gradients, and so has what hints make of answers
  const isOwn = learnsFromAnswers(plan.settings) || plan.objective.divergence !== undefined;
  if (reference === undefined || isOwn || sets.train.length === 0) return { train, validation };
  const digest = referenceDigest(record);
  // a run that extends another one takes its files over with the first result
  const stored = await readReference(extended === undefined ? folder : out, { sets, digest });
  // whose program is closed before there is one of a step
  await using source = gradientSource(options.model, sourceOptions(options));
  const found = stored ?? (yield* computeReference(source, sets, { reference, settings, now, signal }));
  if (found === undefined) return undefined;
  if (stored === undefined) {
    await files.begin();
    await writeReference(folder, { sets: found, digest });
  }
  if (usesReference) return found;
  const measured = new Map(sets.train.map((one, i) => [one, found.train[i]]));
  return { train: train.map((one) => measured.get(one) ?? one), validation };
}

/** Follows which adapter a run gives, and why it ends. */
function watchEnd({
  steps,
  keepsBest,
  best,
}: {
  readonly steps: number;
  readonly keepsBest: boolean;
  readonly best: TrainingState["best"];
}) {
  let kept = keepsBest ? best?.step : undefined;
  let ended: Pick<FinishEvent, "reason" | "lastStep"> = { reason: "complete", lastStep: steps };
  return {
    follow: (event: TrainEvent): void => {
      if (event.type === "evaluation" && event.best && keepsBest) kept = event.step;
      if (event.type === "earlyStop") ended = { reason: event.reason, lastStep: event.step };
    },
    result: () => ({ ...ended, step: kept ?? ended.lastStep, isBest: kept !== undefined }),
  };
}

/** A run by epochs whose tokens are more than it may train. How many a run by updates has is known before each of these. */
function limitedEvent(
  { settings, train: { encoded }, run }: RunPlan,
  { step, maxTokens }: { readonly step: number; readonly maxTokens: number | undefined },
): FinetuneEvent | undefined {
  if (maxTokens === undefined || settings.steps !== undefined || learnsFromAnswers(settings))
    return undefined;
  const tokens = runTokens(encoded, run);
  return tokens > maxTokens ? { type: "limited", step, tokens } : undefined;
}

/** Where the run ends before anything was computed, nothing is written. */
const isWithoutResult = (event: FinetuneEvent): boolean =>
  event.type === "limited" ||
  (event.type === "stopped" && event.step === 0 && event.microBatches === undefined);
