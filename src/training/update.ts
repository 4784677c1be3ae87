// One update: gradients accumulated over micro-batches, clipped, and applied by AdamW.
import { MosError } from "#core";
import type { TrainingState } from "./checkpoint.ts";
import { drawMaskBuffer } from "./dropout.ts";
import type { BatchGradients, GradientSource } from "./gradients.ts";
import type { MicroBatch, MicroBatchSettings } from "./micro-batches.ts";
import {
  type AdamWOptions,
  adamW,
  clipFactor,
  emptyMoments,
  globalNorm,
  learningRateFactor,
  type ScheduleName,
} from "./optimizer.ts";

/** What decides an update, together with its micro-batches. */
export interface UpdateSettings extends MicroBatchSettings {
  /** Updates of the whole run. */
  readonly steps: number;
  /** At the end of the warm-up. */
  readonly learningRate: number;
  readonly schedule: ScheduleName;
  /** Updates of the warm-up, in which the learning rate grows linearly from 0. */
  readonly warmup: number;
  readonly optimizer: AdamWOptions;
  /** Limit of the global gradient norm; 0 does not clip. */
  readonly maxGradientNorm: number;
  /** Dropout probability, on the input of the adapters. */
  readonly dropout: number;
}

/** One update. */
export interface StepEvent {
  readonly type: "step";
  /** Updates made, this one included. */
  readonly step: number;
  /** Of the first micro-batch, from 0. */
  readonly epoch: number;
  /** Mean cross-entropy over the target tokens, in nats. */
  readonly loss: number;
  /** Share of the target tokens that are the likeliest. */
  readonly accuracy: number;
  readonly learningRate: number;
  /** Global norm of the mean gradient before clipping. */
  readonly gradientNorm: number;
  /** Tokens of the micro-batches, without padding. */
  readonly tokens: number;
  /** Tokens in the loss. */
  readonly targetTokens: number;
  readonly examples: number;
  readonly seconds: number;
}

/** Lets signals and timers run, since the runtime computes on this thread. */
export const yieldToEventLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Accumulated {
  readonly loss: number;
  readonly correct: number;
  readonly targets: number;
  readonly tokens: number;
  readonly examples: number;
  readonly epoch: number;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

async function accumulateGradients(
  source: GradientSource,
  stream: Iterator<MicroBatch, never>,
  settings: UpdateSettings,
): Promise<Accumulated> {
  const { accumulate, seed, dropout } = settings;
  const parts: (BatchGradients & MicroBatch)[] = [];
  let sums: ReadonlyMap<string, Float32Array> | undefined;
  for (let i = 0; i < accumulate; i++) {
    const micro = stream.next().value;
    const drawMasks =
      dropout === 0
        ? undefined
        : (length: number) => drawMaskBuffer(length, { seed, microBatch: micro.index, probability: dropout });
    const part = await source.gradients(micro.batch, drawMasks);
    for (const [name, sum] of sums ?? []) {
      const more = part.gradients.get(name) ?? new Float32Array(0);
      for (let k = 0; k < more.length; k++) sum[k] = (sum[k] as number) + (more[k] as number);
    }
    sums ??= part.gradients;
    parts.push({ ...part, ...micro });
    await yieldToEventLoop();
  }
  const total = (of: (part: BatchGradients & MicroBatch) => number): number =>
    parts.reduce((sum, part) => sum + of(part), 0);
  return {
    loss: total(({ loss }) => loss),
    correct: total(({ correct }) => correct),
    targets: total(({ targets }) => targets),
    tokens: total(({ batch }) => batch.tokens),
    examples: total(({ batch }) => batch.examples),
    epoch: parts[0]?.epoch ?? 0,
    gradients: sums ?? new Map(),
  };
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
      "use a lower --learning-rate or a longer --warmup, and look at the examples of this step. Checkpoints made before are kept",
  );
}

/**
 * One AdamW step of every parameter, in place; returns the norm of the mean gradient before clipping. Throws `diverged`,
 * with nothing changed, where the norm or the loss is not finite.
 */
function applyGradients(
  state: TrainingState,
  { loss, gradients, targets }: Accumulated,
  options: { settings: UpdateSettings; learningRate: number; step: number },
): number {
  const { settings, learningRate, step } = options;
  const norm = globalNorm(gradients.values()) / targets;
  checkFinite(loss / targets, norm, { step, learningRate });
  const clip = settings.maxGradientNorm > 0 ? clipFactor(norm, settings.maxGradientNorm) : 1;
  for (const [name, { data }] of state.parameters) {
    const moments = state.moments.get(name) ?? emptyMoments(data.length);
    const gradient = gradients.get(name) ?? new Float32Array(data.length);
    adamW(data, gradient, {
      ...settings.optimizer,
      moments,
      learningRate,
      step,
      gradientScale: clip / targets,
    });
  }
  return norm;
}

/** What an update needs besides the state. */
export interface UpdateOptions {
  readonly source: GradientSource;
  readonly stream: Iterator<MicroBatch, never>;
  readonly settings: UpdateSettings;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

/** Makes one update in place, and returns the state after it with its event. Throws `diverged`. */
export async function makeUpdate(
  state: TrainingState,
  { source, stream, settings, now }: UpdateOptions,
): Promise<{ readonly state: TrainingState; readonly event: StepEvent }> {
  const started = now();
  const { steps, warmup, schedule: name } = settings;
  const learningRate = settings.learningRate * learningRateFactor(state.step, { name, steps, warmup });
  const accumulated = await accumulateGradients(source, stream, settings);
  const step = state.step + 1;
  const gradientNorm = applyGradients(state, accumulated, { settings, learningRate, step });
  const { tokens, targets, examples, epoch } = accumulated;
  const event: StepEvent = {
    type: "step",
    step,
    epoch,
    loss: accumulated.loss / targets,
    accuracy: accumulated.correct / targets,
    learningRate,
    gradientNorm,
    tokens,
    targetTokens: targets,
    examples,
    seconds: (now() - started) / 1000,
  };
  return { state: { ...state, step }, event };
}
