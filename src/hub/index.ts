export { type PulledModel, resolveCached } from "./cache.ts";

export { type Failure, retryAdvice } from "./failure.ts";
export {
  cachedDataset,
  fetchTextFile,
  type PullDatasetOptions,
  type PullEvent,
  type PulledDataset,
  pull,
  pullDataset,
} from "./pull.ts";
export { type PushEvent, push } from "./push.ts";
export { looksLikeRepository } from "./repository.ts";
export type { ListedFile } from "./select.ts";
export {
  type HubOptions,
  type HubSettings,
  hubAssetsFolder,
  hubSettings,
  withHubDefaults,
} from "./settings.ts";
export type { TransferEvent } from "./transfer.ts";
