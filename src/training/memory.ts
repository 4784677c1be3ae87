// Memory of training, known before anything of the model is read: the bytes of its base by their formats, and
// what the runtime will hold for its programs, which are built here as they will be compiled.

import { type MemoryPlan, memoryPlan } from "#core";
import type { WeightFormat } from "#files";
import { leaf, type ProgramPeak, programPeak } from "#graph";
import { baseBytes } from "#models";
import { TOKENIZER_BYTES } from "#text";
import type { TrainableModel } from "./gradients.ts";
import { lossGraph, type Rematerialise, type StepShape, stepOutputs } from "./step.ts";

/** A model without its weights. */
export type PlannedModel = Omit<TrainableModel, "weightData">;

/** Settings that determine the memory of a run. */
export interface TrainingMemoryOptions {
  /** Format of each weight, by name; float32 by default. */
  readonly formats: ReadonlyMap<string, WeightFormat>;
  /** The largest batch. */
  readonly shape: StepShape;
  readonly rematerialise: Rematerialise;
  /** Batches whose gradients are summed; 1. */
  readonly gradientAccumulationSteps?: number;
  /** Measures the loss on validation examples, by a program of its own; false. */
  readonly evaluates?: boolean;
  /** The largest batch of these; as of those that are trained on. */
  readonly validationShape?: StepShape | undefined;
}

// Measured: what the process has beside tensors.
/** Node, its code, ONNX Runtime, and its threads. */
const PROCESS = 170e6;
/** A compiled program, for each of its nodes. */
const NODE = 7500;

/**
 * The memory of a run at its peak: with full batches in which every token is a target. Nothing is read or compiled.
 *
 * @example
 * trainingMemory(model, { forms, shape: { rows: 4, length: 512 }, rematerialise: "none" }).bytes;
 */
export function trainingMemory(model: PlannedModel, options: TrainingMemoryOptions): MemoryPlan {
  const { formats, shape, rematerialise, gradientAccumulationSteps = 1, evaluates = false } = options;
  const { validationShape = shape } = options;
  const { config, parameters } = model;
  const trained = [...parameters.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  const masks = 4 * model.maskBufferLength(shape);
  const step = stepPeak(model, { shape, training: true, rematerialise });
  const evaluation = evaluates
    ? stepPeak(model, { shape: validationShape, training: false, rematerialise: "none" })
    : { workspace: 0, constants: 0, results: 0, nodes: 0 };
  return memoryPlan({
    base: baseBytes(config, formats),
    adapter: trained,
    // two moments; gradients of a batch, their sum, and those of the batch before until they are collected
    optimiser: 2 * trained + (gradientAccumulationSteps > 1 ? 3 : 2) * step.results,
    activations: step.workspace + 2 * masks,
    evaluation: evaluation.workspace,
    runtime:
      PROCESS +
      TOKENIZER_BYTES * config.vocabularySize +
      NODE * (step.nodes + evaluation.nodes) +
      2 * (step.constants + evaluation.constants),
  });
}

interface StepOptions {
  readonly shape: StepShape;
  readonly training: boolean;
  readonly rematerialise: Rematerialise;
}

function stepPeak(model: PlannedModel, { shape, training, rematerialise }: StepOptions): ProgramPeak {
  const masks = training ? model.maskBufferLength(shape) : 0;
  const loss = lossGraph(model.config, {
    shape,
    training,
    rematerialise,
    weights: model.weights,
    linear: model.linear(shape, masks === 0 ? undefined : leaf("dropout_masks", [masks])),
  });
  const targets = shape.rows * shape.length;
  return programPeak(training ? stepOutputs(loss, model.trainable) : { ...loss }, {
    dimensionSize: (name) => targetSize(name, targets),
  });
}

/** "labels:256:512" are those of a part; other names count all targets. */
function targetSize(name: string, targets: number): number {
  const [, from, to] = /:(\d+):(\d+)$/.exec(name) ?? [];
  return from === undefined ? targets : Math.max(1, Math.min(Number(to), targets) - Number(from));
}
