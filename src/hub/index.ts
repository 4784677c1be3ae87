export { type PulledModel, resolveCached } from "./cache.ts";
export type { ConnectionOptions } from "./connection.ts";
export { type PulledDataset, pullDataset } from "./dataset.ts";
export { type PullEvent, pull } from "./pull.ts";
export { looksLikeRepository } from "./repository.ts";
export type { ListedFile } from "./select.ts";
export { type HubSettings, hubAssetsFolder, hubSettings } from "./settings.ts";
export { fetchTextFile } from "./text-file.ts";
export type { TransferEvent } from "./transfer.ts";
