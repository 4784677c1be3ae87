export { createProgramChecker } from "./create-checker.ts";
export { type CheckerOptions, type CheckReason, type ProgramChecker, SandboxError } from "./types.ts";
