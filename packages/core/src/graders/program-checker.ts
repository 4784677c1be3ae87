import {
  type CheckerOptions,
  createProgramChecker as open,
  type ProgramChecker,
  SandboxError,
} from "mixture-of-shards-sandbox";
import { MosError } from "#common";

export type { CheckerOptions, CheckReason, ProgramChecker } from "mixture-of-shards-sandbox";

function rethrow(error: unknown): never {
  throw error instanceof SandboxError ? new MosError(error.code, error.message, { cause: error }) : error;
}

/**
 * Opens a sandbox for Python programs, as `mixture-of-shards-sandbox` does.
 *
 * @throws MosError `bad_option`, `not_found` for a Python that is not there, `device`, `cancelled`.
 */
export async function createProgramChecker(options?: CheckerOptions): Promise<ProgramChecker> {
  const checker = await open(options).catch(rethrow);
  return {
    check: (program, signal) => checker.check(program, signal).catch(rethrow),
    [Symbol.asyncDispose]: () => checker[Symbol.asyncDispose](),
  };
}
