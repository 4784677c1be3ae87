// The loop of a run, as events: evaluate, save, update, until the last step or until the signal is aborted.
import { MosError } from "#core";
import { batches, type EncodedExample } from "#data";
import type { CompileOptions } from "#runtime";
import type { BestEvaluation, TrainingState } from "./checkpoint.ts";
import { type GradientSource, gradientSource, type TrainableModel } from "./gradients.ts";
import {
  type BatchSettings,
  lengthMultiple,
  microBatches,
  rowsAtOnce,
  updateTokens,
} from "./micro-batches.ts";
import type { Rematerialise } from "./step.ts";
import {
  advance,
  progressOf,
  type StepEvent,
  type UpdateProgress,
  type UpdateSettings,
  yieldToEventLoop,
} from "./update.ts";

/** What a run computes. Together with the data and the initial state, it decides every bit of the result. */
export interface TrainSettings extends UpdateSettings {
  /** Updates between evaluations on the held-out part; 0 evaluates at the start and the end only. */
  readonly evaluateEvery: number;
  /** Updates between checkpoints; 0 saves at the end only. */
  readonly saveEvery: number;
  /** Evaluations without a better one after which the run ends; left out, never. */
  readonly earlyStoppingPatience?: number | undefined;
}

/** What is trained, on what data, from which state on. */
export interface TrainOptions {
  readonly model: TrainableModel;
  readonly settings: TrainSettings;
  readonly train: readonly EncodedExample[];
  /** May be empty: there are no evaluations then. */
  readonly heldOut: readonly EncodedExample[];
  /** Its parameters and moments are updated in place. */
  readonly state: TrainingState;
  readonly compile?: CompileOptions;
  /** What the backward pass computes again rather than keeping it; "none". It changes no result. */
  readonly rematerialise?: Rematerialise;
  /** Tokens that the whole run may train; left out, any number. An update that would exceed it is not begun. */
  readonly maxTokens?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

/** What happens in a run, in order. Losses are means over target tokens in nats, times are in seconds. */
export type TrainEvent =
  | StepEvent
  /** After each second of an update of several micro-batches. */
  | ({ readonly type: "progress" } & UpdateProgress)
  | {
      readonly type: "evaluation";
      readonly step: number;
      readonly loss: number;
      /** Share of the target tokens that are the likeliest. */
      readonly accuracy: number;
      /** Lower than those before, and than that of the base. */
      readonly best: boolean;
      readonly seconds: number;
    }
  /** A checkpoint is due: the state is valid until the next event is asked for. */
  | { readonly type: "checkpoint"; readonly state: TrainingState }
  /** By the signal; `microBatches` and `tokens` are those of an update that is not complete. */
  | ({ readonly type: "stopped"; readonly step: number } & Partial<UpdateProgress>)
  /** The run ends before an update with which it would have trained `tokens`, more than `maxTokens`. */
  | { readonly type: "limited"; readonly step: number; readonly tokens: number }
  /** The held-out loss gets no better: the run is complete before its last step. */
  | { readonly type: "earlyStop"; readonly step: number; readonly best: BestEvaluation | undefined };

/** The loss over a set of examples: means over its target tokens. */
export interface HeldOutLoss {
  /** In nats. */
  readonly loss: number;
  /** Share of the target tokens that are the likeliest. */
  readonly accuracy: number;
}

/**
 * The mean cross-entropy over the target tokens of all examples, and the share of them that are the likeliest.
 *
 * @throws MosError `cancelled` when the signal is aborted.
 */
export async function evaluateLoss(
  source: GradientSource,
  examples: readonly EncodedExample[],
  { signal, ...settings }: BatchSettings & { readonly signal?: AbortSignal | undefined },
): Promise<HeldOutLoss> {
  const inOrder = { epoch: 0, seed: 0, shuffle: false, lengthMultiple: lengthMultiple(settings) };
  let [loss, correct, targets] = [0, 0, 0];
  for (const batch of batches(examples, { ...settings, ...inOrder, batchRows: rowsAtOnce(settings) })) {
    const part = await source.loss(batch);
    loss += part.loss;
    correct += part.correct;
    targets += part.targets;
    await yieldToEventLoop();
    if (signal?.aborted === true) throw new MosError("cancelled", "the evaluation was stopped");
  }
  return { loss: loss / targets, accuracy: correct / targets };
}

/** Numbers that are not finite must not replace a good checkpoint. Throws `diverged`. */
function checkState({ step, parameters, unfinished }: TrainingState): void {
  if (unfinished !== undefined && !Number.isFinite(unfinished.loss))
    throw new MosError(
      "diverged",
      `step ${step + 1}: the loss is ${unfinished.loss}; use a lower --learning-rate. Checkpoints made before are kept`,
    );
  for (const [name, { data }] of parameters)
    if (!data.every(Number.isFinite))
      throw new MosError(
        "diverged",
        `step ${step}: ${name} holds numbers that are not finite; use a lower --learning-rate. Checkpoints made before are kept`,
      );
}

/** The last update, and every `every`-th before it; with 0, the last one alone. */
const isDue = (step: number, every: number, { steps }: TrainSettings): boolean =>
  step === steps || (every > 0 && step % every === 0);

const isEvaluationDue = ({ step, evaluated }: TrainingState, { heldOut, settings }: TrainOptions): boolean =>
  heldOut.length > 0 && evaluated !== step && (step === 0 || isDue(step, settings.evaluateEvery, settings));

/** What is said of the end of a run, where this is its last step; undefined where it goes on. */
function endOf(
  { step, evaluated, best }: TrainingState,
  { settings: { steps, evaluateEvery, earlyStoppingPatience: patience } }: TrainOptions,
): readonly TrainEvent[] | undefined {
  if (step === steps) return [];
  if (patience === undefined || evaluated !== step) return undefined;
  // evaluations since the best one
  const since = Math.floor((step - (best?.step ?? 0)) / evaluateEvery);
  return since < patience ? undefined : [{ type: "earlyStop", step, best }];
}

/** The checkpoint of a state that has come further than the saved one. */
function* checkpointAfter(saved: TrainingState, state: TrainingState): Generator<TrainEvent, void> {
  if (saved.step === state.step && saved.unfinished === state.unfinished) return;
  checkState(state);
  yield { type: "checkpoint", state };
}

/** Tokens of the longest example. Throws `bad_data` where there is none to train on. */
function longestOf({ train: examples, heldOut }: TrainOptions): number {
  if (examples.length === 0) throw new MosError("bad_data", "there are no examples to train on");
  return [...examples, ...heldOut].reduce((max, { ids }) => Math.max(max, ids.length), 1);
}

/** Whether a run ends before its next update, asked once before each: with that one it would train more than it may. */
function tokenLimit({
  train: examples,
  settings,
  state,
  maxTokens,
}: TrainOptions): (state: TrainingState) => readonly TrainEvent[] | undefined {
  if (maxTokens === undefined) return () => undefined;
  // an unfinished update was counted when it began
  const first = state.unfinished === undefined ? state.step : state.step + 1;
  const updates = updateTokens(examples, settings, { updates: first, microBatches: 0 });
  return (now) => {
    const tokens = now.tokens + updates.next().value;
    return tokens > maxTokens ? [{ type: "limited", step: now.step, tokens }] : undefined;
  };
}

/** The state of a run, and what of it was saved last. */
interface Reached {
  readonly state: TrainingState;
  readonly saved: TrainingState;
}

interface BetweenOptions {
  readonly source: GradientSource;
  readonly options: TrainOptions;
  readonly limit: ReturnType<typeof tokenLimit>;
}

/** What comes between two updates: an evaluation, a checkpoint, or the end of the run. */
async function* betweenUpdates(
  { state, saved }: Reached,
  { source, options, limit }: BetweenOptions,
): AsyncGenerator<TrainEvent, Reached & { readonly isOver: boolean }> {
  let now = state;
  if (isEvaluationDue(state, options)) {
    const evaluated = await evaluate(state, source, options);
    if (evaluated === undefined) return { state, saved, isOver: false };
    now = evaluated.state;
    yield evaluated.event;
  }
  const end = endOf(now, options) ?? limit(now);
  const isSaved = end !== undefined || isDue(now.step, options.settings.saveEvery, options.settings);
  if (isSaved) yield* checkpointAfter(saved, now);
  if (end !== undefined) yield* end;
  return { state: now, saved: isSaved ? now : saved, isOver: end !== undefined };
}

/**
 * Trains in place from `state` to the last step. An aborted signal ends the run after the current micro-batch, with a
 * checkpoint; an evaluation that it interrupts is repeated first when the run is resumed.
 *
 * @throws MosError `diverged` at a loss or a parameter that is not finite, `bad_data` where there are no examples.
 * @example
 * for await (const event of train(options)) if (event.type === "step") console.log(event.loss);
 */
export async function* train(options: TrainOptions): AsyncGenerator<TrainEvent, void> {
  const { model, settings, signal, now, rematerialise = "none" } = options;
  const maxSegment = longestOf(options);
  await using source = gradientSource(model, { ...options.compile, maxSegment, rematerialise });
  let state = options.state;
  let saved = state;
  const start = { updates: state.step, microBatches: progressOf(state).microBatches };
  const stream = microBatches(options.train, settings, start);
  const limit = tokenLimit(options);
  const isStopped = (): boolean => signal?.aborted === true;
  while (!isStopped()) {
    if (state.unfinished === undefined) {
      const reached = yield* betweenUpdates({ state, saved }, { source, options, limit });
      if (reached.isOver) return;
      ({ state, saved } = reached);
      // the consumer may have aborted the signal while it handled these events
      if (isStopped()) break;
    }
    const advanced = await advance(state, { source, stream, settings, now });
    state = advanced.state;
    if (advanced.event !== undefined) yield advanced.event;
  }
  yield* checkpointAfter(saved, state);
  if (state.step < settings.steps || isEvaluationDue(state, options))
    yield { type: "stopped", ...(state.unfinished === undefined ? { step: state.step } : progressOf(state)) };
}

/** Evaluates on the held-out part; undefined where the signal interrupted it. */
async function evaluate(
  state: TrainingState,
  source: GradientSource,
  { heldOut, settings, signal, now }: TrainOptions,
): Promise<{ readonly state: TrainingState; readonly event: TrainEvent } | undefined> {
  const started = now();
  const { step } = state;
  const measured = await evaluateLoss(source, heldOut, { ...settings, signal }).catch((error: unknown) => {
    if (error instanceof MosError && error.code === "cancelled") return undefined;
    throw error;
  });
  if (measured === undefined) return undefined;
  const { loss, accuracy } = measured;
  if (!Number.isFinite(loss))
    throw new MosError(
      "diverged",
      `step ${step}: the held-out loss is ${loss}; use a lower --learning-rate. Checkpoints made before are kept`,
    );
  const baseLoss = step === 0 ? loss : state.baseLoss;
  const isBest = step > 0 && loss < (state.best?.loss ?? baseLoss ?? Number.POSITIVE_INFINITY);
  return {
    state: { ...state, baseLoss, evaluated: step, best: isBest ? { step, loss } : state.best },
    event: { type: "evaluation", step, loss, accuracy, best: isBest, seconds: (now() - started) / 1000 },
  };
}
