export { residentBytes } from "./layout.ts";
export { openAdapterTiers } from "./tiers.ts";
export type { AdapterLease, AdapterTiers, ResidentDtype } from "./types.ts";
