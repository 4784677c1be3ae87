export { residentBytes } from "./compact-adapter.ts";
export { noAdapters, openAdapterManager } from "./manager.ts";
export type { AdapterLease, AdapterManager, AdaptersListener, ResidentDtype } from "./types.ts";
