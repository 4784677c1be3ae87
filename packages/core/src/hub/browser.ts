// A page has no cache of the Hub's tools: `loadModel` of packages/core/src/web lists a model's files, and keeps them as it keeps all models.
import { MosError } from "#common";
import type { PulledModel } from "./cache.ts";
import {
  type Connection,
  type ConnectionOptions,
  connect as connectAnywhere,
  DEFAULT_ENDPOINT,
} from "./connection.ts";
import type { HubOptions, HubSettings } from "./hub-settings.ts";

export { readBounded } from "./connection.ts";
export { type Failure, retryAdvice } from "./failure.ts";
export type { HubOptions, HubSettings } from "./hub-settings.ts";
export { type Digest, findModelFiles } from "./listing.ts";
export type { PullDatasetOptions, PullEvent, PulledDataset } from "./pull.ts";
export { looksLikeRepository, repositoryAt } from "./repository.ts";
export type { ListedFile } from "./select.ts";
export type { TransferEvent } from "./transfer.ts";

/** The browser follows redirects, and keeps the token from other origins. */
export const connect = (options: ConnectionOptions): Connection =>
  connectAnywhere({ fetch: (input, init) => fetch(input, { ...init, redirect: "follow" }), ...options });

export const withHubDefaults = async (given: HubOptions = {}): Promise<HubSettings> => ({
  cacheFolder: given.cacheFolder ?? "/hub",
  endpoint: given.endpoint ?? DEFAULT_ENDPOINT,
  offline: given.offline ?? false,
});

export const resolveCached = async (): Promise<PulledModel | undefined> => undefined;

export const cachedDataset = async (): Promise<undefined> => undefined;

const unsupported = (name: string): MosError =>
  new MosError(
    "unsupported",
    `${name}: only models are loaded from the Hub by name in a page, with loadModel; give files or an address`,
  );

/** @throws MosError `unsupported`. */
export function pull(name: string): never {
  throw unsupported(name);
}

/** @throws MosError `unsupported`. */
export function pullDataset(name: string): never {
  throw unsupported(name);
}
