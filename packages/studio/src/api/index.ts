export { api, type JsonOf } from "./client.ts";
export { type Config, config, hasService, loadConfig } from "./config.ts";
export { connection } from "./connection.ts";
export { type Poll, usePoll } from "./poll.ts";
export { ApiProblem, messageOf } from "./problem.ts";
export { hasEnded, type Run, type RunMetrics } from "./runs.ts";
export type { components } from "./schema.d.ts";
export { isRefused, isSignedIn, needsKey, signIn, signOut } from "./session.ts";
export { type StoredFile, upload } from "./upload.ts";
