// Estimate of a step's time on this machine without the model: a model that is one layer thick, with weights of zeros and
// its share of the vocabulary, makes real steps. The number of layers times its time is that of the whole one.
import { countElements } from "#core";
import {
  compile,
  type DType,
  type HostTensor,
  type LeafType,
  leaf,
  type SessionOptions,
  sortNodes,
  type TensorData,
  type Value,
} from "#graph";
import { type ModelConfig, toLayerShapes, weightLeaves } from "#models";
import type { PlannedModel, TrainingMemoryOptions } from "./memory.ts";
import { lossGraph, stepOutputs } from "./step.ts";

/** Settings that determine the speed of a run. */
export interface TrainingSpeedOptions
  extends Pick<TrainingMemoryOptions, "formats" | "shape" | "rematerialise" | "evaluates"> {
  /** The share of tokens that are targets. */
  readonly targetShare: number;
  readonly session?: SessionOptions;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
}

/** Seconds for each token of a batch, padding included. */
export interface TrainingSpeed {
  readonly update: number;
  /** 0 where nothing is evaluated. */
  readonly evaluation: number;
}

/** Tokens times numbers of a layer that are tried at once: on two cores, about a second. */
const WORK = 16e9;
const MIN_LENGTH = 64;
/** Milliseconds after which no further step is made, and how many are at most. */
const MAX_MILLISECONDS = 500;
const MAX_STEPS = 20;

/**
 * Measures how fast a model would be trained. Nothing of it is read; memory holds one layer.
 *
 * @example
 * const { update } = await trainingSpeed(model, { forms, shape: { rows: 4, length: 512 }, rematerialise: "none", targetShare: 0.5, now });
 * steps * 4 * 512 * update; // seconds
 */
export async function trainingSpeed(
  model: PlannedModel,
  options: TrainingSpeedOptions,
): Promise<TrainingSpeed> {
  const { config } = model;
  const slice: ModelConfig = {
    ...config,
    layers: 1,
    vocabularySize: Math.ceil(config.vocabularySize / config.layers),
    // as much work, and there is a norm whose gradient comes through the whole layer
    ...(config.norms === "post" ? { norms: "pre" } : {}),
  };
  const thin = { ...model, config: slice, weights: weightLeaves(slice, options.formats) };
  const update = await measureTokenSeconds(thin, { ...options, training: true });
  const evaluation =
    options.evaluates === true ? await measureTokenSeconds(thin, { ...options, training: false }) : 0;
  return { update: update * config.layers, evaluation: evaluation * config.layers };
}

async function measureTokenSeconds(
  model: PlannedModel,
  { training, ...options }: TrainingSpeedOptions & { readonly training: boolean },
): Promise<number> {
  const { targetShare, now } = options;
  const shape = affordable(model, options.shape);
  const tokens = shape.rows * shape.length;
  const masks = training ? model.maskBufferLength(shape) : 0;
  const loss = lossGraph(model.config, {
    shape,
    training,
    weights: model.weights,
    rematerialise: training ? options.rematerialise : "none",
    linear: model.linear(shape, masks === 0 ? undefined : leaf("dropout_masks", [masks])),
  });
  await using program = await compile(
    training ? stepOutputs(loss, reached(loss.loss, model)) : { ...loss },
    options.session,
  );
  const labels = Math.max(1, Math.round(targetShare * tokens));
  const feeds = Object.fromEntries(
    [...program.inputs].map(([name, type]) => [name, zeros(type, labels)] as const),
  );
  await program.run(feeds); // takes the memory
  const started = now();
  let count = 0;
  do {
    await program.run(feeds);
    count++;
  } while (now() - started < MAX_MILLISECONDS && count < MAX_STEPS);
  return (now() - started) / 1000 / count / tokens;
}

/** A part of the batch that a layer computes in about a second. */
function affordable(
  { config }: PlannedModel,
  { rows, length, maxSegment = length }: TrainingMemoryOptions["shape"],
): Required<TrainingMemoryOptions["shape"]> {
  const widths = Object.values(toLayerShapes(config).widths);
  const numbers = widths.reduce((sum, width) => sum + width.in * width.out, 0);
  const tokens = Math.max(MIN_LENGTH, Math.floor(WORK / numbers));
  const fitting = Math.min(length, tokens);
  return {
    rows: Math.min(rows, Math.max(1, Math.floor(tokens / fitting))),
    length: fitting,
    maxSegment: Math.min(maxSegment, fitting),
  };
}

/** Weight through which the gradient would reach the layer below. */
const FIRST_NORM = "model.layers.0.input_layernorm.weight";

/** Values with a gradient in the one layer: its trained tensors, and those that layers below would need. */
function reached(loss: Value, { trainable, weights }: PlannedModel): ReadonlyMap<string, Value> {
  const read = new Set(sortNodes([loss]).flatMap(({ inputs }) => inputs));
  const below = [...weights].filter(([name]) => name === FIRST_NORM);
  return new Map([...trainable, ...below].filter(([, value]) => read.has(value)));
}

const ARRAYS: Readonly<Record<DType, (length: number) => TensorData>> = {
  float32: (n) => new Float32Array(n),
  int32: (n) => new Int32Array(n),
  int64: (n) => new Int32Array(n),
  float16: (n) => new Uint16Array(n),
  bfloat16: (n) => new Uint16Array(n),
  uint16: (n) => new Uint16Array(n),
  uint8: (n) => new Uint8Array(n),
  int8: (n) => new Int8Array(n),
  bool: (n) => new Uint8Array(n),
};

function zeros({ shape, dtype }: LeafType, labels: number): HostTensor {
  const sizes = shape.map((dim) => (typeof dim === "number" ? dim : labels));
  return { shape: sizes, data: ARRAYS[dtype](countElements(sizes)) };
}
