// The graph of a training step, and the models that it is made for. B rows · S tokens per row · N = B · S · C hidden width

import {
  type AttentionBlock,
  after,
  attention,
  checkpoint,
  crossEntropy,
  type DivergenceMeasure,
  depthwise,
  divergence,
  earlierToken,
  embed,
  gatedDeltaRule,
  grad,
  type HostTensor,
  leaf,
  packedBlocks,
  padAxis,
  reshape,
  silu,
  slice,
  type TokenLogprobs,
  type Value,
  withRematerialisation,
} from "mixture-of-shards-graph";
import type { WeightFormat } from "mixture-of-shards-graph/common";
import { type Adapter, adapterHook, adapterLeaves, MERGE_LIMIT } from "#adapters";
import { type Dim, MosError, randomStream } from "#common";
import {
  decoder,
  type EarlierHook,
  eachLinear,
  feedWeights,
  fileWeight,
  floatTensors,
  headWeight,
  type LinearHook,
  type LoadedModel,
  layerWindow,
  listPools,
  type ModelConfig,
  plainLinear,
  type RecurrentHook,
  scoreScale,
  storageFormats,
  type TargetModule,
  weightLeaves,
} from "#models";
import type { Objective } from "./objectives/objective.ts";

/** The shape of a batch, for which a program is compiled. */
export interface StepShape {
  /** B */
  readonly rows: number;
  /** S */
  readonly length: number;
  /** Tokens that no segment exceeds, of this batch and others of the run; S where it is not known. */
  readonly maxSegment?: number;
  /** Tokens of the longest example whose sequences share a prompt; left out where none do. */
  readonly reach?: number | undefined;
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
 * `positions` and `segments` [B, S]. A token attends to its own segment only, and with a `reach` to that of `prompts` [B, S].
 */
export function hiddenStates(
  config: ModelConfig,
  { shape, weights, linear, queryBlock = 128, rematerialise = "none", logitsIndices }: BatchGraphOptions,
): Value {
  const grid: readonly Dim[] = [shape.rows, shape.length];
  const positions = leaf("positions", grid, "int64");
  const segments = leaf("segments", grid, "int32");
  const blocksForLayer = layerBlocks(config, {
    shape,
    positions,
    segments,
    blockSize: Math.min(queryBlock, shape.length),
  });
  const [scale, softCap] = [scoreScale(config), config.attentionSoftCap];
  const earlier = earlierInRows(shape, segments);
  return decoder(config, {
    ids: leaf("ids", grid, "int32"),
    positions,
    layout: [shape.rows * shape.length],
    // of the run, not of this batch: longrope goes by the longest sequence, and all batches train one model
    maxPositions: shape.maxSegment ?? shape.length,
    weights,
    project: eachLinear(weights, linear),
    earlier,
    recurrent: recurrentInRows(config, { shape, segments, earlier }),
    attention: {
      heads: "split",
      attend: ({ q, k, v, layer, sinks }) =>
        attention(q, k, { v, scale, softCap, sinks, blocks: blocksForLayer(layer) }),
    },
    ...(logitsIndices === undefined ? {} : { logitsIndices }),
    ...(rematerialise === "none" ? {} : { mark: checkpoint }),
  });
}

/** Inputs of convolutions in packed rows. Where sequences share a prompt, what is before an answer is fed as `taps`. */
function earlierInRows({ rows, length, reach }: StepShape, segments: Value): EarlierHook {
  return (x, { count }) => {
    const width = x.shape.at(-1) as number;
    const backs = Array.from({ length: count }, (_, i) => count - i);
    if (reach === undefined) {
      const grid = reshape(x, [rows, length, width]);
      return backs.map((back) => reshape(earlierToken(grid, back, segments), x.shape));
    }
    // the last row stands for what is before the first token
    const table = padAxis(x, { axis: 0, before: 0, after: 1 });
    const places = leaf(`taps.${count}`, [count, rows * length], "int32");
    return backs.map((_, i) =>
      embed(table, reshape(slice(places, { axis: 0, from: i, to: i + 1 }), [rows * length])),
    );
  };
}

/** Linear attention in packed rows: its state begins anew at each segment. */
function recurrentInRows(
  { linearAttention }: ModelConfig,
  {
    shape: { rows, length, reach },
    segments,
    earlier,
  }: { readonly shape: StepShape; readonly segments: Value; readonly earlier: EarlierHook },
): RecurrentHook {
  const { keyHeads = 1, valueHeads = 1, keyDim = 1, valueDim = 1, kernel: width = 1 } = linearAttention ?? {};
  const grid = [rows, length];
  return {
    convolve: (x, { layer, kernel }) =>
      silu(depthwise([...earlier(x, { layer, count: width - 1 }), x], kernel)),
    recur({ q, k, v, decay, beta }) {
      if (reach !== undefined)
        throw new MosError("bad_config", "linear attention needs each sequence with a prompt of its own");
      const heads = (x: Value): Value => reshape(x, [...grid, keyHeads, keyDim]);
      const read = gatedDeltaRule(heads(q), heads(k), {
        v: reshape(v, [...grid, valueHeads, valueDim]),
        decay: reshape(decay, [...grid, valueHeads]),
        beta: reshape(beta, [...grid, valueHeads]),
        segments,
      });
      return reshape(read, v.shape);
    },
  };
}

/** Blocks of queries for each layer, which all layers of a kind share. A window that no segment fills is none. */
function layerBlocks(
  config: ModelConfig,
  {
    shape,
    positions,
    segments,
    blockSize,
  }: { shape: StepShape; positions: Value; segments: Value; blockSize: number },
): (layer: number) => readonly AttentionBlock[] {
  const { rows, length, reach } = shape;
  const maxSegment = Math.min(shape.maxSegment ?? length, length);
  const shared =
    reach === undefined ? undefined : { prompts: leaf("prompts", [rows, length], "int32"), positions, reach };
  const made = new Map<number | undefined, readonly AttentionBlock[]>();
  return (layer) => {
    const window = layerWindow(config, layer, maxSegment);
    const blocks = made.get(window) ?? packedBlocks(segments, { blockSize, maxSegment, window, shared });
    made.set(window, blocks);
    return blocks;
  };
}

/** Options of a graph that ends in the log-probabilities of targets. */
export interface TargetLogprobsOptions extends Omit<BatchGraphOptions, "logitsIndices"> {
  /** Target tokens whose logits exist at the same time; 256. */
  readonly headChunk?: number;
  /** Computes gradients, not the loss alone; true. */
  readonly training?: boolean;
  /** How far the student is from a teacher, where it learns that. */
  readonly measure?: DivergenceMeasure | undefined;
}

/** What a batch comes to at its targets. */
export interface Targets extends TokenLogprobs {
  /** What the head reads [labels, C]. */
  readonly hidden: Value;
  /** The divergence from the teacher whose hidden states are fed as `teacher` [labels, C], in nats [labels, 1]. */
  readonly divergence?: Value;
}

/**
 * The log-probability of each target token of a batch [labels, 1], and which targets are not the likeliest: `hiddenStates`
 * with the further inputs `label_indices` and `label_ids` [labels]. The last norm and the head run only where a target is
 * predicted. With a `measure`, gradients come through the divergence alone.
 */
export function targetLogprobs(
  config: ModelConfig,
  { headChunk: chunk = 256, training = true, measure, ...options }: TargetLogprobsOptions,
): Targets {
  const logitsIndices = leaf("label_indices", ["labels"], "int32");
  const hidden = hiddenStates(config, { ...options, logitsIndices }); // [labels, C]
  const head = headWeight(config, options.weights);
  const maxRows = options.shape.rows * options.shape.length;
  const how = { chunk, maxRows, softCap: config.logitSoftCap };
  const labels = leaf("label_ids", ["labels"], "int32");
  if (measure === undefined) return { hidden, ...crossEntropy(hidden, head, { ...how, labels, training }) };
  const teacher = leaf("teacher", hidden.shape);
  return {
    hidden,
    ...crossEntropy(hidden, head, { ...how, labels }),
    divergence: divergence(hidden, head, { ...how, ...measure, teacher, training }),
  };
}

/** Programs over a batch: a training step, the loss alone, the log-probabilities alone, and the hidden states alone. */
export type Pass = "training" | "loss" | "logprobs" | "hidden";

/** Options of what a program computes. */
export interface PassOptions {
  readonly pass: Pass;
  readonly objective: Pick<Objective, "loss">;
  readonly trainable: ReadonlyMap<string, Value>;
}

/** Outputs of a program: `logprobs`, `misses`, `loss`, and in training the gradient of each trainable leaf as `grad.<name>`. */
export function passOutputs(
  { hidden, logprobs, misses, divergence: distance = logprobs }: Targets,
  { pass, objective, trainable }: PassOptions,
): Readonly<Record<string, Value>> {
  if (pass === "logprobs") return { logprobs };
  if (pass === "hidden") return { hidden };
  const loss = objective.loss(distance);
  if (pass === "loss") return { loss, misses, logprobs };
  const gradients = grad(loss, [...trainable.values()]);
  const named = [...trainable.keys()].map((name, i) => [`grad.${name}`, gradients[i] as Value]);
  return { loss, misses, logprobs, ...Object.fromEntries(named) };
}

// Models as they are trained: an adapter on a base, with dropout, or all weights of a base.

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
  /**
   * The linear layers for a batch of this shape; `maskBuffer` holds the dropout masks of a training step. Steps of pairs and the
   * like have so many tokens that they can afford to make merged weights again.
   */
  readonly linear: (
    shape: StepShape,
    maskBuffer: Value | undefined,
    objective?: Pick<Objective, "usesReference">,
  ) => LinearHook;
  /** The length of the mask buffer that a training step of this shape reads; 0 without dropout. */
  readonly maskBufferLength: (shape: StepShape) => number;
}

/** Parameters by name. */
export type Parameters = ReadonlyMap<string, Parameter>;

/** A model without its weights. */
export type PlannedModel = Omit<TrainableModel, "weightData">;

/** A base whose adapter is trained. The adapter's tensors are changed in place. */
export function adapterModel({ config, weights }: LoadedModel, adapter: Adapter): TrainableModel {
  const planned = plannedModel(config, storageFormats(weights), adapter);
  return { ...planned, ...frozenWeights(planned.weights, weights) };
}

/** The same without the weights, of which only the formats are known. */
export function plannedModel(
  config: ModelConfig,
  formats: ReadonlyMap<string, WeightFormat>,
  adapter: Adapter,
): PlannedModel {
  const { config: settings, shapes } = adapter;
  const leaves = adapterLeaves(adapter);
  const weights = weightLeaves(config, formats);
  const pools = listPools(shapes, settings.targets);
  const adapted = pools.reduce((sum, pool) => sum + pool.layers.length * pool.in * pool.out, 0);
  const countRows = (shape: { rows: number; length: number }): number => shape.rows * shape.length;
  const index = ({ layer, linear }: TargetModule): number =>
    layer * settings.targets.length + settings.targets.indexOf(linear);
  return {
    config,
    weights,
    trainable: leaves.trainable,
    parameters: leaves.parameters,
    linear: (shape, maskBuffer, objective) =>
      adapterHook({
        factors: leaves.factors(),
        merge: adapted <= MERGE_LIMIT && (objective?.usesReference === true ? "again" : "kept"),
        ...(maskBuffer === undefined
          ? {}
          : {
              dropoutMask: (target: TargetModule) => {
                const { linear, layer } = target;
                const pool = pools.find((one) => one.linear === linear && one.layers.includes(layer));
                const width = pool?.in ?? 0;
                return dropoutMask(maskBuffer, { rows: countRows(shape), index: index(target), width });
              },
            }),
      }),
    maskBufferLength: (shape) =>
      settings.dropout === 0
        ? 0
        : maskBufferLength({
            rows: countRows(shape),
            maxWidth: Math.max(...pools.map((pool) => pool.in)),
            modules: shapes.layers * settings.targets.length,
          }),
  };
}

/** Linear layers without an adapter. */
const PLAIN = { linear: () => plainLinear, maskBufferLength: () => 0 };

type PlainBase = Pick<LoadedModel, "config" | "weights">;

/** Weights that are not trained: leaves with what they are fed, and constants that stay in a file. */
const frozenWeights = (leaves: PlannedModel["weights"], stored: PlainBase["weights"]) => ({
  weights: new Map(
    [...leaves].map(([name, value]) => {
      const weight = stored.get(name);
      return [name, (weight && fileWeight(weight)) ?? value];
    }),
  ),
  weightData: feedWeights(stored),
});

/** A base as it is, of which only losses are computed. */
export const frozenModel = ({ config, weights }: PlainBase): TrainableModel => ({
  ...PLAIN,
  ...frozenWeights(weightLeaves(config, storageFormats(weights)), weights),
  config,
  trainable: new Map(),
  parameters: new Map(),
});

/** A model all of whose weights are trained, in place; they must be float32. Throws `bad_config` where they are not. */
export function wholeModel({ config, weights: stored }: PlainBase): TrainableModel {
  const weights = weightLeaves(config);
  const parameters = floatTensors(stored);
  return { ...PLAIN, config, weights, weightData: new Map(), trainable: weights, parameters };
}

// Dropout masks are random slices of one shared buffer, since drawing a mask of its own for every linear layer would
// cost 100 times as much.

/** Distance in the buffer between the masks of successive modules; a prime, so that their rows do not align. */
const STRIDE = 7919;

/** The length of a mask buffer for N rows that is long enough for every module, of inputs up to `maxWidth`. */
export const maskBufferLength = ({
  rows,
  maxWidth,
  modules,
}: {
  readonly rows: number;
  readonly maxWidth: number;
  readonly modules: number;
}): number => rows * maxWidth + (modules - 1) * STRIDE;

/**
 * The dropout mask [rows, width] of module `index`: a slice of the buffer, whose elements are 0 or 1 / (1 − probability) and
 * are drawn for every micro-batch. The elements of one mask are independent; masks of different modules overlap.
 */
export function dropoutMask(
  buffer: Value,
  { rows, index, width }: { readonly rows: number; readonly index: number; readonly width: number },
): Value {
  const from = index * STRIDE;
  const cut = (numbers: Value): Value =>
    reshape(slice(numbers, { axis: 0, from, to: from + rows * width }), [rows, width]);
  // it is as large as the layer's input, so the backward pass cuts it out again
  return withRematerialisation(cut(buffer), (others) => cut(after(buffer, others)));
}

/**
 * The mask buffer of one micro-batch. It depends only on the seed and the number of the micro-batch, so that a resumed run
 * draws the same.
 *
 * @throws MosError `bad_option` for a probability outside [0, 1).
 */
export function drawMaskBuffer(
  length: number,
  {
    seed,
    microBatch,
    probability,
  }: { readonly seed: number; readonly microBatch: number; readonly probability: number },
): Float32Array {
  if (!(probability >= 0 && probability < 1))
    throw new MosError("bad_option", `dropout ${probability} is not in [0, 1)`);
  const random = randomStream(seed, `dropout.${microBatch}`);
  const limit = probability * 4294967296;
  const kept = 1 / (1 - probability);
  const buffer = new Float32Array(length);
  for (let i = 0; i < length; i++) buffer[i] = random.uint32() < limit ? 0 : kept;
  return buffer;
}
