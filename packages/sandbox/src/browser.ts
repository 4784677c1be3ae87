// A page has no processes for programs that nobody trusts.
import { SandboxError } from "./checker.ts";

export type { CheckerOptions, CheckReason, ProgramChecker } from "./checker.ts";
export { SandboxError };

/** @throws SandboxError `unsupported`. */
export async function createProgramChecker(): Promise<never> {
  throw new SandboxError("unsupported", "Python programs cannot be run in a browser; choose another grader");
}
