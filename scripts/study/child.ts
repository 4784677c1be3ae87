// A process with a group of its own that stands still while a file exists: the times of other work are taken then.
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { pathExists } from "#files";

const LOOK_EVERY = 1000;

export interface ChildOptions {
  /** While this file exists, the child and all of its processes are stopped. */
  readonly pause: string;
  readonly signal: AbortSignal;
  readonly onLine: (line: string) => void;
}

/** Waits while the file exists. */
export async function whilePaused(pause: string, signal: AbortSignal): Promise<void> {
  while (!signal.aborted && (await pathExists(pause))) await sleep(LOOK_EVERY);
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // it has ended
  }
}

/** Runs a program of Node to its end and gives its exit code. An aborted signal ends it, stopped or not. */
export async function runChild(
  args: readonly string[],
  { pause, signal, onLine }: ChildOptions,
): Promise<number> {
  const child = spawn(process.execPath, [...args], { detached: true, stdio: ["ignore", "pipe", "inherit"] });
  createInterface({ input: child.stdout }).on("line", onLine);
  let isOver = false;
  const ended = new Promise<number>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  }).finally(() => {
    isOver = true;
  });
  const stop = (): void => {
    signalGroup(child, "SIGCONT");
    // as Ctrl-C: cells stop after their update, with a checkpoint
    signalGroup(child, "SIGINT");
  };
  signal.addEventListener("abort", stop, { once: true });
  let isStopped = false;
  while (!isOver) {
    const wanted = !signal.aborted && (await pathExists(pause));
    if (wanted !== isStopped) signalGroup(child, wanted ? "SIGSTOP" : "SIGCONT");
    isStopped = wanted;
    await Promise.race([ended.catch(() => undefined), sleep(LOOK_EVERY)]);
  }
  signal.removeEventListener("abort", stop);
  return ended;
}
