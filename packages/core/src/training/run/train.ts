// The fourth step of a run: training from where it stands to its end.
import { budget, OTHER_TOKENS } from "#adapters";
import { monotonicNow } from "#common";
import { isAnchored } from "../augment/replay.ts";
import { type GradientSource, gradientSource } from "../gradients.ts";
import { runTokens } from "../micro-batches.ts";
import { learnsFromAnswers } from "../objectives/index.ts";
import {
  computeReference,
  type ExampleSets,
  readReference,
  referenceDigest,
  writeReference,
} from "../reference.ts";
import { openRollouts } from "../rollouts/maker.ts";
import { pickChosen } from "../settings.ts";
import { sourceOptions, type TrainEvent, type TrainOptions, train } from "../trainer.ts";
import { baseOf } from "../validation.ts";
import type { FinetuneEvent, FinishEvent } from "./events.ts";
import type { LoadedRun } from "./load.ts";
import type { FinetuneOptions } from "./options.ts";
import { measureOutcome, outcomeWarning } from "./outcome.ts";
import type { RunPlan } from "./plan.ts";
import { complete, openRunFolder, persist, type RunFolder } from "./record.ts";
import { watchForCollapse } from "./warnings.ts";

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
export async function* trainRun(
  started: LoadedRun,
  {
    signal,
    session,
    keepVersions,
    maxTokens,
    saveSeconds,
    now = monotonicNow,
    tensorboard = false,
  }: FinetuneOptions,
): AsyncGenerator<FinetuneEvent, void> {
  const { plan, model, out, state } = started;
  const { run, train: examples, validation } = plan;
  const { best, step } = state;
  const { objective } = plan;
  await using files = openRunFolder(started, { tensorboard });
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
  const toWarnings = watchForCollapse({ steps, keepsBest, vocabularySize, base, best, objective });
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
  if (!isBest) yield* reportOutcome(started, source, ended.step);
  yield* complete(started, { step: ended.step, isBest, keepVersions });
  yield { type: "finish", out, steps, ...ended };
}

/** What the last parameters have taught and lost; where an earlier step was better, they are not what is saved. */
async function* reportOutcome(
  { plan, reference }: LoadedRun,
  source: GradientSource,
  step: number,
): AsyncGenerator<FinetuneEvent, void> {
  const outcome = reference && (await measureOutcome(plan, source, reference));
  if (outcome === undefined) return;
  yield { type: "outcome", step, ...outcome };
  const message = outcomeWarning(outcome);
  if (message !== undefined) yield { type: "warning", reason: "forgotten", step, message };
}

/** The examples with what the reference says of them, read or computed; undefined where the signal is aborted. */
async function* withReference(
  { plan, folder, out, extended, record, reference }: LoadedRun,
  options: TrainOptions & { readonly source: GradientSource },
  files: RunFolder,
): AsyncGenerator<FinetuneEvent, ExampleSets | undefined> {
  const { source, settings, train, validation, now, signal } = options;
  const { usesReference } = plan.objective;
  // an answer of the base that is replayed is one example each time
  const sets = usesReference
    ? { train, validation }
    : { train: [...new Set(train.filter(isAnchored))], validation: [] };
  // answers that are sampled have theirs computed with their gradients
  if (reference === undefined || learnsFromAnswers(plan.settings) || sets.train.length === 0)
    return { train, validation };
  const digest = referenceDigest(record);
  // a run that extends another one takes its files over with the first result
  const stored = await readReference(extended === undefined ? folder : out, { sets, digest });
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
}: Pick<Parameters<typeof watchForCollapse>[0], "steps" | "keepsBest" | "best">) {
  let kept = keepsBest ? best?.step : undefined;
  let ended: Pick<FinishEvent, "reason" | "lastStep"> = { reason: "complete", lastStep: steps };
  return {
    follow: (event: TrainEvent): void => {
      if (event.type === "evaluation" && event.best && keepsBest) kept = event.step;
      if (event.type === "earlyStop") ended = { reason: "early_stopping", lastStep: event.step };
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
