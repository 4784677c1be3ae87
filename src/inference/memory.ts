// Memory plan of an engine, before anything is loaded.

import {
  assertMemory,
  countElements,
  type FreeMemory,
  fitsMemory,
  type MemoryPlan,
  memoryPlan,
  remedyText,
} from "#core";
import { type BlockFormat, type WeightFormat, weightBytes } from "#files";
import { GROUPS, listLayerGroups } from "#graph";
import { type ComputeDtype, type ModelConfig, type PlannedBase, toLayerShapes, weightShapes } from "#models";
import { TOKENIZER_BYTES } from "#text";
import { DRAFT_COPY_LIMIT, EMBEDDING, isBlocks, isExpandable, SECOND_COPY_LIMIT } from "./base-weights.ts";
import type { ResolvedOptions } from "./engine-options.ts";
import { bytesPerPosition, capacityFor } from "./slots.ts";

/** Settings that determine an engine's memory. */
export type EngineSize = Pick<
  ResolvedOptions,
  | "baseDtype"
  | "computeDtype"
  | "cacheDtype"
  | "cacheMemory"
  | "slotMemory"
  | "maxBatch"
  | "adapters"
  | "draftTokens"
> & {
  readonly maxLength: number;
  /** Whether the device multiplies with blocks as the runtime packs them (true). */
  readonly packs?: boolean | undefined;
};

/** Choices that make an engine fit. */
export interface EngineMemory {
  readonly plan: MemoryPlan;
  readonly cacheMemory: number;
  /** True if weights that are expanded fit as float32. */
  readonly expand: boolean;
  /** True if a large base fits twice, as drafts need it. */
  readonly twice: boolean;
}

/** The most that keys and values take where no setting says otherwise. */
const CACHE_MEMORY = 4e9;
/** Share of the remaining memory: a growing cache briefly holds a layer's old and new arrays. */
const CACHE_SHARE = 0.8;
/** The process, the runtime and the programs. */
const RUNTIME = 200e6;
/** Programs of an engine, beside those of its trainer. */
const LIVE_PROGRAMS = 30e6;
/** The rank that slots are planned for. */
const RANK = 8;
/** Rows of the largest step. */
const ROWS = 512;

/** In int8 the kernels keep scales and sums of blocks beside the codes, and the scales are there once more. */
const inInt8 = (bits: number, block: number): number => bits / 8 + 12 / block;

/** Bytes of one number of a 4-bit matrix; offsets are float32 in float32, columns in int8. */
function fourBitBytes({ blockSize, offsets, zeroPoint }: BlockFormat, computeDtype: ComputeDtype): number {
  if (computeDtype === "int8") return inInt8(4, blockSize) * (offsets ? 1 + 1 / blockSize : 1);
  return 0.5 + (offsets || zeroPoint === 0 ? 8 : 4) / blockSize;
}

/** Bytes of a matrix as the runtime holds it. */
function packedBytes(format: WeightFormat, shape: readonly number[], computeDtype: ComputeDtype): number {
  const count = countElements(shape);
  if (format.kind === "blocks" && format.bits === 4) return count * fourBitBytes(format, computeDtype);
  if (computeDtype === "int8")
    return (
      count * inInt8(8, format.kind === "blocks" && format.blockSize === 32 && !format.offsets ? 32 : 64)
    );
  if (format.kind === "blocks") return count * (1 + (format.offsets ? 12 : 8) / format.blockSize);
  return weightBytes(format, shape);
}

/** Bytes of a base that stay as they are read or expanded, and of those that are packed for the runtime. */
function engineBaseBytes(
  config: ModelConfig,
  formats: ReadonlyMap<string, WeightFormat>,
  {
    computeDtype,
    packs = true,
    expand,
    twice,
  }: Pick<EngineSize, "computeDtype" | "packs"> & Pick<EngineMemory, "expand" | "twice">,
): { readonly plain: number; readonly packed: number } {
  let [plain, packed] = [0, 0];
  const formatFor = (name: string): WeightFormat => {
    const given = formats.get(name) ?? FLOAT32;
    return expand && isExpandable(given, packs) ? FLOAT32 : given;
  };
  for (const [name, shape] of weightShapes(config)) {
    const format = formatFor(name);
    const isPlain = !packs || !isBlocks(format);
    const staysPlain = isPlain && computeDtype === "float32";
    const isProduct = shape.length === 2 && (name !== EMBEDDING || config.tiedHead);
    // rows of a stored embedding are read where they lie in the file
    if (staysPlain || shape.length === 1 || (isPlain && name === EMBEDDING))
      plain += weightBytes(format, shape);
    if (isProduct && !staysPlain) packed += packedBytes(format, shape, computeDtype);
  }
  return { plain, packed: packed * (packed <= (twice ? DRAFT_COPY_LIMIT : SECOND_COPY_LIMIT) ? 2 : 1) };
}

/** Formats for an engine, which packs the weights itself: its own products in int8 need no transposed codes. */
export const AS_KEPT = { computeDtype: "float32", transposedCodes: false } as const;

const FLOAT32: WeightFormat = { kind: "float32" };

/** Factors of the slots of a full batch. */
function slotBytes(config: ModelConfig, { adapters, maxBatch, slotMemory }: EngineSize): number {
  if (!adapters) return 0;
  const { widths } = toLayerShapes(config);
  let perRank = 0;
  for (const { group } of listLayerGroups(config.layers)) {
    const names = GROUPS[group];
    const out = names.reduce((sum, name) => sum + widths[name].out, 0);
    perRank += (names.length * widths[names[0]].in + out) * Float32Array.BYTES_PER_ELEMENT;
  }
  return Math.min(slotMemory, maxBatch * RANK * perRank);
}

/** Bytes of the largest step: the rows between the layers, scores of one layer with its mask, logits of a full batch. */
function stepBytes(
  config: ModelConfig,
  { maxLength, maxBatch }: Pick<EngineSize, "maxLength" | "maxBatch">,
): number {
  const { hiddenSize, intermediateSize, heads, keyValueHeads, headDim, vocabularySize } = config;
  const rows = Math.min(ROWS, maxLength);
  // without windows masks do not depend on the query
  const masks = config.window === undefined ? 0 : heads / keyValueHeads;
  const elements =
    rows * (2 * hiddenSize + 2 * (heads + keyValueHeads) * headDim + 3 * intermediateSize) +
    (2 * heads + masks) * rows * Math.min(maxLength, 4 * ROWS) +
    2 * maxBatch * vocabularySize;
  return elements * Float32Array.BYTES_PER_ELEMENT;
}

/** The memory of an engine whose cache takes `cacheMemory`. */
function planEngine(
  model: PlannedBase,
  size: EngineSize,
  { cacheMemory, expand, twice }: Omit<EngineMemory, "plan">,
): MemoryPlan {
  const formats = model.formsOf({ ...AS_KEPT, baseDtype: size.baseDtype });
  const { computeDtype, packs } = size;
  const { plain, packed } = engineBaseBytes(model.config, formats, { computeDtype, packs, expand, twice });
  return memoryPlan({
    base: plain + packed,
    cache: cacheMemory,
    slots: slotBytes(model.config, size),
    steps: stepBytes(model.config, size),
    runtime: RUNTIME + TOKENIZER_BYTES * model.config.vocabularySize,
  });
}

/** Size of a live engine: its longest sequence, and the most that run side by side. */
export interface LiveEngineSize {
  readonly maxLength: number;
  readonly maxBatch: number;
  /** Format of each weight as the trainer holds it. */
  readonly formats: ReadonlyMap<string, WeightFormat>;
}

/** What a live engine takes beside its trainer: keys and values, and weights that it expands or packs, with the largest step. */
export function liveEngineBytes(
  config: ModelConfig,
  { formats, ...size }: LiveEngineSize,
): { readonly cache: number; readonly sampler: number } {
  const { all } = cacheSizes({ config }, { ...size, cacheDtype: "float32" });
  const shared = { computeDtype: "float32", expand: true, twice: false } as const;
  const { packed } = engineBaseBytes(config, formats, shared);
  let expanded = 0;
  for (const [name, shape] of weightShapes(config))
    if (isExpandable(formats.get(name) ?? FLOAT32, true)) expanded += weightBytes(FLOAT32, shape);
  return { cache: all, sampler: expanded + packed + stepBytes(config, size) + LIVE_PROGRAMS };
}

/** Cache of the longest sequence, and of as many as run side by side. */
function cacheSizes(
  { config }: Pick<PlannedBase, "config">,
  { maxLength, maxBatch, cacheDtype }: Pick<EngineSize, "maxLength" | "maxBatch" | "cacheDtype">,
) {
  const one = capacityFor(maxLength) * bytesPerPosition(config, cacheDtype);
  return { one, all: maxBatch * one };
}

/** The limit of the cache where memory does not matter: what a full batch of the longest sequences takes, or 4 GB. */
export const defaultCacheMemory = (...engine: Parameters<typeof cacheSizes>): number =>
  Math.min(CACHE_MEMORY, cacheSizes(...engine).all);

/** An engine that has room: a cache without a size of its own gets what is left, one sequence at least. */
function fitEngine(model: PlannedBase, size: EngineSize, free: FreeMemory): EngineMemory | undefined {
  const { one, all } = cacheSizes(model, size);
  const given = size.cacheMemory;
  const least = Math.min(all, given ?? one);
  const drafts = size.draftTokens > 0 && size.computeDtype === "int8" ? [true, false] : [false];
  const choices = [true, false].flatMap((expand) => drafts.map((twice) => ({ expand, twice })));
  for (const choice of choices) {
    const smallest = planEngine(model, size, { cacheMemory: least, ...choice });
    if (!fitsMemory(smallest, free)) continue;
    const left = CACHE_SHARE * (free.bytes + free.resident - smallest.bytes);
    const cacheMemory = given ?? Math.max(least, Math.min(defaultCacheMemory(model, size), least + left));
    const plan = planEngine(model, size, { cacheMemory: Math.min(all, cacheMemory), ...choice });
    return { plan, cacheMemory, ...choice };
  }
  return undefined;
}

/**
 * The memory of an engine that has room.
 *
 * @throws MosError "memory" with the parts of the plan and the settings that would fit.
 */
export function requireEngineMemory(model: PlannedBase, size: EngineSize, free: FreeMemory): EngineMemory {
  const found = fitEngine(model, size, free);
  if (found !== undefined) return found;
  const { one, all } = cacheSizes(model, size);
  const cacheMemory = Math.min(all, size.cacheMemory ?? one);
  const smallest = { cacheMemory, expand: false, twice: false };
  const plan = planEngine(model, size, smallest);
  const remedies = (): readonly string[] => engineRemedies(model, size, free);
  assertMemory(plan, { what: `an engine of ${model.name}`, free, remedies });
  return { plan, ...smallest };
}

/** Settings that fit: a smaller base, a smaller cache, shorter sequences, or the first of these together. */
function engineRemedies(model: PlannedBase, size: EngineSize, free: FreeMemory): readonly string[] {
  const lengths = [4, 16].map((share) => Math.floor(size.maxLength / share)).filter((length) => length >= 64);
  const changes: readonly (readonly [string, Partial<EngineSize>])[] = [
    ["--base-dtype int4", { baseDtype: "int4" }],
    ["--cache-dtype float16", { cacheDtype: "float16" }],
    ...(size.cacheMemory === undefined ? [] : [["no --cache-memory", { cacheMemory: undefined }] as const]),
    ...lengths.map((maxLength) => [`--max-length ${maxLength}`, { maxLength }] as const),
  ];
  const together: typeof changes = lengths.map((maxLength) => [
    `--base-dtype int4 --cache-dtype float16 --max-length ${maxLength}`,
    { baseDtype: "int4", cacheDtype: "float16", maxLength },
  ]);
  const fitting = (some: typeof changes): readonly string[] =>
    some.flatMap(([text, change]) => remedyText(text, fitEngine(model, { ...size, ...change }, free)?.plan));
  const alone = fitting(changes);
  return (alone.length > 0 ? alone : fitting(together)).slice(0, 2);
}
