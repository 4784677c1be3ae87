// The graph of a training step. B rows · S tokens per row · N = B · S · C hidden width

import {
  type AttentionBlock,
  attention,
  checkpoint,
  crossEntropy,
  grad,
  leaf,
  packedBlocks,
  type TokenLogprobs,
  type Value,
} from "mixture-of-shards-graph";
import type { Dim } from "#common";
import {
  decoder,
  eachLinear,
  headWeight,
  type LinearHook,
  layerWindow,
  type ModelConfig,
  scoreScale,
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
  const blocksForLayer = layerBlocks(config, {
    shape,
    positions,
    blockSize: Math.min(queryBlock, shape.length),
  });
  const [scale, softCap] = [scoreScale(config), config.attentionSoftCap];
  return decoder(config, {
    ids: leaf("ids", grid, "int32"),
    positions,
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
  { shape, positions, blockSize }: { shape: StepShape; positions: Value; blockSize: number },
): (layer: number) => readonly AttentionBlock[] {
  const { rows, length, reach } = shape;
  const segments = leaf("segments", [rows, length], "int32");
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
}

/**
 * The log-probability of each target token of a batch [labels, 1], and which targets are not the likeliest: `hiddenStates`
 * with the further inputs `label_indices` and `label_ids` [labels]. The last norm and the head run only where a target is
 * predicted.
 */
export function targetLogprobs(
  config: ModelConfig,
  { headChunk = 256, training = true, ...options }: TargetLogprobsOptions,
): TokenLogprobs {
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

/** Programs over a batch: a training step, the loss alone, and the log-probabilities alone. */
export type Pass = "training" | "loss" | "logprobs";

/** Options of what a program computes. */
export interface PassOptions {
  readonly pass: Pass;
  readonly objective: Pick<Objective, "loss">;
  readonly trainable: ReadonlyMap<string, Value>;
}

/** Outputs of a program: `logprobs`, `misses`, `loss`, and in training the gradient of each trainable leaf as `grad.<name>`. */
export function passOutputs(
  { logprobs, misses }: TokenLogprobs,
  { pass, objective, trainable }: PassOptions,
): Readonly<Record<string, Value>> {
  if (pass === "logprobs") return { logprobs };
  const loss = objective.loss(logprobs);
  if (pass === "loss") return { loss, misses, logprobs };
  const gradients = grad(loss, [...trainable.values()]);
  const named = [...trainable.keys()].map((name, i) => [`grad.${name}`, gradients[i] as Value]);
  return { loss, misses, logprobs, ...Object.fromEntries(named) };
}
