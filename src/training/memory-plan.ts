// What a training run will take of the memory, how it is made to fit, and what is said where it does not.
import { type AdapterConfig, blankAdapter } from "#adapters";
import {
  expectMemory,
  type FreeMemory,
  fitsMemory,
  type MemoryPlan,
  MosError,
  memoryPlan,
  remedyText,
} from "#core";
import type { WeightForm } from "#files";
import {
  type BaseDtype,
  baseBytes,
  type ComputeDtype,
  formText,
  geometryOf,
  type ModelConfig,
  type PlannedBase,
  parameterCount,
} from "#models";
import { trainingMemory } from "./memory.ts";
import { rowsAtOnce } from "./micro-batches.ts";
import type { Rematerialise, StepShape } from "./step.ts";
import { plannedModel } from "./trainable.ts";

/** How the layers are kept, in a few words: "4-bit blocks of 32 with offsets". */
export function keptAs(forms: ReadonlyMap<string, WeightForm>): string {
  const texts = [...forms]
    .filter(([name]) => name.endsWith("_proj.weight"))
    .map(([, form]) => formText(form));
  return [...new Set(texts)].join(" and ");
}

/** What a run computes, as far as its memory depends on it. */
export interface RunSize {
  readonly baseDtype: BaseDtype;
  readonly computeDtype: ComputeDtype;
  readonly batchSize: number;
  readonly maxLength: number;
  readonly gradientAccumulationSteps: number;
  /** Whether a part of the data is held out. */
  readonly evaluates: boolean;
  /** The largest batches that the data make at a batch size and a length; full ones where no data are known. */
  readonly shapesOf?: (size: BatchSize) => RunShapes;
}

/** What decides how examples are divided into batches. */
export type BatchSize = Pick<RunSize, "batchSize" | "maxLength">;

/** The largest batches of a run. */
export interface RunShapes {
  readonly shape: StepShape;
  readonly validationShape: StepShape | undefined;
}

/** How a run will be made, and what it takes. */
export interface RunMemory {
  readonly plan: MemoryPlan;
  /** Whether the layers are computed again in the backward pass, which takes longer and far less memory. */
  readonly rematerialise: Rematerialise;
  readonly transposedCodes: boolean;
}

/** Parameters from which layers are computed again even where their activations have room: these take more than the base. */
const LARGE_MODEL = 2e9;

/** The fastest way comes first. */
function waysOf(
  computeDtype: ComputeDtype,
  config: ModelConfig,
): readonly Pick<RunMemory, "rematerialise" | "transposedCodes">[] {
  const isLarge = parameterCount(config) >= LARGE_MODEL;
  const codes = computeDtype === "int8" && !isLarge ? [true, false] : [false];
  const kept: readonly Rematerialise[] = isLarge ? ["layers"] : ["none", "layers"];
  return kept.flatMap((rematerialise) =>
    codes.map((transposedCodes) => ({ rematerialise, transposedCodes })),
  );
}

/** The rows that are computed at once, and how often, for one update. */
function microBatchesOf({ batchSize, maxLength, gradientAccumulationSteps }: RunSize) {
  const rows = rowsAtOnce({ batchSize, maxLength });
  return { rows, gradientAccumulationSteps: Math.ceil((batchSize * gradientAccumulationSteps) / rows) };
}

/**
 * The fastest way to make a run that has room, or else the one that takes least. Nothing is loaded.
 *
 * @throws MosError "unsupported" where a weight cannot be kept so, `bad_config` for an adapter that does not fit the model.
 */
export function planMemory(
  base: PlannedBase,
  adapterConfig: AdapterConfig,
  { free, ...size }: RunSize & { readonly free: FreeMemory | undefined },
): RunMemory {
  const { config } = base;
  const adapter = blankAdapter(adapterConfig, geometryOf(config));
  const { rows, gradientAccumulationSteps: parts } = microBatchesOf(size);
  const full = { shape: { rows, length: size.maxLength }, validationShape: undefined };
  const shapes = size.shapesOf?.(size) ?? full;
  const gradientAccumulationSteps = shapes.shape.rows < rows ? size.gradientAccumulationSteps : parts; // a batch of few rows is not divided
  const { evaluates } = size;
  let least: RunMemory | undefined;
  const ways = waysOf(size.computeDtype, config);
  const planOf = (way: (typeof ways)[number]): MemoryPlan => {
    const forms = base.formsOf({ ...size, ...way });
    const alone = memoryPlan({ base: baseBytes(config, forms) });
    // the rest takes a second to plan, and changes nothing
    if (free !== undefined && !fitsMemory(alone, free)) return { ...alone, isPartial: true };
    const options = {
      forms,
      ...shapes,
      gradientAccumulationSteps,
      evaluates,
      rematerialise: way.rematerialise,
    };
    return trainingMemory(plannedModel(config, forms, adapter), options);
  };
  for (const way of ways) {
    const found = { ...way, plan: planOf(way) };
    if (free === undefined || fitsMemory(found.plan, free)) return found;
    if (least === undefined || found.plan.bytes < least.plan.bytes) least = found;
  }
  return least as RunMemory;
}

/**
 * What can be said before the data are read, which may take minutes.
 *
 * @throws MosError "memory" where the base alone has no room, as `expectRunMemory`.
 */
export function expectBaseMemory(
  base: PlannedBase,
  adapter: AdapterConfig,
  size: RunSize & { readonly free: FreeMemory },
): void {
  const forms = base.formsOf({ ...size, transposedCodes: false });
  if (fitsMemory(memoryPlan({ base: baseBytes(base.config, forms) }), size.free)) return;
  expectRunMemory(base, adapter, size);
}

/** Lengths and batches are halved at most this often to find what fits. */
const HALVINGS = 6;
const SHORTEST = 64;

/**
 * The memory of a run that has room.
 *
 * @throws MosError "memory" with what would fit, and what `planMemory` throws.
 */
export function expectRunMemory(
  base: PlannedBase,
  adapter: AdapterConfig,
  size: RunSize & { readonly free: FreeMemory },
): RunMemory {
  const found = planMemory(base, adapter, size);
  const fits = (change: Partial<RunSize>): MemoryPlan | undefined => {
    const { plan } = planMemory(base, adapter, { ...size, ...change });
    return fitsMemory(plan, size.free) ? plan : undefined;
  };
  expectMemory(found.plan, {
    what: `training ${base.name}`,
    free: size.free,
    remedies: () =>
      runRemedies(size, {
        fits,
        smallerBase: smallerBaseOf(base, size),
        isBaseTooLarge: found.plan.isPartial === true,
      }),
  });
  return found;
}

/** A base in 4 bits, where it is not in 4 bits already and can be kept so. */
function smallerBaseOf(base: PlannedBase, size: RunSize): Partial<RunSize> | undefined {
  if (size.baseDtype === "int4") return undefined;
  const smaller: Partial<RunSize> = { baseDtype: "int4" };
  try {
    base.formsOf({ ...size, ...smaller, transposedCodes: false });
    return smaller;
  } catch (error) {
    if (error instanceof MosError && error.code === "unsupported") return undefined;
    throw error;
  }
}

interface Search {
  readonly fits: (change: Partial<RunSize>) => MemoryPlan | undefined;
  /** Undefined where there is none. */
  readonly smallerBase: Partial<RunSize> | undefined;
  readonly isBaseTooLarge: boolean;
}

/** Settings that fit: a smaller base, smaller batches, shorter rows, or all of them. */
function runRemedies(size: RunSize, { fits, smallerBase, isBaseTooLarge }: Search): readonly string[] {
  const said = (change: Partial<RunSize>): readonly string[] => {
    return remedyText(optionsText(change), fits(change));
  };
  const found = [
    ...(smallerBase === undefined ? [] : said(smallerBase)),
    ...(isBaseTooLarge
      ? []
      : [...firstFitting(smallerBatches(size), said), ...firstFitting(shorterRows(size), said)]),
  ];
  if (found.length > 0) return found;
  const [smallest = {}] = smallerBatches(size).slice(-1);
  return firstFitting(
    [{}, ...shorterRows(size)].map((change) => ({ ...smallerBase, ...smallest, ...change })),
    said,
  );
}

function firstFitting<T>(changes: readonly T[], said: (change: T) => readonly string[]): readonly string[] {
  for (const change of changes) {
    const text = said(change);
    if (text.length > 0) return text;
  }
  return [];
}

/** Half the rows at a time and twice the batches of an update, which computes the same. */
function smallerBatches(size: RunSize): readonly Partial<RunSize>[] {
  const changes: Partial<RunSize>[] = [];
  let { rows, gradientAccumulationSteps: batches } = microBatchesOf(size);
  for (let i = 0; i < HALVINGS && rows % 2 === 0; i++) {
    [rows, batches] = [rows / 2, batches * 2];
    changes.push({ batchSize: rows, gradientAccumulationSteps: batches });
  }
  if (rows > 1) changes.push({ batchSize: 1, gradientAccumulationSteps: batches * rows });
  return changes;
}

function shorterRows({ maxLength }: RunSize): readonly Partial<RunSize>[] {
  const changes: Partial<RunSize>[] = [];
  for (let i = 1; i <= HALVINGS && maxLength / 2 ** i >= SHORTEST; i++)
    changes.push({ maxLength: Math.floor(maxLength / 2 ** i) });
  return changes;
}

const OPTIONS = {
  baseDtype: "--base-dtype",
  batchSize: "--batch-size",
  gradientAccumulationSteps: "--gradient-accumulation-steps",
  maxLength: "--max-length",
} as const;

const optionsText = (change: Partial<RunSize>): string =>
  Object.entries(OPTIONS)
    .flatMap(([name, option]) => {
      const value = change[name as keyof typeof OPTIONS];
      return value === undefined ? [] : [`${option} ${value}`];
    })
    .join(" ");
