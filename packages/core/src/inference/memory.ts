// Memory plan of an engine, before anything is loaded.

import { add, linear, programPeak, softCap, supports } from "mixture-of-shards-graph";
import { type WeightFormat, weightBytes } from "mixture-of-shards-graph/common";
import {
  assertMemory,
  chooseWay,
  type FreeMemory,
  fitsMemory,
  type MemoryPlan,
  memoryPlan,
  usableMemory,
} from "#common";
import {
  eachLinear,
  headWeight,
  isMatrix,
  LAYER_EMBEDDINGS,
  type ModelConfig,
  type PlannedBase,
  plainLinear,
  weightLeaves,
  weightShapes,
} from "#models";
import { TOKENIZER_BYTES } from "#text";
import { EMBEDDING, isBlocks, isExpandable, isHeldTwice } from "./base-weights.ts";
import type { ResolvedOptions } from "./engine-options.ts";
import { packedBytes } from "./pack-matrix.ts";
import { LONE_PREFILL_CHUNK, PREFILL_CHUNK } from "./scheduler.ts";
import { AdapterSlots, bytesPerPosition, capacityFor } from "./slots.ts";
import { SNAPSHOT_MEMORY, stateBytes } from "./states.ts";
import { generalStep, type StepBase } from "./step-graphs.ts";

/** Choices each of which takes more memory, and is faster. */
interface Way {
  /** Keeps as float32 what can be expanded. */
  readonly expand: boolean;
  /** Keeps a large base twice, as drafts need it. */
  readonly twice: boolean;
  /** Prompt tokens at a time when no slot decodes. */
  readonly lonePrefillChunk: number;
}

/** The choices of an engine that has room. */
export interface EngineMemory extends Way {
  readonly plan: MemoryPlan;
  readonly cacheMemory: number;
}

/** The most that keys and values take where no setting says otherwise. */
const CACHE_MEMORY = 4e9;
/** Snapshots of a slot's state that there is room for beside a full batch. */
const SNAPSHOTS = 4;
/** Share of the remaining memory: a growing cache briefly holds a layer's old and new arrays. */
const CACHE_SHARE = 0.8;
/** The process, the runtime and the programs. */
const RUNTIME = 200e6;
/** Programs of an engine, beside those of its trainer. */
const LIVE_PROGRAMS = 30e6;
/** The rank that slots are planned for. */
const RANK = 8;

/** The shapes of all weights but embeddings of each layer, and the bytes of these. */
function withoutTable(config: ModelConfig, formats: ReadonlyMap<string, WeightFormat>) {
  const shapes = new Map(weightShapes(config));
  const table = weightBytes(formats.get(LAYER_EMBEDDINGS) ?? FLOAT32, shapes.get(LAYER_EMBEDDINGS) ?? [0, 0]);
  shapes.delete(LAYER_EMBEDDINGS);
  return { shapes, table };
}

/** Bytes of a base that stay as they are read or expanded, and of those that are packed for the runtime. */
function engineBaseBytes(
  config: ModelConfig,
  formats: ReadonlyMap<string, WeightFormat>,
  {
    computeDtype,
    device,
    deterministic,
    expand,
    twice,
  }: Pick<ResolvedOptions, "computeDtype" | "device" | "deterministic"> & Pick<Way, "expand" | "twice">,
) {
  const packs = supports(device, "blockProduct");
  let [plain, packed] = [0, 0];
  const formatFor = (name: string): WeightFormat => {
    const given = formats.get(name) ?? FLOAT32;
    return expand && isExpandable(name, given, { packs, prepack: false }) ? FLOAT32 : given;
  };
  const { shapes, table } = withoutTable(config, formats);
  for (const [name, shape] of shapes) {
    const format = formatFor(name);
    const isPlain = !packs || !isBlocks(format);
    const staysPlain = isPlain && computeDtype === "float32";
    // rows of a stored embedding are read where they lie in the file
    if (staysPlain || !isMatrix(shape) || (isPlain && name === EMBEDDING))
      plain += weightBytes(format, shape);
    const isProduct = config.tiedHead || name !== EMBEDDING;
    if (!staysPlain && isMatrix(shape) && isProduct) packed += packedBytes(format, shape, computeDtype);
  }
  if (!deterministic && isHeldTwice(packed, twice)) packed *= 2;
  // the table is in memory while it is read, before other matrices are packed; later its rows are read where they lie in a file
  return { plain: packs ? Math.max(plain, table - packed) : plain + table, packed };
}

/** Formats for an engine, which packs the weights itself: its own products in int8 need no transposed codes. */
export const AS_KEPT = { computeDtype: "float32", transposedCodes: false } as const;

const FLOAT32: WeightFormat = { kind: "float32" };

/** Factors of the slots of a full batch. */
function slotBytes(config: ModelConfig, { adapters, maxBatch, slotMemory }: ResolvedOptions): number {
  if (!adapters) return 0;
  const { bytesPerRank } = new AdapterSlots(config);
  return Math.min(slotMemory, maxBatch * RANK * bytesPerRank);
}

/**
 * Bytes of the largest step by `prefillChunk`: the last part of the longest prompt, or one token of each sequence of a full batch.
 * Products with packed matrices have the results of plain ones.
 */
function planSteps(
  config: ModelConfig,
  size: Pick<ResolvedOptions, "maxLength" | "maxBatch" | "adapters" | "cacheDtype" | "cacheMemory">,
): (prefillChunk: number) => number {
  const { maxLength, maxBatch, cacheMemory = defaultCacheMemory(config, size) } = size;
  const positions = cacheMemory / bytesPerPosition(config, size.cacheDtype);
  const values = weightLeaves(config);
  const project = eachLinear(values, plainLinear);
  const base: StepBase = {
    config,
    values,
    project: (x, group, branches = []) =>
      project(x, group).map((y, i) => (branches[i] ? add(y, branches[i]) : y)),
    head: (x) => softCap(linear(x, headWeight(config, values)), config.logitSoftCap),
  };
  const outputs = generalStep.outputs(base, size);
  const peak = (slots: number, tokens: number): number => {
    const cached = Math.min(capacityFor(maxLength), Math.ceil(positions / slots));
    const known = { slots, tokens, positions: slots * tokens, cached, logits: slots, rank: RANK, sink: 1 };
    const sizes = new Map(Object.entries(known));
    // "cached + tokens", "rank · 2", "grouped2"
    const sizeOf = (factor: string): number => {
      const [, groups] = /^grouped(\d+)$/.exec(factor) ?? [];
      return groups === undefined ? (sizes.get(factor) ?? Number(factor)) : Number(groups) * tokens;
    };
    const product = (term: string): number =>
      term.split(" · ").reduce((size, factor) => size * sizeOf(factor), 1);
    const dimensionSize = (name: string): number =>
      name.split(" + ").reduce((size, term) => size + product(term), 0);
    return programPeak(outputs, { dimensionSize }).workspace;
  };
  return (prefillChunk) => Math.max(peak(1, Math.min(prefillChunk, maxLength)), peak(maxBatch, 1));
}

/** Bytes of the weights that a live engine expands or packs, beside those of its trainer. */
function liveBaseBytes(
  config: ModelConfig,
  { formats, prepack }: { readonly formats: ReadonlyMap<string, WeightFormat>; readonly prepack: boolean },
): number {
  let bytes = 0;
  for (const [name, shape] of withoutTable(config, formats).shapes) {
    const format = formats.get(name) ?? FLOAT32;
    const isProduct = isMatrix(shape) && (config.tiedHead || name !== EMBEDDING);
    if (isExpandable(name, format, { packs: true, prepack })) bytes += weightBytes(FLOAT32, shape);
    else if (isProduct && isBlocks(format)) bytes += packedBytes(format, shape, "float32");
    else if (isProduct && prepack)
      bytes += weightBytes(format.kind === "int8rows" ? { ...format, transposed: false } : FLOAT32, shape);
  }
  return bytes;
}

/** What a live engine takes beside its trainer: keys and values, and weights that it expands or packs, with the largest step. */
export function liveEngineBytes(
  config: ModelConfig,
  {
    formats,
    prepack,
    ...given
  }: Pick<ResolvedOptions, "maxLength" | "maxBatch"> & Parameters<typeof liveBaseBytes>[1],
): { readonly cache: number; readonly sampler: number } {
  const cache = { cacheDtype: "float32", cacheMemory: Number.POSITIVE_INFINITY } as const;
  const size = { ...given, ...cache, adapters: false };
  const steps = planSteps(config, size)(LONE_PREFILL_CHUNK);
  const base = liveBaseBytes(config, { formats, prepack });
  return { cache: cacheSizes(config, size).all, sampler: base + steps + LIVE_PROGRAMS };
}

/** Bytes that a sequence of `maxLength` tokens takes in the cache: keys and values, inputs of convolutions, and states. */
export const slotCacheBytes = (
  config: ModelConfig,
  {
    maxLength,
    cacheDtype,
  }: Pick<ResolvedOptions, "maxLength"> & { readonly cacheDtype?: ResolvedOptions["cacheDtype"] },
): number => capacityFor(maxLength) * bytesPerPosition(config, cacheDtype) + stateBytes(config);

/** Cache of the longest sequence, and of as many as run side by side. */
function cacheSizes(
  config: ModelConfig,
  { maxBatch, ...size }: Pick<ResolvedOptions, "maxLength" | "maxBatch" | "cacheDtype">,
) {
  const state = stateBytes(config);
  const one = slotCacheBytes(config, size);
  return { one, all: maxBatch * one + Math.min(SNAPSHOT_MEMORY, maxBatch * SNAPSHOTS * state) };
}

/** The limit of the cache where memory does not matter: what a full batch of the longest sequences takes, or 4 GB. */
export const defaultCacheMemory = (...engine: Parameters<typeof cacheSizes>): number =>
  Math.min(CACHE_MEMORY, cacheSizes(...engine).all);

/** The fastest engine that has room, whose cache gets what is left where it has no size of its own, or else the smallest. */
function planEngine(model: PlannedBase, size: ResolvedOptions, free: FreeMemory): EngineMemory {
  const { config } = model;
  const { one, all } = cacheSizes(config, size);
  const given = size.cacheMemory;
  const least = Math.min(all, given ?? one);
  const formats = model.formsOf({ ...AS_KEPT, baseDtype: size.baseDtype });
  const stepsOf = planSteps(config, size);
  const planWay = (way: Way): MemoryPlan => {
    const base = engineBaseBytes(config, formats, { ...size, ...way });
    return memoryPlan({
      base: base.plain + base.packed,
      cache: least,
      slots: slotBytes(config, size),
      steps: stepsOf(way.lonePrefillChunk),
      runtime: RUNTIME + TOKENIZER_BYTES * config.vocabularySize,
    });
  };
  const { deterministic } = size;
  const drafts =
    size.draftTokens > 0 && size.computeDtype === "int8" && !deterministic ? [true, false] : [false];
  const chunks = deterministic ? [PREFILL_CHUNK] : [LONE_PREFILL_CHUNK, PREFILL_CHUNK];
  const ways = [true, false].flatMap((expand) =>
    drafts.flatMap((twice) => chunks.map((lonePrefillChunk) => ({ expand, twice, lonePrefillChunk }))),
  );
  const { plan, ...way } = chooseWay<Way>(ways, planWay, free);
  if (!fitsMemory(plan, free)) return { plan, cacheMemory: least, ...way };
  const left = CACHE_SHARE * (usableMemory(free) - plan.bytes);
  const cacheMemory = given ?? Math.max(least, Math.min(defaultCacheMemory(config, size), least + left));
  const parts = Object.fromEntries(plan.parts.map(({ name, bytes }) => [name, bytes]));
  return { plan: memoryPlan({ ...parts, cache: Math.min(all, cacheMemory) }), cacheMemory, ...way };
}

/** The memory of an engine that has room. Throws "memory" with the parts of the plan and the settings that would fit. */
export function requireEngineMemory(
  model: PlannedBase,
  size: ResolvedOptions,
  free: FreeMemory,
): EngineMemory {
  const found = planEngine(model, size, free);
  const lengths = [4, 16].map((share) => Math.floor(size.maxLength / share)).filter((length) => length >= 64);
  assertMemory<Partial<ResolvedOptions>>(found.plan, {
    what: `an engine of ${model.name}`,
    free,
    changes: [
      size.cacheMemory === undefined ? [] : [{ cacheMemory: undefined }],
      [{ baseDtype: "int4" }],
      [{ cacheDtype: "float16" }],
      lengths.map((maxLength) => ({ maxLength })),
    ],
    planOf: (change) => planEngine(model, { ...size, ...change }, free).plan,
  });
  return found;
}
