// What each layer of an adapter is made of: the rows of the pools that make its A and B, and the norms of both and of the update.
import { type ModelConfig, toLayerShapes } from "#models";
import type { Adapter } from "./adapter.ts";
import { loadAdapter } from "./folder.ts";
import { type ModuleNorms, moduleNorms } from "./inspect.ts";
import type { RoutingTable } from "./method.ts";
import { type AdapterConfig, bindMethod } from "./methods.ts";

/** A module with the pools' rows of its factors, in the order of their vectors; undefined for methods without pools. */
export interface LayerModule extends ModuleNorms {
  readonly rowsA?: readonly number[];
  readonly rowsB?: readonly number[];
}

/** An adapter layer by layer. */
export interface AdapterLayers {
  readonly config: AdapterConfig;
  readonly layers: number;
  readonly pools: readonly Omit<RoutingTable, "table">[];
  /** By linear type, then by layer. */
  readonly modules: readonly LayerModule[];
  /** The tables have so many entries that they were left out. */
  readonly isCut: boolean;
}

/** Entries of all tables: a few megabytes of JSON. */
const MAX_ENTRIES = 2 ** 18;

/** The rows that each layer uses of one table. */
function tableRows({ tensors }: Adapter, table: string): (layer: number) => readonly number[] {
  const found = tensors.get(table);
  const places = found?.shape[1] ?? 0;
  return (layer) => [...(found?.data.subarray(layer * places, (layer + 1) * places) ?? [])];
}

/** Rows of A and B of a module, from the tables of its linear type. */
function moduleRows(adapter: Adapter, tables: readonly RoutingTable[], module: ModuleNorms) {
  const rows: { rowsA?: readonly number[]; rowsB?: readonly number[] } = {};
  for (const { linear, side, table } of tables) {
    if (linear !== module.linear) continue;
    const own = tableRows(adapter, table)(module.layer);
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
  { model }: { readonly model: ModelConfig },
): Promise<AdapterLayers> {
  const shapes = toLayerShapes(model);
  const adapter = await loadAdapter(folder, { shapes, fingerprint: undefined });
  const tables = bindMethod(adapter.config).routing(shapes);
  const entries = tables.reduce((sum, { table }) => sum + (adapter.tensors.get(table)?.data.length ?? 0), 0);
  const isCut = entries > MAX_ENTRIES;
  const norms = await moduleNorms(adapter);
  return {
    config: adapter.config,
    layers: shapes.layers,
    pools: tables.map(({ table: _, ...pool }) => pool),
    modules: norms.map((module) => ({ ...module, ...(isCut ? {} : moduleRows(adapter, tables, module)) })),
    isCut,
  };
}
