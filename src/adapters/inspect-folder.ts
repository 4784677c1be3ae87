import { geometryOf, type ModelConfig } from "#models";
import { type Budget, budget } from "./budget.ts";
import { loadAdapter, readGeometry } from "./folder.ts";
import type { SavedBase } from "./folder-config.ts";
import { readAdapterBase } from "./folder-files.ts";
import { type RoutingUse, routingUse, type SiteNorms, siteNorms } from "./inspect.ts";
import type { AdapterGeometry } from "./method.ts";
import type { AdapterConfig } from "./methods.ts";

/** What an adapter is, costs, and does to its base. */
export interface Inspection {
  readonly adapter: AdapterConfig;
  /** What the folder says about the base; it is not compared with any. */
  readonly base: SavedBase;
  readonly geometry: AdapterGeometry;
  readonly budget: Budget;
  /** By linear type, then by layer. */
  readonly sites: readonly SiteNorms[];
  /** Of methods that route. */
  readonly routing: readonly RoutingUse[];
}

/** What helps to inspect an adapter. */
export interface InspectOptions {
  /** The base's config; some methods keep too little to tell the base's shape without it. */
  readonly model?: ModelConfig | undefined;
}

/**
 * Describes a saved adapter: settings, budget, norms of each layer, and how its pools are used. No weights of the base
 * are read. Throws `bad_option` where the base's config is needed, and what loading an adapter throws.
 *
 * @example
 * const { sites } = await inspectAdapter("adapters/acme");
 * sites.map(({ layer, linear, update }) => `${layer} ${linear} ${update}`);
 */
export async function inspectAdapter(folder: string, { model }: InspectOptions = {}): Promise<Inspection> {
  const base = await readAdapterBase(folder);
  const geometry = model === undefined ? await readGeometry(folder) : geometryOf(model);
  const adapter = await loadAdapter(folder, { geometry, fingerprint: undefined });
  return {
    adapter: adapter.config,
    base,
    geometry,
    budget: budget(adapter.config, geometry),
    sites: await siteNorms(adapter),
    routing: routingUse(adapter),
  };
}
