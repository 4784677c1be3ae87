export { streamEvents } from "./answer.ts";
export { type ApiServer, createServer } from "./app.ts";
export {
  type ApiKey,
  hashKey,
  type KeyLimits,
  type KeyLine,
  type KeyRing,
  openKeyFile,
} from "./auth.ts";
export type { ServerApp, ServerExtension, ServerOptions } from "./context.ts";
export { findAdapter } from "./engine-requests.ts";
export { ApiError, watchStorage } from "./errors.ts";
export { listen } from "./http.ts";
export {
  addKey,
  isExpired,
  keyExpiry,
  keyName,
  keyStart,
  makeKey,
  parseExpiry,
  readKeyFile,
  revokeKeys,
  shortHash,
} from "./key-file.ts";
export type { ServerLog } from "./metrics.ts";
export { invalidForm, readMultipart } from "./multipart.ts";
export { jsonBody, optional } from "./request.ts";
export { storedConversation } from "./responses/request.ts";
export type { ResponseLimits, ResponseStore, StoredResponse } from "./responses/store.ts";
export { apiRoute, deleted, idParams, pages, type Route, route, wholeNumber } from "./route.ts";
export { trainingSchema } from "./routes/system.ts";
export {
  networkSettings,
  openApp,
  type RunningServer,
  type ServedApp,
  type ServedModel,
  type ServeOptions,
  serve,
} from "./serve.ts";
export { openCertificate, type TlsOptions } from "./tls.ts";
