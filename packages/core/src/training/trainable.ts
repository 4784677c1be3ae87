// Models as they are trained: an adapter on a base, with dropout, or all weights of a base.

import { after, reshape, slice, type Value, withRematerialisation } from "mixture-of-shards-graph";
import type { WeightFormat } from "mixture-of-shards-graph/common";
import { type Adapter, adapterHook, adapterLeaves, MERGE_LIMIT } from "#adapters";
import { MosError, randomStream } from "#common";
import {
  feedWeights,
  floatTensors,
  type LoadedModel,
  type ModelConfig,
  plainLinear,
  storageFormats,
  type TargetModule,
  weightLeaves,
} from "#models";
import type { TrainableModel } from "./gradients.ts";

/** A model without its weights. */
export type PlannedModel = Omit<TrainableModel, "weightData">;

/** A base whose adapter is trained. The adapter's tensors are changed in place. */
export function adapterModel({ config, weights }: LoadedModel, adapter: Adapter): TrainableModel {
  return { ...plannedModel(config, storageFormats(weights), adapter), weightData: feedWeights(weights) };
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
  const widths = settings.targets.map((name) => shapes.widths[name] ?? { in: 0, out: 0 });
  const adapted = shapes.layers * widths.reduce((sum, width) => sum + width.in * width.out, 0);
  const countRows = (shape: { rows: number; length: number }): number => shape.rows * shape.length;
  const index = ({ layer, linear }: TargetModule): number =>
    layer * settings.targets.length + settings.targets.indexOf(linear);
  return {
    config,
    weights,
    trainable: leaves.trainable,
    parameters: leaves.parameters,
    linear: (shape, maskBuffer) =>
      adapterHook({
        factors: leaves.factors(),
        merge: maskBuffer === undefined && adapted <= MERGE_LIMIT,
        ...(maskBuffer === undefined
          ? {}
          : {
              dropoutMask: (target: TargetModule) => {
                const width = shapes.widths[target.linear]?.in ?? 0;
                return dropoutMask(maskBuffer, { rows: countRows(shape), index: index(target), width });
              },
            }),
      }),
    maskBufferLength: (shape) =>
      settings.dropout === 0
        ? 0
        : maskBufferLength({
            rows: countRows(shape),
            maxWidth: Math.max(...widths.map((width) => width.in)),
            modules: shapes.layers * settings.targets.length,
          }),
  };
}

/** A base as it is, of which only losses are computed. */
export function frozenModel({
  config,
  weights: stored,
}: Pick<LoadedModel, "config" | "weights">): TrainableModel {
  return {
    config,
    weights: weightLeaves(config, storageFormats(stored)),
    weightData: feedWeights(stored),
    trainable: new Map(),
    parameters: new Map(),
    linear: () => plainLinear,
    maskBufferLength: () => 0,
  };
}

/** A model all of whose weights are trained, in place; they must be float32. Throws `bad_config` where they are not. */
export function wholeModel({
  config,
  weights: weightData,
}: Pick<LoadedModel, "config" | "weights">): TrainableModel {
  const weights = weightLeaves(config);
  return {
    config,
    weights,
    weightData: new Map(),
    trainable: weights,
    parameters: floatTensors(weightData),
    linear: () => plainLinear,
    maskBufferLength: () => 0,
  };
}

// Dropout masks are random slices of one shared buffer, since drawing a mask of its own for every linear layer would
// cost 100 times as much.

/** Distance in the buffer between the masks of successive modules; a prime, so that their rows do not align. */
const STRIDE = 7919;

/** The masks that a buffer must hold. */
export interface MaskBufferOptions {
  /** Rows of a batch, N. */
  readonly rows: number;
  /** The widest input of an adapted linear layer. */
  readonly maxWidth: number;
  /** Adapted linear layers. */
  readonly modules: number;
}

/** The length of a mask buffer that is long enough for every module. */
export const maskBufferLength = ({ rows, maxWidth, modules }: MaskBufferOptions): number =>
  rows * maxWidth + (modules - 1) * STRIDE;

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
