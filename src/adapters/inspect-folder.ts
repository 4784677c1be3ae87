import { type ModelConfig, toLayerShapes } from "#models";
import { type Budget, budget } from "./budget.ts";
import { loadAdapter, readShapes } from "./folder.ts";
import type { SavedBase } from "./folder-config.ts";
import { readAdapterBase } from "./folder-files.ts";
import { type ModuleNorms, moduleNorms, type RoutingUse, routingUse } from "./inspect.ts";
import type { LayerShapes } from "./method.ts";
import type { AdapterConfig } from "./methods.ts";

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
}

/**
 * Describes a saved adapter: settings, budget, norms of each layer, and how its pools are used. No weights of the base
 * are read. Throws `bad_option` where the base's config is needed, and what loading an adapter throws.
 *
 * @example
 * const { modules } = await inspectAdapter("adapters/acme");
 * modules.map(({ layer, linear, update }) => `${layer} ${linear} ${update}`);
 */
export async function inspectAdapter(folder: string, { model }: InspectOptions = {}): Promise<Inspection> {
  const base = await readAdapterBase(folder);
  const shapes = model === undefined ? await readShapes(folder) : toLayerShapes(model);
  const adapter = await loadAdapter(folder, { shapes, fingerprint: undefined });
  return {
    adapter: adapter.config,
    base,
    shapes,
    budget: budget(adapter.config, shapes),
    modules: await moduleNorms(adapter),
    routing: routingUse(adapter),
  };
}
