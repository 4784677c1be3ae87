export { type ApiServer, createServer } from "./app.ts";
export {
  type ApiKey,
  type FineTuningLimits,
  hashOfKey,
  type KeyFile,
  type KeyFileOptions,
  type KeyLine,
  type KeyRing,
  keyLines,
  openKeyFile,
} from "./auth.ts";
export { findAdapter } from "./choices.ts";
export type { ModelNotes, RequestContext, ServerApp, ServerExtension, ServerOptions } from "./context.ts";
export { ApiError, type ApiErrorDetails } from "./errors.ts";
export { expectFreePort, type Listening, type ListenOptions, listen } from "./http.ts";
export { defaultLimits, type ServerLimits } from "./limits.ts";
export type { RequestRecord, ServerLog } from "./metrics.ts";
export {
  openQuotas,
  type QuotaKey,
  type Quotas,
  type StoredQuotaOptions,
  type StoredQuotas,
} from "./quotas.ts";
export { bodyChunks, checkedBy, jsonBody } from "./request.ts";
export { failed, ok, security } from "./schemas.ts";
export {
  type AppOptions,
  networkSettings,
  openApp,
  type RunningServer,
  type ServedApp,
  type ServedModel,
  type ServeOptions,
  serve,
} from "./serve.ts";
export { type StorageWatch, watchStorage } from "./storage-watch.ts";
export { type OpenCertificate, openCertificate, type TlsOptions } from "./tls.ts";
