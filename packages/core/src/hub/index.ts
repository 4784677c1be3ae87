export { type PulledModel, resolveCached } from "./cache.ts";

export { connect, readBounded } from "./connection.ts";
export { type Failure, retryAdvice } from "./failure.ts";
export * from "./hub-settings.ts";
export { type Digest, findModelFiles } from "./listing.ts";
export * from "./pull.ts";
export { type PushEvent, push } from "./push.ts";
export { looksLikeRepository, repositoryAt } from "./repository.ts";
export type { ListedFile } from "./select.ts";
export type { TransferEvent } from "./transfer.ts";
