export { createProgramChecker } from "./create-checker.ts";
export type { CheckerOptions, CheckResult, ProgramChecker } from "./types.ts";
