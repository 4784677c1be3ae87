export { createProgramChecker } from "./create-checker.ts";
export type { CheckerOptions, CheckReason, ProgramChecker } from "./types.ts";
