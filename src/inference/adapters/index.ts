export { residentBytes } from "./layout.ts";
export { noAdapters, openAdapterManager } from "./tiers.ts";
export type { AdapterLease, AdapterManager, ResidentDtype } from "./types.ts";
