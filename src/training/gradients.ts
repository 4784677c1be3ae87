// The program of a training step: its graph, compiled for each shape of a batch, and fed.
import { type Dim, MosError } from "#core";
import type { Batch } from "#data";
import {
  type AttentionBlock,
  attention,
  checkpoint,
  compile,
  crossEntropy,
  grad,
  type HostTensor,
  type LinearHook,
  leaf,
  type Program,
  packedBlocks,
  type SessionOptions,
  type TokenLoss,
  type Value,
} from "#graph";
import { decoder, eachLinear, headWeight, layerWindow, type ModelConfig, scoreScale } from "#models";

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
    throw new MosError("bad_config", `the program returned no values for ${name}`);
  return data;
}

// The graph. B rows · S tokens per row · N = B · S · C hidden width

/** The shape of a batch, for which a program is compiled. */
export interface StepShape {
  /** B */
  readonly rows: number;
  /** S */
  readonly length: number;
  /** Tokens that no segment exceeds, of this batch and others of the run; S where it is not known. */
  readonly maxSegment?: number;
}

/** Part of the forward pass that the backward pass recomputes. */
export type Rematerialise = "none" | "layers";

/** Options of a graph over a batch. */
export interface BatchGraphOptions {
  readonly shape: StepShape;
  /** The base, by the names of its tensors. */
  readonly weights: ReadonlyMap<string, Value>;
  readonly linear: LinearHook;
  /** Queries whose attention probabilities exist at the same time; 128. */
  readonly queryBlock?: number;
  /**
   * Recomputation in the backward pass: "none" beyond the cheapest values, "layers" all but the
   * residual stream before each half of a layer. That costs about a third of a step. "none".
   */
  readonly rematerialise?: Rematerialise;
  /** Tokens whose hidden states are needed, int32 [T], as indices into the N tokens; left out, all are. */
  readonly logitsIndices?: Value;
}

/**
 * Hidden states after the last norm, [T, C] or [N, C], of a batch of packed rows: a graph with the inputs `ids`,
 * `positions` and `segments` [B, S]. A token attends to its own segment only.
 */
export function hiddenStates(
  config: ModelConfig,
  { shape, weights, linear, queryBlock = 128, rematerialise = "none", logitsIndices }: BatchGraphOptions,
): Value {
  const grid: readonly Dim[] = [shape.rows, shape.length];
  const blocksForLayer = layerBlocks(config, shape, Math.min(queryBlock, shape.length));
  const [scale, softCap] = [scoreScale(config), config.attentionSoftCap];
  return decoder(config, {
    ids: leaf("ids", grid, "int32"),
    positions: leaf("positions", grid, "int64"),
    layout: [shape.rows * shape.length],
    // of the run, not of this batch: longrope goes by the longest sequence, and all batches train one model
    maxPositions: shape.maxSegment ?? shape.length,
    weights,
    project: eachLinear(weights, linear),
    attention: {
      heads: "split",
      attend: ({ q, k, v, layer }) => attention(q, k, { v, scale, softCap, blocks: blocksForLayer(layer) }),
    },
    ...(logitsIndices === undefined ? {} : { logitsIndices }),
    ...(rematerialise === "none" ? {} : { mark: checkpoint }),
  });
}

/** Blocks of queries for each layer, which all layers of a kind share. A window that no segment fills is none. */
function layerBlocks(
  config: ModelConfig,
  { rows, length, ...shape }: StepShape,
  blockSize: number,
): (layer: number) => readonly AttentionBlock[] {
  const segments = leaf("segments", [rows, length], "int32");
  const maxSegment = Math.min(shape.maxSegment ?? length, length);
  const made = new Map<number | undefined, readonly AttentionBlock[]>();
  return (layer) => {
    const window = layerWindow(config, layer, maxSegment);
    const blocks = made.get(window) ?? packedBlocks(segments, { blockSize, maxSegment, window });
    made.set(window, blocks);
    return blocks;
  };
}

/** Options of a graph that ends in the loss. */
export interface LossGraphOptions extends Omit<BatchGraphOptions, "logitsIndices"> {
  /** Target tokens whose logits exist at the same time; 256. */
  readonly headChunk?: number;
  /** Computes gradients, not the loss alone; true. */
  readonly training?: boolean;
}

/**
 * The summed cross-entropy of the target tokens of a batch, and how many are predicted wrongly: `hiddenStates` with the further inputs
 * `label_indices` and `label_ids` [labels]. The last norm and the head run only where a target is predicted.
 */
export function lossGraph(
  config: ModelConfig,
  { headChunk = 256, training = true, ...options }: LossGraphOptions,
): TokenLoss {
  const logitsIndices = leaf("label_indices", ["labels"], "int32");
  const hidden = hiddenStates(config, { ...options, logitsIndices }); // [labels, C]
  return crossEntropy(hidden, headWeight(config, options.weights), {
    labels: leaf("label_ids", ["labels"], "int32"),
    chunk: headChunk,
    training,
    maxRows: options.shape.rows * options.shape.length,
    softCap: config.logitSoftCap,
  });
}

/** The outputs of a training step: `loss`, `misses`, and the gradient of each trainable leaf as `grad.<name>`. */
export function stepOutputs(
  { loss, misses }: TokenLoss,
  trainable: ReadonlyMap<string, Value>,
): Readonly<Record<string, Value>> {
  const names = [...trainable.keys()];
  const gradients = grad(loss, [...trainable.values()]);
  return {
    loss,
    misses,
    ...Object.fromEntries(names.map((name, i) => [`grad.${name}`, gradients[i] as Value])),
  };
}
