import { MosError } from "#core";
import type { Batch } from "#data";
import { leaf, type Value } from "#graph";
import type { LlamaConfig } from "#models";
import type { LinearHook } from "#nn";
import { type CompileOptions, compile, type HostTensor, type Program } from "#runtime";
import { lossGraph, type StepShape, stepOutputs } from "./step.ts";

/** A float32 tensor that training changes in place. */
export interface Parameter {
  readonly shape: readonly number[];
  readonly data: Float32Array;
}

/** A model, what of it is trained, and how its linear layers are computed. */
export interface TrainableModel {
  readonly config: LlamaConfig;
  /** Every weight of the base as a leaf, and its content. */
  readonly weights: ReadonlyMap<string, Value>;
  readonly weightData: ReadonlyMap<string, HostTensor>;
  /** The trained leaves (of an adapter, or some of the weights) and their content, which training overwrites. */
  readonly trainable: ReadonlyMap<string, Value>;
  readonly parameters: ReadonlyMap<string, Parameter>;
  /** The linear layers of a step of this shape; `tape` holds the dropout masks of a training step. */
  readonly linear: (shape: StepShape, tape: Value | undefined) => LinearHook;
  /** Numbers of dropout tape that a training step of this shape reads; 0 without dropout. */
  readonly tapeLength: (shape: StepShape) => number;
}

/** What a batch gives: sums, not means, so that batches can be added up. */
export interface BatchGradients {
  /** Σ of the losses of the counted positions. */
  readonly loss: number;
  readonly counted: number;
  /** Of that sum, by parameter. */
  readonly gradients: ReadonlyMap<string, Float32Array>;
}

/** Computes losses and gradients of batches of any shape. Holds compiled programs: dispose it. */
export interface GradientSource extends AsyncDisposable {
  gradients(batch: Batch, tape: ((length: number) => Float32Array) | undefined): Promise<BatchGradients>;
  /** Σ of losses, without dropout. */
  loss(batch: Batch): Promise<Pick<BatchGradients, "loss" | "counted">>;
}

const vector = (data: Int32Array): HostTensor => ({ shape: [data.length], data });

function feedsOf(batch: Batch): Record<string, HostTensor> {
  const shape = [batch.rows, batch.length];
  return {
    ids: { shape, data: batch.ids },
    positions: { shape, data: batch.positions },
    segments: { shape, data: batch.segments },
    label_positions: vector(batch.labelPositions),
    label_ids: vector(batch.labelIds),
  };
}

/** Each program keeps the memory of its largest run, so only the two latest shapes are kept. */
const KEPT_PROGRAMS = 2;

interface ProgramKey {
  readonly shape: StepShape;
  readonly training: boolean;
}

/** How programs are compiled, and what is known of the batches. */
export interface GradientSourceOptions extends CompileOptions {
  /** Tokens of the longest example of any batch, where it is known: packed rows are then compared within it only. */
  readonly longest?: number;
}

/** Losses and gradients of a model; a program is compiled when a shape of batch first comes. */
export function gradientSource(model: TrainableModel, options: GradientSourceOptions = {}): GradientSource {
  const { longest, ...compileOptions } = options;
  const shapeOf = ({ rows, length }: Batch): StepShape => ({
    rows,
    length,
    ...(longest === undefined ? {} : { longest: Math.min(longest, length) }),
  });
  const programs = new Map<string, Program>();
  const build = async ({ shape, training }: ProgramKey): Promise<Program> => {
    const length = training ? model.tapeLength(shape) : 0;
    const tape = length === 0 ? undefined : leaf("dropout_tape", [length]);
    const loss = lossGraph(model.config, {
      shape,
      weights: model.weights,
      linear: model.linear(shape, tape),
      training,
    });
    const program = await compile(training ? stepOutputs(loss, model.trainable) : { loss }, compileOptions);
    for (const [name, data] of [...model.weightData, ...model.parameters])
      if (program.inputs.has(name)) program.bind({ [name]: data });
    return program;
  };
  const programFor = async (key: ProgramKey): Promise<Program> => {
    const name = `${key.training} ${key.shape.rows} ${key.shape.length}`;
    const found = programs.get(name);
    programs.delete(name);
    if (found === undefined && programs.size >= KEPT_PROGRAMS) {
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
    async gradients(batch, tape) {
      const shape = shapeOf(batch);
      const program = await programFor({ shape, training: true });
      const length = model.tapeLength(shape);
      const drawn = length === 0 || tape === undefined ? undefined : tape(length);
      const outputs = await program.run({
        ...feedsOf(batch),
        ...(drawn === undefined ? {} : { dropout_tape: { shape: [length], data: drawn } }),
      });
      const gradients = new Map(
        [...model.parameters.keys()].map((name) => [name, floats(outputs, `grad.${name}`)]),
      );
      return { loss: floats(outputs, "loss")[0] ?? Number.NaN, counted: batch.labelIds.length, gradients };
    },
    async loss(batch) {
      const shape = shapeOf(batch);
      const program = await programFor({ shape, training: false });
      const outputs = await program.run(feedsOf(batch));
      return { loss: floats(outputs, "loss")[0] ?? Number.NaN, counted: batch.labelIds.length };
    },
    async [Symbol.asyncDispose]() {
      for (const program of programs.values()) await program[Symbol.asyncDispose]();
      programs.clear();
    },
  };
}

function floats(outputs: Readonly<Record<string, HostTensor>>, name: string): Float32Array {
  const data = outputs[name]?.data;
  if (!(data instanceof Float32Array))
    throw new MosError("bad_config", `the program gave no numbers for ${name}`);
  return data;
}
