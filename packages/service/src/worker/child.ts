// Child processes that compute. Each ends soon after its parent, and tells it by its pulse whether it computes.
import { type ChildProcess, fork } from "node:child_process";
import { pathToFileURL } from "node:url";
import { childOptions, moduleBeside } from "mixture-of-shards/core";

interface ChildOptions {
  /** More options of Node. */
  readonly execArgv?: readonly string[];
  /** Ends the process. */
  readonly signal?: AbortSignal;
  /** Milliseconds after which it is ended. */
  readonly timeout?: number;
}

const PULSE = pathToFileURL(moduleBeside(import.meta.url, "pulse")).href;

/** Starts a process that only SIGKILL ends from outside. */
export const startChild = (entry: string, { execArgv = [], ...options }: ChildOptions = {}): ChildProcess =>
  fork(entry, [], {
    ...options,
    execArgv: [...childOptions(entry), "--import", PULSE, ...execArgv],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "inherit", "ipc", "pipe"],
    killSignal: "SIGKILL",
  });

/** Calls back in each second in which a child has computed. Returns what stops listening. */
export function onComputing({ stdio }: ChildProcess, listener: () => void): () => void {
  const onData = (beats: Buffer): void => {
    if (beats.includes("+")) listener();
  };
  stdio[4]?.on("data", onData);
  return () => void stdio[4]?.off("data", onData);
}
