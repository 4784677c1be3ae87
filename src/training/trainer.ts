import { MosError } from "#core";
import { type Batch, batches, type EncodedExample, type PlanOptions, planEpoch } from "#data";
import type { CompileOptions } from "#runtime";
import type { TrainingState } from "./checkpoint.ts";
import { drawTape } from "./dropout.ts";
import {
  type BatchGradients,
  type GradientSource,
  gradientSource,
  type TrainableModel,
} from "./gradients.ts";
import { type AdamWOptions, adamW, clipFactor, emptyMoments, globalNorm } from "./optimizer.ts";
import { learningRateFactor, type ScheduleName } from "./schedule.ts";

/** How examples are laid out in batches. */
export interface BatchSettings {
  readonly batchRows: number;
  readonly rowLength: number;
  readonly packed: boolean;
  readonly padToken: number;
}

/** What a run computes. Together with the data and the start it decides every bit of the result. */
export interface TrainSettings extends BatchSettings {
  /** Updates to make. */
  readonly steps: number;
  readonly learningRate: number;
  readonly schedule: ScheduleName;
  /** Updates in which the rate grows to its full value. */
  readonly warmup: number;
  readonly optimizer: AdamWOptions;
  /** Limit of the global gradient norm; 0 does not clip. */
  readonly maxGradientNorm: number;
  /** Micro-batches of one update. */
  readonly accumulate: number;
  /** Probability, on the input of the adapters. */
  readonly dropout: number;
  readonly seed: number;
  /** Updates between evaluations on the held-out part; 0 evaluates at the start and the end only. */
  readonly evaluateEvery: number;
  /** Updates between checkpoints; 0 saves at the end only. */
  readonly saveEvery: number;
}

/** What is trained on what, from where on. */
export interface TrainOptions {
  readonly model: TrainableModel;
  readonly settings: TrainSettings;
  readonly train: readonly EncodedExample[];
  readonly heldOut: readonly EncodedExample[];
  readonly state: TrainingState;
  readonly compile?: CompileOptions;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds of a steady clock. */
  readonly now: () => number;
}

/** One update. */
export interface StepEvent {
  readonly type: "step";
  readonly step: number;
  readonly epoch: number;
  /** Mean cross-entropy over the counted tokens, in nats. */
  readonly loss: number;
  readonly learningRate: number;
  /** Before clipping. */
  readonly gradientNorm: number;
  readonly tokens: number;
  readonly countedTokens: number;
  readonly examples: number;
  readonly seconds: number;
}

/** What happens in a training, in the order in which it does. */
export type TrainEvent =
  | StepEvent
  | {
      readonly type: "evaluation";
      readonly step: number;
      readonly loss: number;
      readonly best: boolean;
      readonly seconds: number;
    }
  /** The moment to save: the state is valid until the next event is asked for. */
  | { readonly type: "checkpoint"; readonly state: TrainingState }
  | { readonly type: "stopped"; readonly step: number };

interface MicroBatch {
  readonly batch: Batch;
  readonly index: number;
  readonly epoch: number;
}

const planOf = (settings: TrainSettings, epoch: number): PlanOptions => ({
  epoch,
  seed: settings.seed,
  batchRows: settings.batchRows,
  rowLength: settings.rowLength,
  packed: settings.packed,
});

/** Packed rows are nearly full, so one shape, and with it one compiled program, serves them all. */
const lengthMultiple = ({ packed, rowLength }: BatchSettings): number => (packed ? rowLength : 64);

/** Updates that `epochs` passes over the data make. */
export function stepsOfEpochs(
  lengths: readonly number[],
  epochs: number,
  settings: Omit<TrainSettings, "steps">,
): number {
  let microBatches = 0;
  for (let epoch = 0; epoch < Math.ceil(epochs); epoch++) {
    const planned = planEpoch(lengths, planOf({ ...settings, steps: 0 }, epoch)).length;
    microBatches += epoch + 1 <= epochs ? planned : Math.round(planned * (epochs - epoch));
  }
  return Math.max(1, Math.ceil(microBatches / settings.accumulate));
}

/** Micro-batches from `start` on, epoch after epoch, without end. */
function* microBatches(
  train: readonly EncodedExample[],
  settings: TrainSettings,
  start: number,
): Generator<MicroBatch, never> {
  const lengths = train.map(({ ids }) => ids.length);
  let index = 0;
  for (let epoch = 0; ; epoch++) {
    const plan = planOf(settings, epoch);
    const count = planEpoch(lengths, plan).length;
    if (index + count <= start) {
      index += count;
      continue;
    }
    const skip = Math.max(0, start - index);
    index += skip;
    const options = {
      ...plan,
      start: skip,
      padToken: settings.padToken,
      lengthMultiple: lengthMultiple(settings),
    };
    for (const batch of batches(train, options)) yield { batch, index: index++, epoch };
  }
}

/** Mean loss over the counted tokens of all examples, in nats. Throws `cancelled` when the signal is aborted. */
export async function evaluateLoss(
  source: GradientSource,
  examples: readonly EncodedExample[],
  { signal, ...layout }: BatchSettings & { readonly signal?: AbortSignal | undefined },
): Promise<number> {
  const inOrder = { epoch: 0, seed: 0, shuffle: false };
  let loss = 0;
  let counted = 0;
  for (const batch of batches(examples, { ...layout, ...inOrder, lengthMultiple: lengthMultiple(layout) })) {
    const part = await source.loss(batch);
    loss += part.loss;
    counted += part.counted;
    await breathe();
    if (signal?.aborted === true) throw new MosError("cancelled", "the evaluation was stopped");
  }
  return loss / counted;
}

/** Lets signals and timers in: the runtime computes on this thread. */
const breathe = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const finite = (
  loss: number,
  norm: number,
  { step, learningRate }: { readonly step: number; readonly learningRate: number },
): void => {
  if (Number.isFinite(loss) && Number.isFinite(norm)) return;
  throw new MosError(
    "diverged",
    `step ${step}: the loss is ${loss} and the gradient norm ${norm} at learning rate ${learningRate}; ` +
      "use a lower --learning-rate or a longer --warmup, and look at the examples of this step. Checkpoints made before are kept",
  );
};

interface Accumulated {
  readonly loss: number;
  readonly counted: number;
  readonly tokens: number;
  readonly examples: number;
  readonly epoch: number;
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

async function accumulateGradients(
  source: GradientSource,
  stream: Iterator<MicroBatch, never>,
  settings: TrainSettings,
): Promise<Accumulated> {
  const { accumulate, seed, dropout } = settings;
  const parts: (BatchGradients & MicroBatch)[] = [];
  let sums: ReadonlyMap<string, Float32Array> | undefined;
  for (let i = 0; i < accumulate; i++) {
    const micro = stream.next().value;
    const tape =
      dropout === 0
        ? undefined
        : (length: number) => drawTape(length, { seed, microBatch: micro.index, probability: dropout });
    const part = await source.gradients(micro.batch, tape);
    for (const [name, sum] of sums ?? []) {
      const more = part.gradients.get(name) ?? new Float32Array(0);
      for (let k = 0; k < more.length; k++) sum[k] = (sum[k] as number) + (more[k] as number);
    }
    sums ??= part.gradients;
    parts.push({ ...part, ...micro });
    await breathe();
  }
  const total = (of: (part: BatchGradients & MicroBatch) => number): number =>
    parts.reduce((sum, part) => sum + of(part), 0);
  return {
    loss: total(({ loss }) => loss),
    counted: total(({ counted }) => counted),
    tokens: total(({ batch }) => batch.tokens),
    examples: total(({ batch }) => batch.examples),
    epoch: parts[0]?.epoch ?? 0,
    gradients: sums ?? new Map(),
  };
}

/**
 * One AdamW update of every parameter; gives the norm of the mean gradient before clipping. Throws `diverged`, with
 * nothing changed, where that or the loss is not finite.
 */
function update(
  state: TrainingState,
  { loss, gradients, counted }: Accumulated,
  options: { settings: TrainSettings; learningRate: number; step: number },
): number {
  const { settings, learningRate, step } = options;
  const norm = globalNorm(gradients.values()) / counted;
  finite(loss / counted, norm, { step, learningRate });
  const clip = settings.maxGradientNorm > 0 ? clipFactor(norm, settings.maxGradientNorm) : 1;
  for (const [name, { data }] of state.parameters) {
    const moments = state.moments.get(name) ?? emptyMoments(data.length);
    const gradient = gradients.get(name) ?? new Float32Array(data.length);
    adamW(data, gradient, {
      ...settings.optimizer,
      moments,
      learningRate,
      step,
      gradientScale: clip / counted,
    });
  }
  return norm;
}

/** Weights that are no numbers any more must not replace a good checkpoint. Throws `diverged`. */
function checkParameters({ step, parameters }: TrainingState): void {
  for (const [name, { data }] of parameters)
    if (!data.every(Number.isFinite))
      throw new MosError(
        "diverged",
        `step ${step}: ${name} holds numbers that are not finite; use a lower --learning-rate. Checkpoints made before are kept`,
      );
}

/** The last update, and every so many before it; 0 stands for the last one alone. */
const isDue = (step: number, every: number, { steps }: TrainSettings): boolean =>
  step === steps || (every > 0 && step % every === 0);

/** Whether the held-out loss is known, or not wanted, at this step. */
const isMeasured = ({ step, evaluated }: TrainingState, { heldOut, settings }: TrainOptions): boolean =>
  heldOut.length === 0 ||
  evaluated === step ||
  !(step === 0 || isDue(step, settings.evaluateEvery, settings));

const longestOf = (examples: readonly EncodedExample[]): number =>
  examples.reduce((most, { ids }) => Math.max(most, ids.length), 1);

interface Progress {
  readonly state: TrainingState;
  readonly event: StepEvent;
}

/** Makes one update. */
async function makeStep(
  state: TrainingState,
  source: GradientSource,
  { stream, settings, now }: Pick<TrainOptions, "settings" | "now"> & { stream: Iterator<MicroBatch, never> },
): Promise<Progress> {
  const started = now();
  const { steps, warmup, schedule: name } = settings;
  const learningRate = settings.learningRate * learningRateFactor(state.step, { name, steps, warmup });
  const gathered = await accumulateGradients(source, stream, settings);
  const step = state.step + 1;
  const gradientNorm = update(state, gathered, { settings, learningRate, step });
  const { tokens, counted, examples, epoch } = gathered;
  const event: StepEvent = {
    type: "step",
    step,
    epoch,
    loss: gathered.loss / counted,
    learningRate,
    gradientNorm,
    tokens,
    countedTokens: counted,
    examples,
    seconds: (now() - started) / 1000,
  };
  return { state: { ...state, step }, event };
}

/**
 * Trains in place from `state` to the last step. An aborted signal ends it after the step at hand, with a checkpoint;
 * an evaluation that it cuts short is made first when the run goes on.
 * Throws `diverged` at a loss or a weight that is not finite.
 *
 * @example
 * for await (const event of train(options)) if (event.type === "step") console.log(event.loss);
 */
export async function* train(options: TrainOptions): AsyncGenerator<TrainEvent, void> {
  const { model, settings, heldOut, signal, now } = options;
  if (options.train.length === 0) throw new MosError("bad_data", "there are no examples to train on");
  const longest = longestOf([...options.train, ...heldOut]);
  await using source = gradientSource(model, { ...options.compile, longest });
  const stream = microBatches(options.train, settings, options.state.step * settings.accumulate);
  let state = options.state;
  let saved = state.step;
  const isStopped = (): boolean => signal?.aborted === true;
  const save = function* (isWanted: boolean): Generator<TrainEvent> {
    if (!isWanted || saved === state.step) return;
    checkParameters(state);
    saved = state.step;
    yield { type: "checkpoint", state };
  };
  while (!isStopped()) {
    if (!isMeasured(state, options)) {
      const measured = await measure(state, source, options);
      if (measured === undefined) break;
      state = measured.state;
      yield measured.event;
    }
    yield* save(isDue(state.step, settings.saveEvery, settings));
    if (state.step === settings.steps) return;
    // whoever got these events may have stopped the run
    if (isStopped()) break;
    const made = await makeStep(state, source, { stream, settings, now });
    state = made.state;
    yield made.event;
  }
  yield* save(true);
  if (state.step < settings.steps || !isMeasured(state, options)) yield { type: "stopped", step: state.step };
}

/** Evaluates on the held-out part; undefined if the signal cut it short. */
async function measure(
  state: TrainingState,
  source: GradientSource,
  { heldOut, settings, signal, now }: TrainOptions,
): Promise<{ readonly state: TrainingState; readonly event: TrainEvent } | undefined> {
  const started = now();
  const { step } = state;
  const loss = await evaluateLoss(source, heldOut, { ...settings, signal }).catch((error: unknown) => {
    if (error instanceof MosError && error.code === "cancelled") return undefined;
    throw error;
  });
  if (loss === undefined) return undefined;
  if (!Number.isFinite(loss))
    throw new MosError(
      "diverged",
      `step ${step}: the held-out loss is ${loss}; use a lower --learning-rate. Checkpoints made before are kept`,
    );
  const isBest = step > 0 && loss < (state.best?.loss ?? Number.POSITIVE_INFINITY);
  return {
    state: { ...state, evaluated: step, best: isBest ? { step, loss } : state.best },
    event: { type: "evaluation", step, loss, best: isBest, seconds: (now() - started) / 1000 },
  };
}
