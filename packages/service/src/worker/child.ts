// Child processes that compute. Each ends soon after its parent, and tells it by its pulse whether it computes.
import { type ChildProcess, fork } from "node:child_process";
import type { Socket } from "node:net";
import { pathToFileURL } from "node:url";
import { childOptions, moduleBeside } from "mixture-of-shards/cli";

interface ChildOptions {
  /** More options of Node. */
  readonly execArgv?: readonly string[];
  /** Ends the process. */
  readonly signal?: AbortSignal;
  /** Milliseconds after which it is ended. */
  readonly timeout?: number;
}

const PULSE = pathToFileURL(moduleBeside(import.meta.url, "pulse")).href;

/** Starts a process that is killed by SIGKILL. */
export function startChild(entry: string, { execArgv = [], ...options }: ChildOptions = {}): ChildProcess {
  const child = fork(entry, [], {
    ...options,
    execArgv: [...childOptions(entry), "--import", PULSE, ...execArgv],
    serialization: "advanced",
    stdio: ["ignore", "ignore", "inherit", "ipc", "pipe"],
    killSignal: "SIGKILL",
  });
  // read even where nobody listens, since a full pipe would stop the pulse; and a pulse alone does not keep this process
  const pulse = child.stdio[4] as Socket | null | undefined;
  pulse?.resume().unref();
  return child;
}

/** Calls back in each second in which a child has computed. Returns what stops listening. */
export function onComputing({ stdio }: ChildProcess, listener: () => void): () => void {
  const onData = (beats: Buffer): void => {
    if (beats.includes("+")) listener();
  };
  stdio[4]?.on("data", onData);
  return () => void stdio[4]?.off("data", onData);
}
