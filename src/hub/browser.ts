// A page reads no repository of the Hub by name: it is given files, or fetches an address.
import { MosError } from "#core";
import type { PulledModel } from "./cache.ts";
import type { HubOptions, HubSettings } from "./settings.ts";

export { type Failure, retryAdvice } from "./failure.ts";
export type { PullDatasetOptions, PullEvent, PulledDataset } from "./pull.ts";
export { looksLikeRepository } from "./repository.ts";
export type { ListedFile } from "./select.ts";
export type { HubOptions, HubSettings } from "./settings.ts";
export type { TransferEvent } from "./transfer.ts";

export const withHubDefaults = async (given: HubOptions = {}): Promise<HubSettings> => ({
  cacheFolder: given.cacheFolder ?? "/hub",
  endpoint: given.endpoint ?? "https://huggingface.co",
  offline: given.offline ?? false,
});

export const resolveCached = async (): Promise<PulledModel | undefined> => undefined;

export const cachedDataset = async (): Promise<undefined> => undefined;

const unsupported = (name: string): MosError =>
  new MosError(
    "unsupported",
    `${name}: a page cannot read repositories of the Hub by name; give a file, a folder or an address`,
  );

/** @throws MosError `unsupported`. */
export function pull(name: string): never {
  throw unsupported(name);
}

/** @throws MosError `unsupported`. */
export function pullDataset(name: string): never {
  throw unsupported(name);
}
