// What the room offers: whether a program runs to its end.

/** For people. A program chooses what follows the colon. */
export type CheckReason = "passed" | "timed out" | `failed: ${string}` | `not allowed: ${string}`;

export interface CheckResult {
  /** True where the whole program ran without an error, in time. */
  readonly passed: boolean;
  readonly reason: CheckReason;
}

/** Runs Python programs that nobody vouches for. Disposing it ends its processes. */
export interface ProgramChecker extends AsyncDisposable {
  /**
   * Runs a program in empty globals. Each finds everything as the first one did, whatever others have done.
   *
   * @throws MosError `cancelled` by the signal or by disposing; `device` where no process can be started any more.
   */
  check(program: string, signal?: AbortSignal): Promise<CheckResult>;
}

export interface CheckerOptions {
  /** Programs at a time; 2 without. One more process than that is kept ready. */
  readonly workers?: number | undefined;
  /** Longest time of a program; 3 without. What has not ended one second later is killed. */
  readonly seconds?: number | undefined;
  /** Most memory of a program in bytes; 512 MiB without, and 64 MiB at least. */
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
