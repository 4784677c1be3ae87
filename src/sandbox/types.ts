// Interface of the sandbox: running a Python program to its end.
import { MosError } from "#core";

/** For people. A program chooses what follows the colon. */
export type CheckReason = "passed" | "timed out" | `failed: ${string}` | `not allowed: ${string}`;

/** The result of a program. */
export interface CheckResult {
  /** True where the whole program ran without an error, in time. */
  readonly passed: boolean;
  readonly reason: CheckReason;
}

/** Runs untrusted Python programs. Disposing it ends its processes. */
export interface ProgramChecker extends AsyncDisposable {
  /**
   * Runs a program in empty globals. Each starts from the same state, unaffected by earlier ones.
   *
   * @throws MosError `cancelled` by the signal or by disposing; `device` where no process can be started any more.
   */
  check(program: string, signal?: AbortSignal): Promise<CheckResult>;
}

/** Runs the programs of a checker, at most as many at a time as its settings allow. */
export interface ProgramRunner extends AsyncDisposable {
  check(program: string, signal: AbortSignal): Promise<CheckResult>;
}

/** Options for running programs. */
export interface CheckerOptions {
  /** Programs at a time; default 2. One more process than that is kept ready. */
  readonly workers?: number | undefined;
  /** Maximum time of a program in seconds; default 3. What has not ended one second later is killed. */
  readonly seconds?: number | undefined;
  /** Maximum memory of a program in bytes, at least 64 MiB; default 512 MiB. */
  readonly memory?: number | undefined;
  /**
   * Path of a Python of the system that runs the programs instead of Pyodide. It has limits of time and memory, but is NOT a
   * sandbox: a program can read and write files, use the network, and forge its result. Only for programs that are trusted,
   * or on a machine that may be lost.
   */
  readonly python?: string | undefined;
  /** Stops starting; a checker that has started is ended by disposing it. */
  readonly signal?: AbortSignal | undefined;
}

/** The same, checked and with its defaults. */
export interface Settings {
  readonly workers: number;
  readonly seconds: number;
  readonly memory: number;
}

export const cancelled = (signal: AbortSignal | undefined): MosError =>
  new MosError("cancelled", "checking a program was stopped", { cause: signal?.reason });
