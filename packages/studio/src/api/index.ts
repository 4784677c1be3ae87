export { api, type JsonOf, type StreamOptions } from "./client.ts";
export { type Config, config, loadConfig } from "./config.ts";
export { connection } from "./connection.ts";
export { type Poll, type PollOptions, poll, usePoll } from "./poll.ts";
export { ApiProblem, messageOf } from "./problem.ts";
export type { components, paths } from "./schema.d.ts";
export { isSignedIn, needsKey, signIn, signOut } from "./session.ts";
export { readEvents } from "./stream.ts";
