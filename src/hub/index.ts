export { type PulledModel, type ResolveOptions, resolveCached } from "./cache.ts";
export type { ConnectionOptions } from "./connection.ts";
export { type PullDatasetOptions, type PulledDataset, pullDataset } from "./dataset.ts";
export { type PullEvent, type PullOptions, pull } from "./pull.ts";
export { looksLikeRepository, parseRepository, type Repository } from "./repository.ts";
export type { ListedFile } from "./select.ts";
export { type HubEnvironment, type HubSettings, hubAssetsFolder, hubSettings } from "./settings.ts";
export { fetchTextFile, type TextFile } from "./text-file.ts";
export type { TransferEvent } from "./transfer.ts";
