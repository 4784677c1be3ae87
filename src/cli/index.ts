export { paint } from "./colour.ts";
export { type Command, defineCommand, group } from "./command.ts";
export { given, JSON_EVENTS, model, quiet } from "./common-options.ts";
export { benchmarksOfUser, findModel, hubOfUser, pullProgress, shownResult } from "./loading.ts";
export { counted, formatDuration, formatInteger } from "./numbers.ts";
export type { Service, ServiceOptions } from "./packages.ts";
export { END_SECONDS, needDatabaseUrl, serviceOptions } from "./service-options.ts";
export { textTable } from "./tables.ts";
export {
  EXIT_INTERRUPTED,
  forceExit,
  type Interrupt,
  type LiveLine,
  listenForInterrupt,
  liveLine,
  sayJson,
  sayLine,
  thisRun,
} from "./terminal.ts";
