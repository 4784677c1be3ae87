// Interface of the sandbox: running a Python program to its end.

/** An error of a sandbox, other than one of a program. */
export class SandboxError extends Error {
  override readonly name = "SandboxError";
  readonly code: "bad_option" | "cancelled" | "device" | "not_found" | "unsupported";

  constructor(code: SandboxError["code"], message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

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
   * @throws SandboxError `cancelled` by the signal or by disposing; `device` where no process can be started any more.
   */
  check(program: string, signal?: AbortSignal): Promise<CheckResult>;
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

/** Those of one program, checked and with their defaults. */
export type Limits = Readonly<Record<"seconds" | "memory", number>>;
export type Settings = Limits & { readonly workers: number };

export const cancelled = (signal: AbortSignal | undefined): SandboxError =>
  new SandboxError("cancelled", "checking a program was stopped", { cause: signal?.reason });

/** A promise's value, or the first reason why there is none, unless the signal comes before. */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const stop = (): void => reject(cancelled(signal));
    if (signal.aborted) stop();
    signal.addEventListener("abort", stop, { once: true });
    promise
      .then(resolve, (error: unknown) => reject(error instanceof AggregateError ? error.errors[0] : error))
      .finally(() => signal.removeEventListener("abort", stop));
  });
}
