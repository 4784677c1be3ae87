// The loop of a run, as events: evaluate, save, update, until the last step or until the signal is aborted.

import type { SessionOptions } from "mixture-of-shards-graph";
import { MosError, omitUndefined } from "#common";
import { type EncodedExample, sequenceLengths, sharedReach } from "#data";
import type { BestEvaluation, TrainingState, UnfinishedEvaluation } from "./checkpoint.ts";
import { lastStep } from "./ending.ts";
import { type GradientSource, type GradientSourceOptions, gradientSource } from "./gradients.ts";
import { type MicroBatches, microBatches, type Position, updateTokens } from "./micro-batches.ts";
import { averageMetrics, type Objective } from "./objectives/objective.ts";
import type { ResolvedSettings } from "./settings.ts";
import type { Parameters, Rematerialise, TrainableModel } from "./step-graph.ts";
import {
  type Advanced,
  type AdvanceOptions,
  advance,
  type StepEvent,
  toProgress,
  type UpdateProgress,
  type UpdateSettings,
} from "./update.ts";
import {
  averageLoss,
  baseOf,
  type Evaluated,
  isBetter,
  NOTHING_EVALUATED,
  rewardOf,
  validationSums,
} from "./validation.ts";

/** Settings of a run. Together with the data and the initial state, they determine every bit of the result. */
export type TrainSettings = UpdateSettings &
  Pick<ResolvedSettings, "evaluateEvery" | "saveEvery"> & {
    /** Evaluations without a lower loss after which it ends, or 0 for never; 0. */
    readonly earlyStoppingPatience?: number;
  };

/** Options of training: the model, the data and the initial state. */
export interface TrainOptions {
  readonly model: TrainableModel;
  readonly settings: TrainSettings;
  readonly train: readonly EncodedExample[];
  /** May be empty: there are no evaluations then. */
  readonly validation: readonly EncodedExample[];
  /** Its parameters and moments are updated in place. */
  readonly state: TrainingState;
  readonly session?: SessionOptions;
  /** Plain training by default. */
  readonly objective?: Objective;
  /** Parameters of the objective's reference. */
  readonly reference?: Parameters | undefined;
  /** Makes the micro-batches, which are those of `train` without it. Held-out examples have no loss then. */
  readonly maker?: BatchMaker | undefined;
  /** Computes gradients and losses, and is left open. Without it, the run has one of its own. */
  readonly source?: GradientSource | undefined;
  /** Answers to held-out prompts, by whose rewards evaluations are compared. */
  readonly answers?: HeldOutAnswers | undefined;
  /** Recomputation in the backward pass; "none". It changes no result. */
  readonly rematerialise?: Rematerialise;
  /** Tokens that the whole run may train; left out, any number. An update that would exceed it is not begun. */
  readonly maxTokens?: number | undefined;
  /** Seconds after which a checkpoint is due, also within an update or an evaluation; left out, `saveEvery` alone says when. */
  readonly saveSeconds?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

/** What a run learns, where that is made while it trains. */
export interface BatchMaker {
  /** Micro-batches from a position on. They end with `cancelled` where the signal is aborted. */
  microBatches(start: Position): MicroBatches;
  /** Tokens of a sequence at most; those of the examples without it. */
  readonly maxSegment?: number;
  /** Tokens of a row at most whose sequences share prompts. */
  readonly reach?: number;
  /** Tokens of an update at most; those of the examples without it. */
  readonly maxTokens?: number;
}

/** Answers to held-out prompts, which come before the batches of an evaluation that have a loss. */
export interface HeldOutAnswers {
  /** Parts that they are given and graded in. */
  readonly parts: number;
  /** Evaluates the parts that are left, and gives the sums after each. It ends with `cancelled` where the signal is aborted. */
  evaluate(done: UnfinishedEvaluation): AsyncIterable<UnfinishedEvaluation>;
}

/** Event of a run, in order. Losses are means of the objective, over target tokens in nats unless it has another; times are in seconds. */
export type TrainEvent =
  | StepEvent
  /** After each second of an update of several micro-batches. */
  | ({ readonly type: "progress" } & UpdateProgress)
  /** After each second of an evaluation of several batches. */
  | { readonly type: "evaluating"; readonly step: number; readonly batches: number }
  | {
      readonly type: "evaluation";
      readonly step: number;
      readonly loss: number;
      /** Share of the target tokens that are the likeliest. */
      readonly accuracy: number;
      /** Better than those before, and than that of the base: its loss is lower, or its reward higher where it has one. */
      readonly best: boolean;
      readonly seconds: number;
      /** What else the objective reports, under names that begin with `eval_`. */
      readonly metrics?: Readonly<Record<string, number>>;
    }
  /** A checkpoint is due: the state is valid until the next event is requested. */
  | {
      readonly type: "checkpoint";
      readonly state: TrainingState;
      /** Number of computed batches of the evaluation that comes next, from 0. */
      readonly evaluationBatches?: number;
      /** The run ends with it, as planned or early. */
      readonly isLast?: boolean;
    }
  /**
   * By the signal; `microBatches` and `tokens` are those of an update that is not complete, `evaluationBatches` those of an
   * evaluation.
   */
  | ({
      readonly type: "stopped";
      readonly step: number;
      readonly evaluationBatches?: number;
    } & Partial<UpdateProgress>)
  /** The run ends before an update with which it would have trained `tokens`, more than `maxTokens`. */
  | { readonly type: "limited"; readonly step: number; readonly tokens: number }
  /** Evaluations get no better, or nothing is left to learn: the run is complete before its last step. */
  | {
      readonly type: "earlyStop";
      readonly reason: "early_stopping" | "learnt";
      readonly step: number;
      readonly best: BestEvaluation | undefined;
    };

/** Throws `diverged` for values that are not finite, which must not replace a good checkpoint. */
function checkState({ step, parameters, unfinished }: TrainingState): void {
  if (unfinished !== undefined && !Number.isFinite(unfinished.loss))
    throw new MosError(
      "diverged",
      `step ${step + 1}: the loss is ${unfinished.loss}; lower --learning-rate. Earlier checkpoints are kept`,
    );
  for (const [name, { data }] of parameters)
    if (!data.every(Number.isFinite))
      throw new MosError(
        "diverged",
        `step ${step}: ${name} has values that are NaN or infinite; lower --learning-rate. Earlier checkpoints are kept`,
      );
}

/** The last update, and every `every`-th before it; with 0, the last one alone. */
const isDue = (state: TrainingState, every: number, settings: TrainSettings): boolean =>
  state.step === lastStep(state, settings) || (every > 0 && state.step > 0 && state.step % every === 0);

const isEvaluationDue = (state: TrainingState, { validation, settings }: TrainOptions): boolean =>
  validation.length > 0 &&
  state.evaluated !== state.step &&
  (state.step === 0 || isDue(state, settings.evaluateEvery, settings));

/** The last events of a run, where this is its last step; undefined where it goes on. */
function findEnd(
  { step, evaluated, best, ending }: TrainingState,
  { settings: { steps, evaluateEvery, earlyStoppingPatience: patience = 0 } }: TrainOptions,
): readonly TrainEvent[] | undefined {
  if (step === steps) return [];
  if (step === ending?.step) return [{ type: "earlyStop", reason: "learnt", step, best }];
  if (patience === 0 || evaluated !== step) return undefined;
  // evaluations since the best one
  const since = Math.floor((step - (best?.step ?? 0)) / evaluateEvery);
  return since < patience ? undefined : [{ type: "earlyStop", reason: "early_stopping", step, best }];
}

/** Fields of the state that change from one checkpoint to the next. */
const PROGRESS = ["step", "unfinished", "evaluated", "evaluating"] as const;

/** The checkpoint of a state that has come further than the saved one. */
function* checkpointAfter({ state, saved }: Reached, options: TrainOptions): Generator<TrainEvent, void> {
  if (PROGRESS.every((name) => saved[name] === state[name])) return;
  checkState(state);
  const isUnevaluated = isEvaluationDue(state, options);
  yield {
    type: "checkpoint",
    state,
    ...(isUnevaluated ? { evaluationBatches: state.evaluating?.batches ?? 0 } : {}),
    ...(!isUnevaluated && findEnd(state, options) !== undefined ? { isLast: true } : {}),
  };
}

/** Tokens of the longest sequence. Throws `bad_data` where there is none to train on. */
function measureLongest({ train: examples, validation }: TrainOptions): number {
  if (examples.length === 0) throw new MosError("bad_data", "there are no examples to train on");
  return [...examples, ...validation].reduce(
    (max, { hinted, ...one }) =>
      Math.max(max, (one.shared ?? 0) + Math.max(...sequenceLengths(one)), hinted?.ids.length ?? 0),
    1,
  );
}

/** Programs of a run, for training and before it. */
export const sourceOptions = (options: TrainOptions): GradientSourceOptions => {
  const { session, objective, reference, maker, rematerialise = "none", settings } = options;
  const longest = maker?.maxSegment ?? measureLongest(options);
  const maxSegment = objective?.joinsSequences === true ? settings.maxLength : longest;
  const reach = maker === undefined ? sharedReach([...options.train, ...options.validation]) : maker.reach;
  return { ...session, ...omitUndefined({ objective }), reference, maxSegment, reach, rematerialise };
};

/** A test, made once before each update, of whether that update would exceed the token limit. */
function tokenLimit({
  train: examples,
  settings,
  state,
  maker,
  maxTokens,
}: TrainOptions): (state: TrainingState) => readonly TrainEvent[] | undefined {
  if (maxTokens === undefined) return () => undefined;
  // an unfinished update was counted when it began
  const first = state.unfinished === undefined ? state.step : state.step + 1;
  const updates =
    maker?.maxTokens === undefined
      ? updateTokens(examples, settings, { updates: first, microBatches: 0 })
      : undefined;
  return (now) => {
    const tokens = now.tokens + (updates?.next().value ?? maker?.maxTokens ?? 0);
    return tokens > maxTokens ? [{ type: "limited", step: now.step, tokens }] : undefined;
  };
}

/** The state of a run, and what of it was saved last. */
interface Reached {
  readonly state: TrainingState;
  readonly saved: TrainingState;
}

/** A test of whether a checkpoint is due by the time since the last one that was. */
function saveTimer({ saveSeconds, now }: TrainOptions): () => boolean {
  if (saveSeconds === undefined) return () => false;
  let next = now() + saveSeconds * 1000;
  return () => {
    const isDue = now() >= next;
    if (isDue) next = now() + saveSeconds * 1000;
    return isDue;
  };
}

interface BetweenOptions {
  readonly source: GradientSource;
  readonly options: TrainOptions;
  readonly limit: ReturnType<typeof tokenLimit>;
  readonly isOverdue: ReturnType<typeof saveTimer>;
}

/** The checkpoint of a state where the time asks for one. Gives what is saved then. */
function* saveOverdue(
  { state, saved }: Reached,
  { options, isOverdue }: BetweenOptions,
): Generator<TrainEvent, TrainingState> {
  if (!isOverdue()) return saved;
  yield* checkpointAfter({ state, saved }, options);
  return state;
}

/** Events between two updates: an evaluation, a checkpoint, or the end of the run. */
async function* betweenUpdates(
  { state, saved }: Reached,
  between: BetweenOptions,
): AsyncGenerator<TrainEvent, Reached & { readonly isOver: boolean }> {
  const { options, limit } = between;
  const now = isEvaluationDue(state, options)
    ? yield* evaluate(state, between)
    : { ...state, evaluating: undefined };
  // it was interrupted
  if (isEvaluationDue(now, options)) return { state: now, saved, isOver: false };
  const end = findEnd(now, options) ?? limit(now);
  const isSaved = end !== undefined || isDue(now, options.settings.saveEvery, options.settings);
  if (isSaved) yield* checkpointAfter({ state: now, saved }, options);
  if (end !== undefined) yield* end;
  return { state: now, saved: isSaved ? now : saved, isOver: end !== undefined };
}

/**
 * Trains in place from `state` to the last step. An aborted signal ends the run after the current batch, of an update or of
 * an evaluation, with a checkpoint that goes on with the next one.
 *
 * @throws MosError `diverged` at a loss or a parameter that is not finite, `bad_data` where there are no examples.
 */
export async function* train(options: TrainOptions): AsyncGenerator<TrainEvent, void> {
  const { model, settings, signal, now } = options;
  const source = options.source ?? gradientSource(model, sourceOptions(options));
  await using _own = options.source === undefined ? source : undefined;
  let state = options.state;
  let saved = state;
  const start = { updates: state.step, microBatches: toProgress(state).microBatches };
  const stream = options.maker?.microBatches(start) ?? microBatches(options.train, settings, start);
  const between = { source, options, limit: tokenLimit(options), isOverdue: saveTimer(options) };
  const isStopped = (): boolean => signal?.aborted === true;
  while (!isStopped()) {
    if (state.unfinished === undefined) {
      const reached = yield* betweenUpdates({ state, saved }, between);
      if (reached.isOver) return;
      ({ state, saved } = reached);
      // the consumer may have aborted the signal while it handled these events
      if (isStopped()) break;
    }
    const advanced = await advanceUnlessStopped(state, { source, stream, settings, now }, signal);
    state = advanced.state;
    if (advanced.event !== undefined) yield advanced.event;
    saved = yield* saveOverdue({ state, saved }, between);
  }
  yield* stop({ state, saved }, options);
}

/** The next part of an update. What was being made when the signal was aborted is made again after a resume. */
async function advanceUnlessStopped(
  state: TrainingState,
  options: AdvanceOptions,
  signal: AbortSignal | undefined,
): Promise<Advanced> {
  try {
    return await advance(state, options);
  } catch (cause) {
    if (isStop(cause, signal)) return { state, event: undefined };
    throw cause;
  }
}

const isStop = (cause: unknown, signal: AbortSignal | undefined): boolean =>
  signal?.aborted === true && cause instanceof MosError && cause.code === "cancelled";

/** The end of a run whose signal is aborted. */
function* stop({ state, saved }: Reached, options: TrainOptions): Generator<TrainEvent, void> {
  yield* checkpointAfter({ state, saved }, options);
  const { step, unfinished, evaluating } = state;
  if (step === lastStep(state, options.settings) && !isEvaluationDue(state, options))
    return yield* findEnd(state, options) ?? [];
  yield {
    type: "stopped",
    ...(unfinished === undefined ? { step } : toProgress(state)),
    ...(evaluating === undefined ? {} : { evaluationBatches: evaluating.batches }),
  };
}

/** Throws `diverged` for a validation loss that is not finite. */
function checkValidation(step: number, loss: number): void {
  if (Number.isFinite(loss)) return;
  throw new MosError(
    "diverged",
    `step ${step}: the validation loss is ${loss}; lower --learning-rate. Earlier checkpoints are kept`,
  );
}

/** The sums after each part of an evaluation that is left, up to its end or to where the signal interrupts it. */
async function* evaluationSums(
  done: UnfinishedEvaluation,
  source: GradientSource,
  { validation, settings, maker, answers, signal, now }: TrainOptions,
): AsyncGenerator<UnfinishedEvaluation, void> {
  let sums = done;
  if (answers !== undefined)
    for await (const next of untilStopped(answers.evaluate(sums), signal)) {
      sums = next;
      yield sums;
    }
  if (maker !== undefined || signal?.aborted === true) return;
  const before = answers?.parts ?? 0;
  yield* validationSums(source, validation, { ...settings, done: sums, before, now });
}

/** What an iterable gives until it ends with `cancelled`. */
async function* untilStopped<T>(
  values: AsyncIterable<T>,
  signal: AbortSignal | undefined,
): AsyncGenerator<T, void> {
  try {
    yield* values;
  } catch (cause) {
    if (!isStop(cause, signal)) throw cause;
  }
}

/** Evaluates on the validation split. Where the signal interrupts it, the state has what is summed up. */
async function* evaluate(
  state: TrainingState,
  between: BetweenOptions,
): AsyncGenerator<TrainEvent, TrainingState> {
  const { source, options } = between;
  const { step } = state;
  const { signal } = options;
  let sums = state.evaluating ?? NOTHING_EVALUATED;
  const unfinished = (): TrainingState => ({
    ...state,
    ...(sums.batches === 0 ? {} : { evaluating: sums }),
  });
  for await (const next of evaluationSums(sums, source, options)) {
    checkValidation(step, next.loss);
    const isTold = Math.floor(next.seconds) > Math.floor(sums.seconds);
    sums = next;
    if (isTold) yield { type: "evaluating", step, batches: sums.batches };
    if (signal?.aborted === true) return unfinished();
    yield* saveOverdue({ state: unfinished(), saved: state }, between);
  }
  if (signal?.aborted === true) return unfinished();
  const metrics = averageMetrics(sums.metrics, "eval_");
  const reward = rewardOf({ metrics });
  const { accuracy, ...measured } = averageLoss(sums);
  // answers that are learnt from have no loss of their own
  const loss = sums.count === 0 && reward !== undefined ? -reward : measured.loss;
  checkValidation(step, loss);
  const found: Evaluated = { loss, ...omitUndefined({ reward }) };
  const base = step === 0 ? found : baseOf(state);
  const isBest = step > 0 && isBetter(found, state.best ?? base);
  yield {
    type: "evaluation",
    ...{ step, loss, accuracy, best: isBest, seconds: sums.seconds },
    ...omitUndefined({ metrics }),
  };
  const best = isBest ? { step, ...found } : state.best;
  const { loss: baseLoss, reward: baseReward } = base ?? {};
  return { ...state, baseLoss, baseReward, best, evaluated: step, evaluating: undefined };
}
