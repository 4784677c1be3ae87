export { type CheckerOptions, type CheckReason, type ProgramChecker, SandboxError } from "./checker.ts";
export { createProgramChecker } from "./create-checker.ts";
