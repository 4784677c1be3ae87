export { type PulledModel, type ResolveOptions, resolveCached } from "./cache.ts";
export { type PullEvent, type PullOptions, pull } from "./pull.ts";
export { looksLikeRepository, parseRepository, type Repository } from "./repository.ts";
export type { ListedFile } from "./select.ts";
export { type HubEnvironment, type HubSettings, hubSettings } from "./settings.ts";
