// The program of a training step: its graph, compiled for each shape of a batch, and fed.

import { compile, type HostTensor, leaf, type Program, type SessionOptions } from "mixture-of-shards-graph";
import { MosError, omitUndefined } from "#common";
import { type Batch, earlierTokens } from "#data";
import {
  addMetrics,
  batchTotals,
  type Feeds,
  type Metrics,
  type Objective,
  plainTraining,
  type Totals,
} from "./objectives/objective.ts";
import {
  type Parameters,
  type Pass,
  passOutputs,
  type Rematerialise,
  type StepShape,
  type TrainableModel,
  targetLogprobs,
} from "./step-graph.ts";

/** The loss of a batch: sums, not means, so that batches can be added up. */
export interface BatchLoss {
  /** Summed loss of the objective; of plain training the cross-entropy of the target tokens, in nats. */
  readonly loss: number;
  /** What the sum is divided by. */
  readonly count: number;
  /** Target tokens that are learnt. */
  readonly targets: number;
  /** Those of them that are the likeliest. */
  readonly correct: number;
  /** What else the objective reports. */
  readonly metrics: Metrics;
}

/** The loss of no batch. */
export const NO_LOSS: BatchLoss = { loss: 0, correct: 0, targets: 0, count: 0, metrics: {} };

/** The loss of both. */
export const addLosses = (a: BatchLoss, b: BatchLoss): BatchLoss => ({
  loss: a.loss + b.loss,
  correct: a.correct + b.correct,
  targets: a.targets + b.targets,
  count: a.count + b.count,
  metrics: addMetrics(a.metrics, b.metrics),
});

/** The same with gradients. */
export interface BatchGradients extends BatchLoss {
  /** The gradient of `loss`, by parameter. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** Computes losses and gradients of batches of any shape. Holds compiled programs: dispose it. */
export interface GradientSource extends AsyncDisposable {
  /**
   * Loss and gradients of one batch. `drawMasks` draws its mask buffer; without it there is no dropout. `update` are the sizes
   * of the update that the batch is a part of, if it is not all of it.
   */
  gradients(
    batch: Batch,
    drawMasks: ((length: number) => Float32Array) | undefined,
    update?: Totals,
  ): Promise<BatchGradients>;
  /** The same for a batch whose gradient is known to be 0: it counts, and nothing is computed. */
  skip(batch: Batch): BatchGradients;
  /** The loss alone, without dropout. */
  loss(batch: Batch, update?: Totals): Promise<BatchLoss>;
  /** The log-probability of each target, without dropout, by other parameters where they are given. */
  logprobs(batch: Batch, parameters?: Parameters): Promise<Float32Array>;
  /** What the head reads at each target [labels, hidden width], likewise. */
  hidden(batch: Batch, parameters?: Parameters): Promise<Float32Array>;
}

const vector = (data: Int32Array): HostTensor => ({ shape: [data.length], data });

function feedBatch(batch: Batch, { inputs }: Pick<Program, "inputs">): Record<string, HostTensor> {
  const shape = [batch.rows, batch.length];
  const { segments, prompts = segments } = batch;
  const taps = [...inputs.keys()].flatMap((name) => {
    const count = Number(/^taps\.(\d+)$/.exec(name)?.[1]);
    return Number.isNaN(count) ? [] : [[name, count] as const];
  });
  return {
    ids: { shape, data: batch.ids },
    positions: { shape, data: batch.positions },
    segments: { shape, data: segments },
    ...(inputs.has("prompts") ? { prompts: { shape, data: prompts } } : {}),
    ...Object.fromEntries(
      taps.map(([name, count]) => [
        name,
        { shape: [count, segments.length], data: earlierTokens(batch, count) },
      ]),
    ),
    label_indices: vector(batch.labelIndices),
    ...(inputs.has("label_ids") ? { label_ids: vector(batch.labelIds) } : {}),
  };
}

/** A program holds the memory of its largest run, so only the latest two are kept; three where a teacher has one of its own. */
const maxPrograms = ({ divergence }: Objective): number => (divergence === undefined ? 2 : 3);

/** Options of compiling programs, and facts about the batches. */
export interface GradientSourceOptions extends SessionOptions {
  /** What is minimised; the cross-entropy of target tokens by default. */
  readonly objective?: Objective;
  /** Parameters of the reference, for an objective that asks for its log-probabilities. */
  readonly reference?: Parameters | undefined;
  /** Tokens of the longest sequence of any batch, where it is known; attention then skips keys further back. */
  readonly maxSegment?: number;
  /** Tokens of the longest example of any batch whose sequences share a prompt; the length of a batch where it is not known. */
  readonly reach?: number | undefined;
  /** Recomputation in the backward pass; "none". */
  readonly rematerialise?: Rematerialise;
}

/** Losses and gradients of a model; a program is compiled for every new shape of a batch. */
export function gradientSource(model: TrainableModel, options: GradientSourceOptions = {}): GradientSource {
  const { reference, objective = plainTraining, maxSegment } = options;
  const programs = programCache(model, options);
  const measured =
    (name: "logprobs" | "hidden"): GradientSource["logprobs"] =>
    async (batch, parameters) => {
      const program = await programs.get(batch, name);
      const given = Object.fromEntries([...(parameters ?? [])].filter(([one]) => program.inputs.has(one)));
      return floats(await program.run({ ...feedBatch(batch, program), ...given }), name);
    };
  const [logprobs, hidden] = [measured("logprobs"), measured("hidden")];
  const parametersOf = (of: "policy" | "reference") => (of === "policy" ? undefined : reference);
  const feeds = async (batch: Batch, update: Totals): Promise<Feeds> =>
    objective.feeds(batch, {
      update,
      longest: maxSegment ?? model.config.maxPositions,
      logprobs: (other, of) => logprobs(other, parametersOf(of)),
      hidden: (other, of) => hidden(other, parametersOf(of)),
    });
  const readLoss = (outputs: Feeds, batch: Batch, fed: Feeds): BatchLoss => {
    const [loss = Number.NaN] = floats(outputs, "loss");
    const misses = floats(outputs, "misses");
    const learnt = misses.filter((_, label) => batch.columns.anchor?.[label] !== 1);
    const correct = learnt.reduce((count, isMiss) => count + 1 - isMiss, 0);
    const metrics = objective.metrics(batch, floats(outputs, "logprobs"), fed);
    return { loss, count: objective.count(batch), targets: learnt.length, correct, metrics };
  };
  return {
    async gradients(batch, drawMasks, update = batchTotals(batch)) {
      const fed = await feeds(batch, update);
      const program = await programs.get(batch, "training");
      const length = model.maskBufferLength(batch);
      const masks = length === 0 ? undefined : drawMasks?.(length);
      const outputs = await program.run({
        ...feedBatch(batch, program),
        ...fed,
        ...(masks === undefined ? {} : { dropout_masks: { shape: [length], data: masks } }),
      });
      const gradients = new Map(
        [...model.parameters.keys()].map((name) => [name, floats(outputs, `grad.${name}`)]),
      );
      return { ...readLoss(outputs, batch, fed), gradients };
    },
    skip: (batch) => ({
      ...NO_LOSS,
      count: objective.count(batch),
      gradients: new Map(
        [...model.parameters].map(([name, { data }]) => [name, new Float32Array(data.length)]),
      ),
    }),
    async loss(batch, update = batchTotals(batch)) {
      const fed = await feeds(batch, update);
      const program = await programs.get(batch, "loss");
      return readLoss(await program.run({ ...feedBatch(batch, program), ...fed }), batch, fed);
    },
    logprobs,
    hidden,
    [Symbol.asyncDispose]: () => programs[Symbol.asyncDispose](),
  };
}

/** The compiled programs of a model. */
function programCache(
  model: TrainableModel,
  {
    maxSegment,
    reach: known,
    reference: _,
    objective = plainTraining,
    rematerialise = "none",
    ...session
  }: GradientSourceOptions,
) {
  const { config, weights, trainable } = model;
  const build = async (shape: StepShape, pass: Pass): Promise<Program> => {
    const training = pass === "training";
    const length = training ? model.maskBufferLength(shape) : 0;
    const logprobs = targetLogprobs(config, {
      shape,
      weights,
      linear: model.linear(shape, length === 0 ? undefined : leaf("dropout_masks", [length]), objective),
      training,
      measure: objective.divergence,
      rematerialise: training ? rematerialise : "none",
    });
    const fixed = Object.fromEntries(model.weightData);
    const outputs = passOutputs(logprobs, { pass, objective, trainable });
    const program = await compile(outputs, { ...session, fixed });
    for (const [name, data] of model.parameters) if (program.inputs.has(name)) program.bind({ [name]: data });
    return program;
  };
  const programs = new Map<string, Program>();
  return {
    async get({ rows, length, prompts }: Batch, pass: Pass): Promise<Program> {
      const reach = known ?? (prompts === undefined ? undefined : length);
      const name = `${pass} ${rows} ${length} ${reach}`;
      const found = programs.get(name);
      programs.delete(name);
      if (found === undefined && programs.size >= maxPrograms(objective)) {
        const [oldest] = programs;
        if (oldest !== undefined) {
          programs.delete(oldest[0]);
          await oldest[1][Symbol.asyncDispose]();
        }
      }
      const shape = { rows, length, reach, ...omitUndefined({ maxSegment }) };
      const program = found ?? (await build(shape, pass));
      programs.set(name, program);
      return program;
    },
    async [Symbol.asyncDispose](): Promise<void> {
      for (const program of programs.values()) await program[Symbol.asyncDispose]();
      programs.clear();
    },
  };
}

function floats(outputs: Readonly<Record<string, HostTensor>>, name: string): Float32Array {
  const data = outputs[name]?.data;
  if (!(data instanceof Float32Array))
    throw new MosError("bad_config", `the program returned no values for ${name}`);
  return data;
}
