// B rows · S tokens per row · N = B · S · C hidden width
import { attention, crossEntropy, type Dim, grad, leaf, packedBlocks, type Value } from "#graph";
import { decoder, eachLinear, headWeight, type LlamaConfig } from "#models";
import type { LinearHook } from "#nn";

/** The shape of a batch, which a program is compiled for. */
export interface StepShape {
  /** B */
  readonly rows: number;
  /** S */
  readonly length: number;
  /** No segment of a row is longer than this; S where it is not known. */
  readonly longest?: number;
}

/** What a graph over a batch is built from. */
export interface BatchGraphOptions {
  readonly shape: StepShape;
  readonly weights: ReadonlyMap<string, Value>;
  readonly linear: LinearHook;
  /** Queries whose probabilities exist at the same time. */
  readonly queryBlock?: number;
  /** Tokens whose hidden states are needed, int32 [T], as indices into the N tokens; left out, all are. */
  readonly logitsIndices?: Value;
}

/**
 * Hidden states behind the last norm, [T, C] or [N, C], of a batch of packed rows: a graph with the inputs `ids`,
 * `positions` and `segments` [B, S]. A token sees its own segment only.
 */
export function hiddenStates(
  config: LlamaConfig,
  { shape, weights, linear, queryBlock = 128, logitsIndices }: BatchGraphOptions,
): Value {
  const grid: readonly Dim[] = [shape.rows, shape.length];
  const blocks = packedBlocks(leaf("segments", grid, "int32"), {
    blockSize: Math.min(queryBlock, shape.length),
    window: shape.longest ?? shape.length,
  });
  const scale = 1 / Math.sqrt(config.headDim);
  return decoder(config, {
    ids: leaf("ids", grid, "int32"),
    positions: leaf("positions", grid, "int64"),
    layout: [shape.rows * shape.length],
    maxPositions: shape.length,
    weights,
    project: eachLinear(weights, linear),
    attention: { heads: "split", attend: ({ q, k, v }) => attention(q, k, { v, scale, blocks }) },
    ...(logitsIndices === undefined ? {} : { logitsIndices }),
  });
}

/** The same with a loss at the end. */
export interface LossGraphOptions extends Omit<BatchGraphOptions, "logitsIndices"> {
  /** Counted rows whose logits exist at the same time. */
  readonly headChunk?: number;
  /** The graph is for gradients, not for the loss alone. */
  readonly training?: boolean;
}

/**
 * The summed cross-entropy over the counted positions of a batch: `hiddenStates` with the further inputs
 * `label_positions` and `label_ids` [labels]. The last norm and the head run on counted rows only.
 */
export function lossGraph(
  config: LlamaConfig,
  { headChunk = 256, training = true, ...options }: LossGraphOptions,
): Value {
  const logitsIndices = leaf("label_positions", ["labels"], "int32");
  const hidden = hiddenStates(config, { ...options, logitsIndices }); // [labels, C]
  return crossEntropy(hidden, headWeight(config, options.weights), {
    labels: leaf("label_ids", ["labels"], "int32"),
    chunk: headChunk,
    training,
    maxRows: options.shape.rows * options.shape.length,
  });
}

/** `loss` and the gradient of each trainable leaf as `grad.<name>`. */
export function stepOutputs(
  loss: Value,
  trainable: ReadonlyMap<string, Value>,
): Readonly<Record<string, Value>> {
  const names = [...trainable.keys()];
  const gradients = grad(loss, [...trainable.values()]);
  return { loss, ...Object.fromEntries(names.map((name, i) => [`grad.${name}`, gradients[i] as Value])) };
}
