// One update: gradients accumulated over micro-batches, clipped, and applied by AdamW.
import { MosError, omitUndefined } from "#common";
import { nextTurn } from "#platform";
import { emptyMoments, type Moments, type TrainingState, type UnfinishedUpdate } from "./checkpoint.ts";
import { type EndingSettings, fallAt, followLoss, type RunEnding } from "./ending.ts";
import { addLosses, type GradientSource, NO_LOSS } from "./gradients.ts";
import type { MicroBatches, MicroBatchSettings } from "./micro-batches.ts";
import { addMetrics, averageMetrics } from "./objectives/objective.ts";
import type { FinetuneSettings, ScheduleName } from "./settings.ts";
import { drawMaskBuffer } from "./step-graph.ts";

/** Settings that determine an update, together with its micro-batches. */
export type UpdateSettings = MicroBatchSettings &
  AdamWOptions &
  EndingSettings &
  Pick<FinetuneSettings, "schedule" | "maxGradientNorm"> & {
    /** Updates of the warm-up, in which the learning rate grows linearly from 0. */
    readonly warmup: number;
    /** At the end of the warm-up. */
    readonly learningRate: number;
    /** Dropout probability, on the input of the adapters. */
    readonly dropout: number;
  };

/** One update. */
export interface StepEvent {
  readonly type: "step";
  /** Updates made, this one included. */
  readonly step: number;
  /** Epoch of the first batch, from 0. */
  readonly epoch: number;
  /** Mean loss of the objective: of plain training the cross-entropy of target tokens, in nats. */
  readonly loss: number;
  /** Share of the target tokens that are the likeliest; those that are to stay as they were are none. */
  readonly accuracy: number;
  readonly learningRate: number;
  /** Global norm of the mean gradient before clipping. */
  readonly gradientNorm: number;
  /** Tokens of the batches, without padding. */
  readonly tokens: number;
  /** Tokens in the loss. */
  readonly targetTokens: number;
  readonly examples: number;
  readonly seconds: number;
  /** What else the objective reports. */
  readonly metrics?: Readonly<Record<string, number>>;
  /** Where the run ends, if it was decided after this update that nothing is left to learn. */
  readonly ending?: RunEnding;
}

/** Progress of a run, within an update too. */
export interface UpdateProgress {
  /** Complete updates. */
  readonly step: number;
  /** Computed of the next update. */
  readonly microBatches: number;
  /** Tokens of these micro-batches, without padding. */
  readonly tokens: number;
}

export const toProgress = ({ step, unfinished }: TrainingState): UpdateProgress => ({
  step,
  microBatches: unfinished?.microBatches ?? 0,
  tokens: unfinished?.tokens ?? 0,
});

/** Inputs of a micro-batch besides the state. */
export interface AdvanceOptions {
  readonly source: GradientSource;
  readonly stream: MicroBatches;
  readonly settings: UpdateSettings;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

/** Computes the next micro-batch, and adds it to the update at hand. */
async function addMicroBatch(
  { unfinished }: TrainingState,
  { source, stream, settings, now }: AdvanceOptions,
): Promise<{ readonly unfinished: UnfinishedUpdate; readonly isLast: boolean }> {
  const started = now();
  const { value } = await stream.next();
  const { batch, epoch, index, isLast, update, isSkipped = false, metrics = {} } = value;
  const { seed, dropout } = settings;
  const drawMasks =
    dropout === 0
      ? undefined
      : (length: number) => drawMaskBuffer(length, { seed, microBatch: index, probability: dropout });
  const part = isSkipped ? source.skip(batch) : await source.gradients(batch, drawMasks, update);
  const sums = unfinished ?? { ...EMPTY_SUMS, epoch, gradients: part.gradients };
  if (unfinished !== undefined) addGradients(sums.gradients, part.gradients);
  await nextTurn(); // signals and timers come in here, since the runtime computes on this thread
  return {
    isLast,
    unfinished: {
      microBatches: sums.microBatches + 1,
      epoch: sums.epoch,
      ...addLosses(sums, { ...part, metrics: addMetrics(part.metrics, metrics) }),
      tokens: sums.tokens + batch.tokens,
      examples: sums.examples + batch.examples,
      seconds: sums.seconds + (now() - started) / 1000,
      gradients: sums.gradients,
    },
  };
}

const EMPTY_SUMS = { microBatches: 0, ...NO_LOSS, tokens: 0, examples: 0, seconds: 0 };

function addGradients(
  sums: ReadonlyMap<string, Float32Array>,
  gradients: ReadonlyMap<string, Float32Array>,
): void {
  for (const [name, sum] of sums) {
    const more = gradients.get(name) ?? new Float32Array(0);
    for (let k = 0; k < more.length; k++) sum[k] = (sum[k] as number) + (more[k] as number);
  }
}

function checkFinite(
  loss: number,
  norm: number,
  { step, learningRate }: { readonly step: number; readonly learningRate: number },
): void {
  if (Number.isFinite(loss) && Number.isFinite(norm)) return;
  throw new MosError(
    "diverged",
    `step ${step}: the loss is ${loss} and the gradient norm ${norm} at learning rate ${learningRate}; ` +
      "lower --learning-rate, raise --warmup, and check the examples of this step. Earlier checkpoints are kept",
  );
}

/**
 * One AdamW step of every parameter, in place; returns the norm of the mean gradient before clipping. Throws `diverged`,
 * with nothing changed, where the norm or the loss is not finite.
 */
function applyGradients(
  state: TrainingState,
  { loss, gradients, count }: UnfinishedUpdate,
  options: { settings: UpdateSettings; learningRate: number; step: number },
): number {
  const { settings, learningRate, step } = options;
  const norm = globalNorm(gradients.values()) / count;
  checkFinite(loss / count, norm, { step, learningRate });
  const clip = settings.maxGradientNorm > 0 ? clipFactor(norm, settings.maxGradientNorm) : 1;
  for (const [name, { data }] of state.parameters) {
    const moments = state.moments.get(name) ?? emptyMoments(data.length);
    const gradient = gradients.get(name) ?? new Float32Array(data.length);
    adamW(data, gradient, {
      ...settings,
      moments,
      learningRate,
      step,
      gradientScale: clip / count,
    });
  }
  return norm;
}

/** Applies the sums of an update in place, and returns the state after it with its event. Throws `diverged`. */
function completeUpdate(
  { unfinished: _, ...state }: TrainingState,
  update: UnfinishedUpdate,
  { settings, now }: Pick<AdvanceOptions, "settings" | "now">,
): { readonly state: TrainingState; readonly event: StepEvent } {
  const started = now();
  const { steps, warmup, schedule: name } = settings;
  const { tokens, targets, count, examples, epoch } = update;
  const metrics = averageMetrics(update.metrics);
  // of a fall, its beginning decides from where
  const planned = learningRateFactor(state.ending?.decided ?? state.step, { name, steps, warmup });
  const learningRate = settings.learningRate * planned * fallAt(state.step, state);
  const step = state.step + 1;
  const gradientNorm = applyGradients(state, update, { settings, learningRate, step });
  const { pass, ending } = followLoss(state, update, { ...settings, step });
  const event: StepEvent = {
    type: "step",
    step,
    epoch,
    loss: update.loss / count,
    accuracy: targets === 0 ? 1 : update.correct / targets,
    learningRate,
    gradientNorm,
    tokens,
    targetTokens: targets,
    examples,
    seconds: update.seconds + (now() - started) / 1000,
    ...omitUndefined({ metrics, ending: state.ending === undefined ? ending : undefined }),
  };
  return { state: { ...state, step, tokens: state.tokens + tokens, pass, ending }, event };
}

/** The next state, and its event. */
export interface Advanced {
  readonly state: TrainingState;
  readonly event: StepEvent | ({ readonly type: "progress" } & UpdateProgress) | undefined;
}

/**
 * Computes the next micro-batch. The update that it completes is applied in place; within one there is an event after each
 * second.
 *
 * @throws MosError `diverged`.
 */
export async function advance(before: TrainingState, options: AdvanceOptions): Promise<Advanced> {
  const { unfinished, isLast } = await addMicroBatch(before, options);
  if (isLast) return completeUpdate(before, unfinished, options);
  const state = { ...before, unfinished };
  const isDue = Math.floor(unfinished.seconds) > Math.floor(before.unfinished?.seconds ?? 0);
  return { state, event: isDue ? { type: "progress", ...toProgress(state) } : undefined };
}

// AdamW, and the schedule of its learning rate

/** Constants of AdamW, by default those of torch.optim without weight decay. */
export type AdamWOptions = Partial<Pick<FinetuneSettings, "beta1" | "beta2" | "weightDecay">> & {
  /** 1e-8 */
  readonly epsilon?: number;
};

/** Inputs of one AdamW step of one tensor. */
export type AdamWStep = AdamWOptions & {
  readonly moments: Moments;
  readonly learningRate: number;
  /** Updates made before this one, plus one: 1, 2, … */
  readonly step: number;
  /** Factor on the gradient: 1 / what the loss is a sum over, times the clip factor. */
  readonly gradientScale: number;
};

/**
 * One AdamW step of `parameter` and its moments, in place. The arithmetic is in double precision and the results are
 * stored as float32, so they are the same on every machine.
 */
export function adamW(parameter: Float32Array, gradient: Float32Array, options: AdamWStep): void {
  const {
    moments,
    learningRate,
    step,
    gradientScale,
    beta1 = 0.9,
    beta2 = 0.999,
    epsilon = 1e-8,
    weightDecay = 0,
  } = options;
  const { first, second } = moments;
  const rate = learningRate / (1 - beta1 ** step);
  const correction = Math.sqrt(1 - beta2 ** step);
  const keep = 1 - learningRate * weightDecay;
  for (let i = 0; i < parameter.length; i++) {
    const g = (gradient[i] as number) * gradientScale;
    const m = beta1 * (first[i] as number) + (1 - beta1) * g;
    const v = beta2 * (second[i] as number) + (1 - beta2) * g * g;
    first[i] = m;
    second[i] = v;
    parameter[i] = (parameter[i] as number) * keep - (rate * m) / (Math.sqrt(v) / correction + epsilon);
  }
}

/** √ Σ g² over all tensors, in double precision. */
export function globalNorm(gradients: Iterable<Float32Array>): number {
  let sum = 0;
  for (const gradient of gradients)
    for (let i = 0; i < gradient.length; i++) sum += (gradient[i] as number) ** 2;
  return Math.sqrt(sum);
}

/** The factor that limits a gradient of this norm to `limit`, that of torch.nn.utils.clip_grad_norm_. */
export const clipFactor = (norm: number, limit: number): number => Math.min(1, limit / (norm + 1e-6));

/**
 * The factor on the learning rate at optimizer step s = 0, 1, …, that of transformers' schedulers: s / warm-up, then
 * (steps − s) / (steps − warm-up), half a cosine to 0, or 1.
 *
 * @throws MosError `bad_option` for a warm-up longer than the run.
 */
export function learningRateFactor(
  step: number,
  { name, steps, warmup }: Pick<UpdateSettings, "steps" | "warmup"> & { readonly name: ScheduleName },
): number {
  if (warmup < 0 || warmup > steps)
    throw new MosError("bad_option", `warm-up of ${warmup} steps does not fit into ${steps} steps`);
  if (step < warmup) return step / warmup;
  const progress = (step - warmup) / Math.max(1, steps - warmup);
  switch (name) {
    case "linear":
      return Math.max(0, 1 - progress);
    case "cosine":
      return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * progress)));
    case "constant":
      return 1;
  }
}
