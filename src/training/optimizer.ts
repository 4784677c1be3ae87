/** Constants of AdamW; those of torch.optim where they are left out, but no decay. */
export interface AdamWOptions {
  /** Decay rates of the first and second moment. */
  readonly beta1?: number;
  readonly beta2?: number;
  readonly epsilon?: number;
  /** Decoupled: each step shrinks a parameter by rate · decay (Loshchilov and Hutter, 2019). */
  readonly weightDecay?: number;
}

/** First and second moments of one tensor. */
export interface Moments {
  readonly first: Float32Array;
  readonly second: Float32Array;
}

/** Moments before the first update, for a tensor of so many numbers. */
export const emptyMoments = (length: number): Moments => ({
  first: new Float32Array(length),
  second: new Float32Array(length),
});

/** What one update of one tensor needs. */
export interface UpdateOptions extends AdamWOptions {
  readonly moments: Moments;
  readonly learningRate: number;
  /** Updates made before this one, plus one: 1, 2, … */
  readonly step: number;
  /** Factor on the gradient: 1 / counted tokens, and clipping. */
  readonly gradientScale: number;
}

/** One AdamW update in place. Plain arithmetic in double precision, stored as float32: the same on every machine. */
export function adamW(parameter: Float32Array, gradient: Float32Array, options: UpdateOptions): void {
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

/** The factor that brings a gradient of this norm to at most `limit`, as torch.nn.utils.clip_grad_norm_ has it. */
export const clipFactor = (norm: number, limit: number): number => Math.min(1, limit / (norm + 1e-6));
