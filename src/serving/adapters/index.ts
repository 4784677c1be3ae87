export type {
  AdapterLease,
  AdapterTiers,
  AdapterTiersOptions,
  AdapterTiersStats,
  ResidentDtype,
} from "./types.ts";
