import { fork } from "node:child_process";
import { once } from "node:events";
import { childOptions, errorText, moduleBeside } from "mixture-of-shards/cli";
import type { TrialEvent, TrialSpec } from "./cell.ts";
import type { TrialRequest } from "./cell-process.ts";

/** End of a cell's process. A crash has no code: nothing is known but what it last wrote. */
export type TrialEnd =
  | { readonly type: "finished" }
  | { readonly type: "stopped" }
  | { readonly type: "failed"; readonly code?: string; readonly message: string };

export interface ChildOptions {
  /** A module that runs a cell as cell-process.ts does. */
  readonly entry: string | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onStart: (pid: number | undefined) => void;
  readonly onEvent: (event: TrialEvent) => void;
}

const ENTRY = moduleBeside(import.meta.url, "cell-process");

const LAST_WORDS = 2000;

/** Runs a cell in a process of its own, to its end. An aborted signal asks it to save and stop. */
export async function runInChild(
  spec: TrialSpec,
  { entry = ENTRY, signal, onStart, onEvent }: ChildOptions,
): Promise<TrialEnd> {
  if (signal?.aborted === true) return { type: "stopped" };
  const child = fork(entry, [], {
    execArgv: [...childOptions(entry)],
    stdio: ["ignore", "ignore", "pipe", "ipc"],
  });
  onStart(child.pid);
  let end: TrialEnd | undefined;
  let errors = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    errors = `${errors}${chunk.toString()}`.slice(-LAST_WORDS);
  });
  child.on("message", (event: TrialEvent) => {
    if (event.type === "finished" || event.type === "stopped" || event.type === "failed") end = event;
    else onEvent(event);
  });
  const order = (what: TrialRequest): void => {
    // a child that is gone already says so by its exit
    if (child.connected) child.send(what, () => undefined);
  };
  const stop = (): void => order({ type: "stop" });
  signal?.addEventListener("abort", stop, { once: true });
  order({ type: "run", spec });
  try {
    const [code, killedBy] = await once(child, "close");
    return end ?? { type: "failed", message: crashText({ code, killedBy, errors }) };
  } catch (error) {
    return { type: "failed", message: errorText(error) };
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}

function crashText({
  code,
  killedBy,
  errors,
}: {
  readonly code: unknown;
  readonly killedBy: unknown;
  readonly errors: string;
}): string {
  const how =
    killedBy === "SIGKILL"
      ? "its process was killed (SIGKILL); is there enough memory for so many --jobs?"
      : killedBy
        ? `its process was ended by ${killedBy}`
        : `its process ended with code ${code} and no result`;
  const said = errors.trim().split("\n").slice(-3).join(" ");
  return said === "" ? how : `${how}; it wrote: ${said}`;
}
