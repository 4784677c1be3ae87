import { MosError } from "#core";
import type { AdapterTiers } from "./adapters/index.ts";

/** The tiers of an engine that serves the base alone. */
export const noAdapters: AdapterTiers = {
  list: () => [],
  refresh: async () => [],
  acquire: async (name) => {
    throw new MosError("not_found", `there is no adapter ${name}: this engine was opened without adapters`);
  },
  stats: () => ({
    registered: 0,
    resident: 0,
    residentBytes: 0,
    residentLimit: 0,
    hits: 0,
    misses: 0,
    evictions: 0,
    loads: 0,
    loadSeconds: 0,
    failures: 0,
  }),
  [Symbol.asyncDispose]: async () => undefined,
};
