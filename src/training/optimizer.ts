// The optimizer, AdamW, and the schedule of its learning rate.
import { MosError } from "#core";

/** Constants of AdamW, by default those of torch.optim without weight decay. */
export interface AdamWOptions {
  /** Decay rate of the first moment; 0.9. */
  readonly beta1?: number;
  /** Decay rate of the second moment; 0.999. */
  readonly beta2?: number;
  /** 1e-8 */
  readonly epsilon?: number;
  /** Decoupled: each step shrinks a parameter by learning rate · decay (Loshchilov and Hutter, 2019); 0. */
  readonly weightDecay?: number;
}

/** First and second moments of one tensor, of its length. */
export interface Moments {
  readonly first: Float32Array;
  readonly second: Float32Array;
}

/** The moments before the first update of a tensor of `length` numbers: zeros. */
export const emptyMoments = (length: number): Moments => ({
  first: new Float32Array(length),
  second: new Float32Array(length),
});

/** Inputs of one AdamW step of one tensor. */
export interface AdamWStep extends AdamWOptions {
  readonly moments: Moments;
  readonly learningRate: number;
  /** Updates made before this one, plus one: 1, 2, … */
  readonly step: number;
  /** Factor on the gradient: 1 / target tokens, times the clip factor. */
  readonly gradientScale: number;
}

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

/** The course of the learning rate after its warm-up. */
export type ScheduleName = "linear" | "cosine" | "constant";
/** All schedules. */
export const SCHEDULES: readonly ScheduleName[] = ["linear", "cosine", "constant"];

/** A schedule for a run. */
export interface ScheduleOptions {
  readonly name: ScheduleName;
  /** Optimizer steps of the whole run. */
  readonly steps: number;
  /** Steps of the warm-up, in which the learning rate grows linearly from 0. */
  readonly warmup: number;
}

/**
 * The factor on the learning rate at optimizer step s = 0, 1, …, that of transformers' schedulers: s / warm-up, then
 * (steps − s) / (steps − warm-up), half a cosine to 0, or 1.
 *
 * @throws MosError `bad_option` for a warm-up longer than the run.
 */
export function learningRateFactor(step: number, { name, steps, warmup }: ScheduleOptions): number {
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
