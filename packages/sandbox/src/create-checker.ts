import { z } from "zod";
import {
  type CheckerOptions,
  type CheckResult,
  type ProgramChecker,
  SandboxError,
  unlessAborted,
} from "./checker.ts";
import { PyodideChecker } from "./pyodide-checker.ts";
import { openSystemPython } from "./system-python.ts";

const MIB = 2 ** 20;
/** Longer programs are refused: HumanEval's have some kilobytes. */
const MAX_PROGRAM_BYTES = MIB;

const schema = z.object({
  workers: z.int().min(1).max(64).default(2),
  seconds: z.number().positive().max(3600).default(3),
  memory: z
    .int()
    .min(64 * MIB)
    .max(2048 * MIB)
    .default(512 * MIB),
  python: z.string().min(1).optional(),
});

/**
 * Opens what runs Python programs. Without `python` they run in Pyodide, in processes that can reach neither files nor network
 * nor other processes; it takes some seconds until the first can run.
 *
 * @throws SandboxError `bad_option`, `not_found` for a Python that is not there, `device`, `cancelled`.
 * @example
 * await using checker = await createProgramChecker();
 * const { passed, reason } = await checker.check("assert sorted([2, 1]) == [1, 2]");
 */
export async function createProgramChecker({
  signal,
  ...options
}: CheckerOptions = {}): Promise<ProgramChecker> {
  const parsed = schema.safeParse(options);
  if (!parsed.success)
    throw new SandboxError("bad_option", `program checker: ${z.prettifyError(parsed.error)}`);
  const { python, ...settings } = parsed.data;
  const runner =
    python === undefined
      ? await PyodideChecker.open(settings, signal ?? new AbortController().signal)
      : await openSystemPython(python, settings);
  const closing = new AbortController();
  const running = new Set<Promise<CheckResult>>();
  return {
    async check(program, signal) {
      const reason = unreadable(program);
      if (reason !== undefined) return { passed: false, reason: `failed: ${reason}` };
      const either = AbortSignal.any([closing.signal, ...(signal === undefined ? [] : [signal])]);
      while (running.size >= settings.workers) await unlessAborted(firstEnd(running), either);
      const result = runner.check(program, either);
      running.add(result);
      try {
        return await result;
      } finally {
        running.delete(result);
      }
    },
    async [Symbol.asyncDispose]() {
      closing.abort(new SandboxError("cancelled", "the program checker was closed"));
      await Promise.allSettled(running);
      await runner[Symbol.asyncDispose]();
    },
  };
}

/** Resolves when one of these has ended, with a result or an error. */
const firstEnd = (running: ReadonlySet<Promise<unknown>>): Promise<unknown> =>
  Promise.race([...running].map((one) => one.catch(() => undefined)));

/** Python's error for text that cannot be a program; undefined if it may be one. */
function unreadable(program: string): string | undefined {
  if (Buffer.byteLength(program) > MAX_PROGRAM_BYTES) return `longer than ${MAX_PROGRAM_BYTES} bytes`;
  // C would end the program there, before its tests
  if (program.includes("\0")) return "SyntaxError: source code string cannot contain null bytes";
  if (/\p{Surrogate}/u.test(program)) return "UnicodeEncodeError: surrogates not allowed";
  return undefined;
}
