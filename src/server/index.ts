// Server: OpenAI's API over HTTP in front of an engine. Start with app.ts, then chat.ts and completions.ts.
export { restoreAdapters } from "./adapter-store.ts";
export { type ApiServer, createServer } from "./app.ts";
export type { ServerLog, ServerOptions } from "./context.ts";
export { type KeyFileOptions, openKeyFile } from "./key-file.ts";
export { type ApiKey, hashOfKey, type KeyLine, type KeyRing, keyLines } from "./key-ring.ts";
export { defaultLimits, type ServerLimits } from "./limits.ts";
export { type Listening, type ListenOptions, listen } from "./listen.ts";
