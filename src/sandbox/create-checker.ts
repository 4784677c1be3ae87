import { limiter } from "#core";
import { cancelled } from "./cancelled.ts";
import { parseOptions, unreadable } from "./options.ts";
import { PyodideChecker } from "./pyodide-checker.ts";
import { SystemPythonChecker } from "./system-python.ts";
import type { CheckerOptions, ProgramChecker } from "./types.ts";

/**
 * Opens what runs Python programs. Without `python` they run in Pyodide, in processes that can reach neither files nor network
 * nor other processes; it takes some seconds until the first can run.
 *
 * @throws MosError `bad_option`, `not_found` for a Python that is not there, `device`, `cancelled`.
 * @example
 * await using checker = await createProgramChecker();
 * const { passed, reason } = await checker.check("assert sorted([2, 1]) == [1, 2]");
 */
export async function createProgramChecker(options: CheckerOptions = {}): Promise<ProgramChecker> {
  const settings = parseOptions(options);
  const checker =
    settings.python === undefined
      ? await PyodideChecker.open(settings, options.signal)
      : await SystemPythonChecker.open({ ...settings, python: settings.python });
  const turn = limiter(settings.workers, cancelled);
  return {
    async check(program, signal) {
      const reason = unreadable(program);
      if (reason !== undefined) return { passed: false, reason: `failed: ${reason}` };
      return turn(() => checker.check(program, signal), signal);
    },
    [Symbol.asyncDispose]: () => checker[Symbol.asyncDispose](),
  };
}
