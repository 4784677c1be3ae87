// A page has no processes for programs that nobody trusts.
import { MosError } from "#core";

export type { CheckerOptions, CheckReason, ProgramChecker } from "./types.ts";

/** @throws MosError `unsupported`. */
export async function createProgramChecker(): Promise<never> {
  throw new MosError("unsupported", "Python programs cannot be run in a browser; choose another grader");
}
