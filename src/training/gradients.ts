import { MosError } from "#core";
import type { Batch } from "#data";
import {
  compile,
  type HostTensor,
  type LinearHook,
  leaf,
  type Program,
  type SessionOptions,
  type Value,
} from "#graph";
import type { ModelConfig } from "#models";
import { lossGraph, type Rematerialise, type StepShape, stepOutputs } from "./step.ts";

/** A float32 tensor that training changes in place. */
export interface Parameter {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A model, the part of it that is trained, and how its linear layers are computed. */
export interface TrainableModel {
  readonly config: ModelConfig;
  /** Every weight of the base as a value, and the contents of the leaves that it is made of. */
  readonly weights: ReadonlyMap<string, Value>;
  readonly weightData: ReadonlyMap<string, HostTensor>;
  /** The trained leaves (of an adapter, or some of the weights) and their contents, which training overwrites. */
  readonly trainable: ReadonlyMap<string, Value>;
  readonly parameters: ReadonlyMap<string, Parameter>;
  /** The linear layers for a batch of this shape; `maskBuffer` holds the dropout masks of a training step. */
  readonly linear: (shape: StepShape, maskBuffer: Value | undefined) => LinearHook;
  /** The length of the mask buffer that a training step of this shape reads; 0 without dropout. */
  readonly maskBufferLength: (shape: StepShape) => number;
}

/** The loss of a batch: sums, not means, so that batches can be added up. */
export interface BatchLoss {
  /** Summed cross-entropy of the target tokens, in nats. */
  readonly loss: number;
  /** Target tokens. */
  readonly targets: number;
  /** Target tokens that are the likeliest. */
  readonly correct: number;
}

/** The same with gradients. */
export interface BatchGradients extends BatchLoss {
  /** The gradient of `loss`, by parameter. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** Computes losses and gradients of batches of any shape. Holds compiled programs: dispose it. */
export interface GradientSource extends AsyncDisposable {
  /** Loss and gradients of one batch. `drawMasks` draws its mask buffer; without it there is no dropout. */
  gradients(batch: Batch, drawMasks: ((length: number) => Float32Array) | undefined): Promise<BatchGradients>;
  /** The loss alone, without dropout. */
  loss(batch: Batch): Promise<BatchLoss>;
}

const vector = (data: Int32Array): HostTensor => ({ shape: [data.length], data });

function feedBatch(batch: Batch): Record<string, HostTensor> {
  const shape = [batch.rows, batch.length];
  return {
    ids: { shape, data: batch.ids },
    positions: { shape, data: batch.positions },
    segments: { shape, data: batch.segments },
    label_indices: vector(batch.labelIndices),
    label_ids: vector(batch.labelIds),
  };
}

/** A program holds the memory of its largest run, so only those of the two latest shapes are kept. */
const MAX_PROGRAMS = 2;

interface ProgramKey {
  readonly shape: StepShape;
  readonly training: boolean;
}

/** Options of compiling programs, and facts about the batches. */
export interface GradientSourceOptions extends SessionOptions {
  /** Tokens of the longest example of any batch, where it is known; attention then skips keys further back. */
  readonly maxSegment?: number;
  /** Recomputation in the backward pass; "none". */
  readonly rematerialise?: Rematerialise;
}

/** Losses and gradients of a model; a program is compiled for every new shape of a batch. */
export function gradientSource(model: TrainableModel, options: GradientSourceOptions = {}): GradientSource {
  const { maxSegment, rematerialise = "none", ...compileOptions } = options;
  const stepShape = ({ rows, length }: Batch): StepShape => ({
    rows,
    length,
    ...(maxSegment === undefined ? {} : { maxSegment }),
  });
  const programs = new Map<string, Program>();
  const build = async ({ shape, training }: ProgramKey): Promise<Program> => {
    const length = training ? model.maskBufferLength(shape) : 0;
    const maskBuffer = length === 0 ? undefined : leaf("dropout_masks", [length]);
    const loss = lossGraph(model.config, {
      shape,
      weights: model.weights,
      linear: model.linear(shape, maskBuffer),
      training,
      rematerialise: training ? rematerialise : "none",
    });
    const program = await compile(
      training ? stepOutputs(loss, model.trainable) : { ...loss },
      compileOptions,
    );
    for (const [name, data] of [...model.weightData, ...model.parameters])
      if (program.inputs.has(name)) program.bind({ [name]: data });
    return program;
  };
  const programFor = async (key: ProgramKey): Promise<Program> => {
    const name = `${key.training} ${key.shape.rows} ${key.shape.length}`;
    const found = programs.get(name);
    programs.delete(name);
    if (found === undefined && programs.size >= MAX_PROGRAMS) {
      const [oldest] = programs;
      if (oldest !== undefined) {
        programs.delete(oldest[0]);
        await oldest[1][Symbol.asyncDispose]();
      }
    }
    const program = found ?? (await build(key));
    programs.set(name, program);
    return program;
  };
  return {
    async gradients(batch, drawMasks) {
      const shape = stepShape(batch);
      const program = await programFor({ shape, training: true });
      const length = model.maskBufferLength(shape);
      const masks = length === 0 ? undefined : drawMasks?.(length);
      const outputs = await program.run({
        ...feedBatch(batch),
        ...(masks === undefined ? {} : { dropout_masks: { shape: [length], data: masks } }),
      });
      const gradients = new Map(
        [...model.parameters.keys()].map((name) => [name, floats(outputs, `grad.${name}`)]),
      );
      return { ...readLoss(outputs, batch), gradients };
    },
    async loss(batch) {
      const shape = stepShape(batch);
      const program = await programFor({ shape, training: false });
      return readLoss(await program.run(feedBatch(batch)), batch);
    },
    async [Symbol.asyncDispose]() {
      for (const program of programs.values()) await program[Symbol.asyncDispose]();
      programs.clear();
    },
  };
}

function readLoss(outputs: Readonly<Record<string, HostTensor>>, { labelIds }: Batch): BatchLoss {
  const [loss = Number.NaN] = floats(outputs, "loss");
  const [misses = 0] = floats(outputs, "misses");
  return { loss, targets: labelIds.length, correct: labelIds.length - misses };
}

function floats(outputs: Readonly<Record<string, HostTensor>>, name: string): Float32Array {
  const data = outputs[name]?.data;
  if (!(data instanceof Float32Array))
    throw new MosError("bad_config", `the program gave no numbers for ${name}`);
  return data;
}
