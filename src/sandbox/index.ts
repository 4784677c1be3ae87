export { createProgramChecker } from "./create-checker.ts";
export type { CheckerOptions, CheckReason, CheckResult, ProgramChecker } from "./types.ts";
