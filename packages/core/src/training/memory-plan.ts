// Memory plan of a training run: its parts, the choices that make it fit, and the refusal if it does not.

import {
  DEFAULT_DEVICE,
  type Device,
  leaf,
  type ProgramPeak,
  programPeak,
  supports,
} from "mixture-of-shards-graph";
import type { WeightFormat } from "mixture-of-shards-graph/common";
import { type AdapterConfig, blankAdapter } from "#adapters";
import { assertMemory, chooseWay, type FreeMemory, fitsMemory, type MemoryPlan, memoryPlan } from "#common";
import { type EncodedDataset, sharedReach } from "#data";
import { liveEngineBytes } from "#inference";
import {
  baseBytes,
  type ComputeDtype,
  canSharePrompts,
  defaultComputeDtype,
  hasTransposedCodes,
  type PlannedBase,
  parameterCount,
  toLayerShapes,
} from "#models";
import { TOKENIZER_BYTES } from "#text";
import { paddedTokens, rowsAtOnce } from "./micro-batches.ts";
import { learnsFromAnswers } from "./objectives/index.ts";
import { type Objective, plainTraining } from "./objectives/objective.ts";
import { sampling } from "./objectives/settings.ts";
import { samplerSize } from "./rollouts/held-out.ts";
import { comparesWithStart, teachesChat } from "./run/augment.ts";
import type { RunPlan } from "./run/plan.ts";
import type { ResolvedSettings } from "./settings.ts";
import {
  type PassOptions,
  type PlannedModel,
  passOutputs,
  plannedModel,
  type Rematerialise,
  type StepShape,
  targetLogprobs,
} from "./step-graph.ts";

/** Settings that determine a run's memory. */
export type RunSize = Pick<
  ResolvedSettings,
  "baseDtype" | "computeDtype" | "batchSize" | "maxLength" | "gradientAccumulationSteps"
> & {
  /** "cpu" without it. */
  readonly device?: Device | undefined;
  /** Plain training without it. */
  readonly objective?: Objective;
  /** True if there is a forward pass beside the steps: of validation data, of the outcome, or of what a step is compared with. */
  readonly evaluates: boolean;
  /** True if the parameters before the first step are kept, to compare with them. */
  readonly keepsStart?: boolean;
  /** The engine that a run samples answers with, if any. */
  readonly sampler?: SamplerSize | undefined;
  /** Whether that has a copy of the weights; where it has room without it. */
  readonly prepacksSampler?: boolean | undefined;
  /** The largest batches that the data make at a batch size and a length; full ones where no data are known. */
  readonly batchShapes?: (size: BatchSize) => RunShapes;
};

/** The longest prompt with its answer, and the most answers at a time. */
export type SamplerSize = Pick<Parameters<typeof liveEngineBytes>[1], "maxLength" | "maxBatch">;

/** Settings that determine the batches. */
type BatchSize = Pick<RunSize, "batchSize" | "maxLength">;

/** The shape of the largest batch. */
interface PlannedShape extends StepShape {
  /** Examples of a batch at most; its rows where that is not known. */
  readonly examples?: number;
}

/** The largest batches of a run. */
interface RunShapes {
  readonly shape: PlannedShape;
  readonly validationShape: PlannedShape | undefined;
}

/** Choices that make a run fit, and its memory. */
export interface RunMemory {
  readonly plan: MemoryPlan;
  /** Leaves the embeddings of each layer in the file, from where a CPU reads the rows of a step. */
  readonly tableInFile: boolean;
  /** Recomputes the layers in the backward pass, which takes longer and far less memory. */
  readonly rematerialise: Rematerialise;
  readonly transposedCodes: boolean;
  /** Whether sampling has a copy of the weights, in the form that is fastest for it; undefined where there is none. */
  readonly prepacksSampler: boolean | undefined;
  /** As set; else int8 where it is faster and has room. */
  readonly computeDtype: ComputeDtype;
}

/** Parameters from which layers are computed again even where their activations have room: these take more than the base. */
const LARGE_MODEL = 2e9;

/** Other devices take constants into their own memory. */
const isOnCpu = (device: Device = DEFAULT_DEVICE): boolean => device === "cpu";

/** The fastest way comes first. */
function listCandidates(
  { config, formsOf }: PlannedBase,
  {
    baseDtype,
    computeDtype,
    device,
    sampler,
    prepacksSampler: before,
  }: Pick<RunSize, "baseDtype" | "computeDtype" | "device" | "sampler" | "prepacksSampler">,
): readonly Omit<RunMemory, "plan">[] {
  const parameters = parameterCount(config);
  const isLarge = parameters >= LARGE_MODEL;
  const tableInFile = isOnCpu(device);
  const kept: readonly Rematerialise[] = isLarge ? ["layers"] : ["none", "layers"];
  const list = (chosen: ComputeDtype): readonly Omit<RunMemory, "plan">[] => {
    const codes = chosen === "int8" && hasTransposedCodes(parameters) ? [true, false] : [false];
    const copies = sampler === undefined ? [undefined] : copiesOf(before, device);
    return kept.flatMap((rematerialise) =>
      codes.flatMap((transposedCodes) =>
        copies.map((prepacksSampler) => ({
          ...{ rematerialise, transposedCodes, tableInFile, prepacksSampler },
          computeDtype: chosen,
        })),
      ),
    );
  };
  if (computeDtype !== undefined) return list(computeDtype);
  const formats = formsOf({ baseDtype, computeDtype: "float32", transposedCodes: false, tableInFile });
  return defaultComputeDtype(formats, device) === "int8"
    ? [...list("int8"), ...list("float32")]
    : list("float32");
}

/** Numbers round otherwise with a copy, so that a resumed run has one if it had one before. Other devices copy what they are fed. */
function copiesOf(before: boolean | undefined, device: Device = DEFAULT_DEVICE): readonly boolean[] {
  if (before !== undefined) return [before];
  return supports(device, "int8Product") ? [true, false] : [false];
}

/** The rows that are computed at once, and how often, for one update. */
function splitBatch({ batchSize, maxLength, gradientAccumulationSteps }: RunSize) {
  const rows = rowsAtOnce({ batchSize, maxLength });
  return { rows, gradientAccumulationSteps: Math.ceil((batchSize * gradientAccumulationSteps) / rows) };
}

/** Plans the memory of a run that is made in some way. */
function wayPlanner(
  base: PlannedBase,
  adapterConfig: AdapterConfig,
  { free, ...size }: RunSize & { readonly free?: FreeMemory | undefined },
): (way: Omit<RunMemory, "plan">) => MemoryPlan {
  const { config } = base;
  const adapter = blankAdapter(adapterConfig, toLayerShapes(config));
  const { rows, gradientAccumulationSteps: parts } = splitBatch(size);
  const full = { shape: { rows, length: size.maxLength }, validationShape: undefined };
  const shapes = size.batchShapes?.(size) ?? full;
  const gradientAccumulationSteps = shapes.shape.rows < rows ? size.gradientAccumulationSteps : parts; // a batch of few rows is not divided
  return (way) => {
    const formats = base.formsOf({ ...size, ...way });
    const alone = memoryPlan({ base: baseBytes(config, formats) });
    // the rest takes a second to plan, and changes nothing
    if (free !== undefined && !fitsMemory(alone, free)) return { ...alone, isPartial: true };
    const batches = { ...shapes, gradientAccumulationSteps };
    return trainingMemory(plannedModel(config, formats, adapter), { ...size, ...batches, ...way, formats });
  };
}

/**
 * The fastest way to make a run that has room, or else the one that takes least. Nothing is loaded.
 *
 * @throws MosError "unsupported" where a weight cannot be kept so, `bad_config` for an adapter that does not fit the model.
 */
export const planMemory = (
  base: PlannedBase,
  adapter: AdapterConfig,
  size: RunSize & { readonly free: FreeMemory | undefined },
): RunMemory => chooseWay(listCandidates(base, size), wayPlanner(base, adapter, size), size.free);

/** The memory of a run that is made in the way that takes least. Throws what `planMemory` throws. */
export function leastMemory(base: PlannedBase, adapter: AdapterConfig, size: RunSize): MemoryPlan {
  const ways = listCandidates(base, size).filter(
    ({ rematerialise, transposedCodes }) => rematerialise === "layers" && !transposedCodes,
  );
  return chooseWay(ways, wayPlanner(base, adapter, size), { bytes: 0, resident: 0, limit: "machine" }).plan;
}

/**
 * Checks the base's memory before the data are read, which may take minutes.
 *
 * @throws MosError "memory" where the base alone has no room, as `requireRunMemory`.
 */
export function assertBaseMemory(
  base: PlannedBase,
  adapter: AdapterConfig,
  size: RunSize & { readonly free: FreeMemory },
): void {
  const { computeDtype = "float32" } = size;
  const tableInFile = isOnCpu(size.device);
  const formats = base.formsOf({ ...size, computeDtype, transposedCodes: false, tableInFile });
  if (fitsMemory(memoryPlan({ base: baseBytes(base.config, formats) }), size.free)) return;
  requireRunMemory(base, adapter, size);
}

/** Lengths and batches are halved at most this often to find what fits. */
const HALVINGS = 6;
export const MIN_LENGTH = 64;

/** The memory of a run that has room. Throws "memory" with what would fit, and what `planMemory` throws. */
export function requireRunMemory(
  base: PlannedBase,
  adapter: AdapterConfig,
  size: RunSize & { readonly free: FreeMemory },
): RunMemory {
  const found = planMemory(base, adapter, size);
  const { free, baseDtype } = size;
  const smallerBase: readonly Partial<RunSize>[] = baseDtype === "int4" ? [] : [{ baseDtype: "int4" }];
  assertMemory(found.plan, {
    what: `training ${base.name}`,
    free,
    changes: [smallerBase, smallerBatches(size), shorterRows(size)],
    planOf: (change) => planMemory(base, adapter, { ...size, ...change }).plan,
  });
  return found;
}

/** Half the rows at a time and twice the batches of an update, which computes the same. */
function smallerBatches(size: RunSize): readonly Partial<RunSize>[] {
  const changes: Partial<RunSize>[] = [];
  let { rows, gradientAccumulationSteps: batches } = splitBatch(size);
  for (let i = 0; i < HALVINGS && rows % 2 === 0; i++) {
    [rows, batches] = [rows / 2, batches * 2];
    changes.push({ batchSize: rows, gradientAccumulationSteps: batches });
  }
  if (rows > 1) changes.push({ batchSize: 1, gradientAccumulationSteps: batches * rows });
  return changes;
}

function shorterRows({ maxLength }: RunSize): readonly Partial<RunSize>[] {
  const changes: Partial<RunSize>[] = [];
  for (let i = 1; i <= HALVINGS && maxLength / 2 ** i >= MIN_LENGTH; i++)
    changes.push({ maxLength: Math.floor(maxLength / 2 ** i) });
  return changes;
}

/** What decides the memory of a run, by the batches that its examples make. */
export function memorySize(planned: Omit<RunPlan, "memory">) {
  const { settings, free, device, objective, train, validation, run, base, prepacksSampler } = planned;
  const isSampling = learnsFromAnswers(settings) || settings.evaluateBy !== undefined;
  const longestPrompt = Math.max(train.report.longest, validation?.report.longest ?? 0);
  const { maxPositions } = base.config;
  const keepsStart = comparesWithStart(planned);
  const sampler = isSampling ? samplerSize(settings, { longestPrompt, maxPositions }) : undefined;
  if (learnsFromAnswers(settings)) {
    const maxSegment = train.report.longest + sampling(settings).maxCompletionLength;
    const repeats = !canSharePrompts(base.config);
    const shapes = ({ maxLength: length }: BatchSize): RunShapes => ({
      shape: {
        rows: 1,
        length,
        maxSegment: Math.min(maxSegment, length),
        ...(repeats ? {} : { reach: length }),
      },
      validationShape: undefined,
    });
    const rows = { batchSize: 1, evaluates: objective.usesReference, keepsStart, batchShapes: shapes };
    return { ...settings, ...rows, objective, free, device, sampler, prepacksSampler };
  }
  const reach = sharedReach([...train.encoded, ...(validation?.encoded ?? [])]);
  const batchShape = ({ encoded }: EncodedDataset, { batchSize, maxLength }: BatchSize) => {
    const lengths = encoded.map(({ ids }) => Math.min(ids.length, maxLength));
    const { rows, longest, examples } = paddedTokens(lengths, { ...run, batchSize, maxLength });
    const maxSegment = Math.max(train.report.longest, validation?.report.longest ?? 0);
    return { rows, length: longest, examples, maxSegment: Math.min(maxSegment, maxLength), reach };
  };
  const batchShapes = (size: BatchSize): RunShapes => ({
    shape: batchShape(train, size),
    validationShape: validation === undefined ? undefined : batchShape(validation, size),
  });
  const evaluates = validation !== undefined || teachesChat(planned) || objective.joinsSequences === true;
  const kept = { evaluates, keepsStart, free, device, objective, batchShapes, sampler, prepacksSampler };
  return { ...settings, ...kept };
}

// The memory of one candidate: the bytes of the base by their formats, and what the runtime will hold for its programs,
// which are built here as they will be compiled.

// Measured: what the process has beside tensors.
/** Node, its code, ONNX Runtime, and its threads. */
const PROCESS = 170e6;
/** A compiled program, for each of its nodes. */
const NODE = 7500;

/** A run, and how its base is kept. */
interface PlannedRun
  extends RunShapes,
    Pick<RunSize, "gradientAccumulationSteps" | "objective" | "evaluates" | "keepsStart" | "sampler">,
    Pick<RunMemory, "rematerialise" | "prepacksSampler"> {
  readonly formats: ReadonlyMap<string, WeightFormat>;
}

/** The memory of a run at its peak: with full batches in which every token is a target. Nothing is read or compiled. */
function trainingMemory(model: PlannedModel, run: PlannedRun): MemoryPlan {
  const { formats, shape, rematerialise, sampler, prepacksSampler, objective = plainTraining } = run;
  const { config, parameters } = model;
  const trained = [...parameters.values()].reduce((sum, { data }) => sum + data.byteLength, 0);
  const masks = 4 * model.maskBufferLength(shape);
  const step = stepPeak(model, { shape, pass: "training", rematerialise, objective });
  const { validationShape = shape } = run;
  const forward = { rematerialise: "none", objective } as const;
  const evaluation = run.evaluates
    ? stepPeak(model, { shape: validationShape, pass: "loss", ...forward })
    : NO_PROGRAM;
  // a teacher reads a row at a time, of which two copies of its results are kept, and those of a batch are put together
  const { maxSegment: length = shape.length } = shape;
  const [teacher, states] =
    objective.divergence === undefined
      ? [NO_PROGRAM, 0]
      : [
          stepPeak(model, { shape: { ...shape, rows: 1, length }, pass: "hidden", ...forward }),
          4 * shape.rows * shape.length * config.hiddenSize,
        ];
  return memoryPlan({
    base: baseBytes(config, formats),
    adapter: (run.keepsStart === true ? 2 : 1) * trained,
    // two moments; gradients of a batch, their sum, and those of the batch before until they are collected
    optimiser: 2 * trained + (run.gradientAccumulationSteps > 1 ? 3 : 2) * step.results,
    activations: step.workspace + 2 * masks,
    evaluation: evaluation.workspace + teacher.workspace + 2 * teacher.results + states,
    ...(sampler === undefined
      ? {}
      : liveEngineBytes(config, { ...sampler, formats, prepack: prepacksSampler === true })),
    runtime:
      PROCESS +
      TOKENIZER_BYTES * config.vocabularySize +
      NODE * (step.nodes + evaluation.nodes + teacher.nodes) +
      2 * (step.constants + evaluation.constants + teacher.constants),
  });
}

const NO_PROGRAM = { workspace: 0, constants: 0, nodes: 0, results: 0 } as const;

function stepPeak(
  model: PlannedModel,
  {
    shape,
    pass,
    rematerialise,
    objective,
  }: Pick<RunShapes, "shape"> &
    Pick<RunMemory, "rematerialise"> &
    Omit<PassOptions, "trainable" | "objective"> & { readonly objective: Objective },
): ProgramPeak {
  const training = pass === "training";
  const masks = training ? model.maskBufferLength(shape) : 0;
  const logprobs = targetLogprobs(model.config, {
    shape,
    training,
    rematerialise,
    measure: objective.divergence,
    weights: model.weights,
    linear: model.linear(shape, masks === 0 ? undefined : leaf("dropout_masks", [masks]), objective),
  });
  return programPeak(passOutputs(logprobs, { pass, objective, trainable: model.trainable }), {
    dimensionSize: (name) => dimensionSize(name, shape),
  });
}

/** "labels:256:512" are those of a part; names of other dimensions count all targets. */
function dimensionSize(name: string, { rows, length, examples = rows }: PlannedShape): number {
  if (name === "pairs") return examples;
  if (name === "sequences") return 2 * examples;
  const targets = rows * length;
  const [, from, to] = /:(\d+):(\d+)$/.exec(name) ?? [];
  return from === undefined ? targets : Math.max(1, Math.min(Number(to), targets) - Number(from));
}
