export { type ResidentBytes, residentBytes } from "./layout.ts";
export { openAdapterTiers } from "./tiers.ts";
export type {
  AdapterLease,
  AdapterTiers,
  AdapterTiersOptions,
  AdapterTiersStats,
  ResidentDtype,
} from "./types.ts";
