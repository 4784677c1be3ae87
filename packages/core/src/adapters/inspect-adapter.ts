// Report on an adapter: its use of the pools, and norm and effective rank of each layer's update, from products of size r × r: with G_A = A Aᵀ and G_B = Bᵀ B,
// ‖B A‖²_F = Σ G_A ∘ G_B, and the squares of the singular values of B A are the eigenvalues of G_A G_B.

import { compile, matmul, type Value } from "mixture-of-shards-graph";
import { MosError, randomStream } from "#common";
import {
  listPools,
  listTargets,
  type ModelConfig,
  moduleKey,
  type Pool,
  type TargetModule,
  toLayerShapes,
} from "#models";
import { type Adapter, type AdapterConfig, adapterLeaves, bindMethod } from "./adapter.ts";
import { type Budget, budget } from "./budget.ts";
import { loadAdapter, readShapes } from "./folder.ts";
import type { SavedBase } from "./folder-config.ts";
import { readAdapterBase } from "./folder-files.ts";
import type { LayerShapes, RoutingTable } from "./method.ts";

/** Norms of the factors of one module. @inline */
export interface ModuleNorms extends TargetModule {
  readonly rank: number;
  readonly scale: number;
  /** ‖A‖_F */
  readonly a: number;
  /** ‖B‖_F */
  readonly b: number;
  /** ‖scale · B A‖_F */
  readonly update: number;
  /** ‖scale · B A‖₂, its largest singular value. */
  readonly spectral: number;
  /** ‖B A‖²_F / ‖B A‖²₂: how many directions count, from 1 to the rank; 0 for an update of zero. */
  readonly stableRank: number;
}

/** The two products of a module are half a gigabyte then. */
const MAX_RANK = 8192;
/** Limit for one factor's products at once. */
const MAX_NUMBERS = 2 ** 26;
const MAX_ITERATIONS = 1000;
/** Far below the rounding of the products, which are float32. */
const CLOSE_ENOUGH = 1e-9;

const trace = (gram: Float32Array, rank: number): number =>
  Array.from({ length: rank }, (_, i) => gram[i * rank + i] ?? 0).reduce((a, b) => a + b, 0);

function dot(x: Float32Array | Float64Array, y: Float32Array | Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i] ?? 0) * (y[i] ?? 0);
  return sum;
}

const times = (matrix: Float32Array, x: Float64Array): Float64Array =>
  x.map((_, row) => dot(matrix.subarray(row * x.length, (row + 1) * x.length), x));

/** The largest eigenvalue of G_A G_B by the power method, in the inner product that makes it symmetric. */
function largestEigenvalue(gramA: Float32Array, gramB: Float32Array, rank: number): number {
  const random = randomStream(0, "power method");
  let x = Float64Array.from({ length: rank }, () => random.normal());
  let value = 0;
  for (let i = 0; i < MAX_ITERATIONS; i++) {
    const u = times(gramB, x);
    const v = times(gramA, u);
    const before = value;
    value = dot(u, v) / dot(x, u);
    const size = Math.sqrt(dot(v, v));
    if (!(size > 0) || !Number.isFinite(value)) return 0;
    if (Math.abs(value - before) <= CLOSE_ENOUGH * value) break;
    x = v.map((entry) => entry / size);
  }
  return value;
}

function computeNorms(
  { layer, linear, rank, scale }: TargetModule & { readonly rank: number; readonly scale: number },
  gramA: Float32Array,
  gramB: Float32Array,
): ModuleNorms {
  const frobenius = Math.max(0, dot(gramA, gramB));
  if (!Number.isFinite(frobenius))
    throw new MosError(
      "bad_adapter",
      `layer ${layer}, ${linear}: the values of A or B overflow when squared, so training has diverged; retrain with a lower learning rate`,
    );
  const spectral = Math.min(frobenius, largestEigenvalue(gramA, gramB, rank));
  return {
    layer,
    linear,
    rank,
    scale,
    a: Math.sqrt(trace(gramA, rank)),
    b: Math.sqrt(trace(gramB, rank)),
    update: Math.abs(scale) * Math.sqrt(frobenius),
    spectral: Math.abs(scale) * Math.sqrt(spectral),
    stableRank: spectral > 0 ? frobenius / spectral : 0,
  };
}

/** One program for these modules: their factors never leave the runtime, only their small products. */
async function computeAllNorms(
  adapter: Adapter,
  targets: readonly TargetModule[],
): Promise<readonly ModuleNorms[]> {
  const leaves = adapterLeaves(adapter);
  const factors = leaves.factors();
  const outputs: Record<string, Value> = {};
  const touched = targets.flatMap((target) => {
    const found = factors(target);
    if (found === undefined) return [];
    outputs[`a.${moduleKey(target)}`] = matmul(found.a, found.a, { transposeB: true });
    outputs[`b.${moduleKey(target)}`] = matmul(found.b, found.b, { transposeB: true });
    return [{ ...target, rank: adapter.config.rank, scale: found.scale }];
  });
  if (touched.length === 0) return [];
  await using program = await compile(outputs);
  program.bind(Object.fromEntries([...leaves.parameters].filter(([name]) => program.inputs.has(name))));
  const grams = await program.run({});
  const gram = (name: string): Float32Array => {
    const data = grams[name]?.data;
    return data instanceof Float32Array ? data : new Float32Array(0);
  };
  return touched.map((target) => {
    const key = moduleKey(target);
    return computeNorms(target, gram(`a.${key}`), gram(`b.${key}`));
  });
}

/**
 * Norms of every module that an adapter touches, by linear type and then by layer.
 *
 * @throws MosError `unsupported` for a rank above 8192, `bad_adapter` for values that overflow when squared.
 */
export async function moduleNorms(adapter: Adapter): Promise<readonly ModuleNorms[]> {
  const { config, shapes } = adapter;
  if (config.rank > MAX_RANK)
    throw new MosError(
      "unsupported",
      `rank ${config.rank} is too large to inspect; the limit is ${MAX_RANK}`,
    );
  const atOnce = Math.floor(MAX_NUMBERS / config.rank ** 2);
  const norms: ModuleNorms[] = [];
  for (const linear of config.targets) {
    const targets = listTargets(shapes, [linear]);
    for (let from = 0; from < targets.length; from += atOnce)
      norms.push(...(await computeAllNorms(adapter, targets.slice(from, from + atOnce))));
  }
  return norms;
}

/** Use counts of the rows of one pool. @inline */
export interface RoutingUse extends Omit<RoutingTable, "table"> {
  /** Entry n: how many of the shared rows are used n times, over all layers. The last entry is not 0. */
  readonly usedTimes: readonly number[];
  /** Uses of a shared row on average. */
  readonly meanUses: number;
  /** The shared row that is used most, the first one of equals. */
  readonly mostUsed: { readonly row: number; readonly times: number };
  /** Private rows as a share of the pool. */
  readonly privateShare: number;
}

function countUse({ table, ...routing }: RoutingTable, { tensors }: Adapter): RoutingUse {
  const uses = new Int32Array(routing.shared);
  for (const row of tensors.get(table)?.data ?? [])
    if (row < routing.shared) uses[row] = (uses[row] ?? 0) + 1;
  const times = uses.reduce((most, count) => Math.max(most, count), 0);
  const usedTimes = Array.from({ length: times + 1 }, () => 0);
  for (const count of uses) usedTimes[count] = (usedTimes[count] ?? 0) + 1;
  return {
    ...routing,
    usedTimes,
    meanUses: routing.shared === 0 ? 0 : uses.reduce((sum, count) => sum + count, 0) / routing.shared,
    mostUsed: { row: Math.max(0, uses.indexOf(times)), times },
    privateShare: routing.private / (routing.shared + routing.private),
  };
}

/** The use of every pool of a method that routes; none for the others. */
export const routingUse = (adapter: Adapter): readonly RoutingUse[] =>
  bindMethod(adapter.config)
    .routing(adapter.shapes)
    .map((table) => countUse(table, adapter));

/** Report on an adapter: its settings, its cost, and its update of the base. @inline */
export interface Inspection {
  readonly adapter: AdapterConfig;
  /** The base recorded in the folder, not compared with any. */
  readonly base: SavedBase;
  readonly shapes: LayerShapes;
  readonly budget: Budget;
  /** By linear type, then by layer. */
  readonly modules: readonly ModuleNorms[];
  /** Routing tables, for methods that route. */
  readonly routing: readonly RoutingUse[];
}

/** Options of inspecting an adapter. @inline */
export interface InspectOptions {
  /** The base's config; some methods keep too little to tell the base's shape without it. */
  readonly model?: ModelConfig | undefined;
  /** Factors of the base's weights, which only some methods need. */
  readonly singular?: LayerShapes["singular"];
}

/**
 * Describes a saved adapter: settings, budget, norms of each layer, and how its pools are used. No weights of the base
 * are read, but for `singular`. Throws `bad_option` where the base's config is needed, and what loading an adapter throws.
 *
 * @example
 * const { modules } = await inspectAdapter("adapters/acme");
 * modules.map(({ layer, linear, update }) => `${layer} ${linear} ${update}`);
 */
export async function inspectAdapter(
  folder: string,
  { model, singular }: InspectOptions = {},
): Promise<Inspection> {
  const base = await readAdapterBase(folder);
  const shapes = model === undefined ? await readShapes(folder) : toLayerShapes(model);
  const adapter = await loadAdapter(folder, { shapes: { ...shapes, singular }, fingerprint: undefined });
  return {
    adapter: adapter.config,
    base,
    shapes,
    budget: budget(adapter.config, shapes),
    modules: await moduleNorms(adapter),
    routing: routingUse(adapter),
  };
}

// What each layer of an adapter is made of: the rows of the pools that make its A and B, and the norms of both and of the update.

/** A module with the pools' rows of its factors, in the order of their vectors; undefined for methods without pools. */
export interface LayerModule extends ModuleNorms {
  readonly rowsA?: readonly number[];
  readonly rowsB?: readonly number[];
}

/** A pool, the linear layer of whose vectors it is made, and the decoder layers that have it in these widths. */
export interface LayerPool extends Omit<RoutingTable, "table" | "linear">, Omit<Pool, "name"> {}

/** An adapter layer by layer. */
export interface AdapterLayers {
  readonly config: AdapterConfig;
  readonly layers: number;
  readonly pools: readonly LayerPool[];
  /** By linear type, then by layer. */
  readonly modules: readonly LayerModule[];
  /** The tables have so many entries that they were left out. */
  readonly isCut: boolean;
}

/** Entries of all tables: a few megabytes of JSON. */
const MAX_ENTRIES = 2 ** 18;

/** The rows of a table that the `index`-th layer of its pool uses. */
function tableRows({ tensors }: Adapter, table: string, index: number): readonly number[] {
  const found = tensors.get(table);
  const places = found?.shape[1] ?? 0;
  return [...(found?.data.subarray(index * places, (index + 1) * places) ?? [])];
}

/** Rows of A and B of a module, from the tables of its linear type. */
function moduleRows(
  adapter: Adapter,
  pools: readonly (LayerPool & Pick<RoutingTable, "table">)[],
  module: ModuleNorms,
) {
  const rows: { rowsA?: readonly number[]; rowsB?: readonly number[] } = {};
  for (const { linear, layers, side, table } of pools) {
    if (linear !== module.linear || !layers.includes(module.layer)) continue;
    const own = tableRows(adapter, table, layers.indexOf(module.layer));
    if (side !== "B") rows.rowsA = own;
    if (side !== "A") rows.rowsB = own;
  }
  return rows;
}

/**
 * Describes the layers of a saved adapter. No weights of the base are read. Throws what loading an adapter and `moduleNorms` throw.
 *
 * @example
 * const { modules } = await readAdapterLayers("adapters/acme", { model: await readModelConfig("models/llama") });
 */
export async function readAdapterLayers(
  folder: string,
  { model, singular }: InspectOptions & { readonly model: ModelConfig },
): Promise<AdapterLayers> {
  const shapes = { ...toLayerShapes(model), singular };
  const adapter = await loadAdapter(folder, { shapes, fingerprint: undefined });
  const places = new Map(listPools(shapes).map((pool) => [pool.name, pool]));
  const tables = bindMethod(adapter.config)
    .routing(shapes)
    .flatMap((routing) => {
      const pool = places.get(routing.linear);
      return pool === undefined ? [] : [{ ...routing, ...pool }];
    });
  const entries = tables.reduce((sum, { table }) => sum + (adapter.tensors.get(table)?.data.length ?? 0), 0);
  const isCut = entries > MAX_ENTRIES;
  const norms = await moduleNorms(adapter);
  return {
    config: adapter.config,
    layers: shapes.layers,
    pools: tables.map(({ table: _, name: __, ...pool }) => pool),
    modules: norms.map((module) => ({ ...module, ...(isCut ? {} : moduleRows(adapter, tables, module)) })),
    isCut,
  };
}
