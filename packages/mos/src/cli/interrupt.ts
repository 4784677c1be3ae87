// Ctrl-C and SIGTERM: the first one asks the program to end, the second one ends it.
import { spawn } from "node:child_process";
import { warn } from "./terminal.ts";

/** Signals that ask a program to end, and what the program does about them. */
export interface Interrupt extends Disposable {
  /** Fires at the first Ctrl-C or SIGTERM. A second one ends the process at once. */
  readonly signal: AbortSignal;
  /** Stops listening, until `listen`: Ctrl-C ends the process at once then, also where it is busy for long. */
  ignore(): void;
  /** Listens again. */
  listen(): void;
}

/** 128 + SIGINT, as shells have it. */
export const EXIT_INTERRUPTED = 130;

const AGAIN = "exiting at once";

/**
 * A process that hears Ctrl-C in the terminal too: a step of a large model keeps this one for seconds, in which no listener
 * runs. It says what happens, and at the second Ctrl-C kills its parent where that has not ended by itself. It reads what to
 * say from its standard input, nothing while Ctrl-C is ignored, and ends with it: by a signal, since Node at its exit would
 * put the terminal back into the mode in which it started, while a chat or the shell reads single keys.
 */
const WATCHER = `
const parent = process.ppid; // once that has ended, the parent is another program
let text = "", count = 0;
process.on("SIGINT", () => {
  if (text === "" || ++count > 2) return;
  const clear = process.stderr.isTTY ? "\\r\\u001b[K" : "";
  process.stderr.write(clear + (count === 1 ? text : "${AGAIN}") + "\\n");
  process.stdout.write(".");
  if (count === 2) setTimeout(() => process.ppid === parent && process.kill(parent, "SIGKILL"), 200);
});
process.stdin.on("data", (data) => { text = String(data).split("\\n").at(-2); })
  .on("end", () => process.kill(process.pid, "SIGKILL"));`;

/** Starts the watcher, which does not keep this process running. */
function startWatcher() {
  const child = spawn(process.execPath, ["-e", WATCHER], { stdio: ["pipe", "pipe", "inherit"], env: {} });
  let hasSpoken = false;
  child.on("error", () => undefined);
  child.stdin.on("error", () => undefined);
  child.stdout.on("data", () => {
    hasSpoken = true;
  });
  for (const handle of [child, child.stdin, child.stdout] as unknown as { unref(): void }[]) handle.unref();
  return {
    /** Whether it said something. */
    hasSpoken: () => hasSpoken,
    /** What it says at the first Ctrl-C; nothing for "". */
    say: (text: string) => void child.stdin.write(`${text}\n`),
    end: () => void child.stdin.end(),
  };
}

export interface InterruptOptions {
  /** Says nothing. */
  readonly silent?: boolean;
  /** Writes a line to stderr. */
  readonly print?: (text: string) => void;
  /** True where a person can press Ctrl-C. */
  readonly isTerminal?: boolean;
}

/** Milliseconds that the watcher has to speak in before this process does. */
const WATCHER_TIME = 100;

/**
 * Listens for Ctrl-C and SIGTERM until disposed of.
 *
 * @param text Said at the first one: what happens now.
 */
export function listenForInterrupt(
  text: string,
  { silent = false, print = warn, isTerminal = process.stderr.isTTY === true }: InterruptOptions = {},
): Interrupt {
  const controller = new AbortController();
  const said = `${text}; Ctrl-C again exits at once`;
  const watcher = isTerminal && !silent ? startWatcher() : undefined;
  const say = (line: string): void => {
    if (!silent && watcher?.hasSpoken() !== true) print(line);
  };
  const listener = (): void => {
    if (controller.signal.aborted) {
      say(AGAIN);
      process.exit(EXIT_INTERRUPTED);
    }
    controller.abort();
    if (watcher === undefined) say(said);
    else setTimeout(say, WATCHER_TIME, said).unref();
  };
  const listen = (): void => {
    process.on("SIGINT", listener).on("SIGTERM", listener);
    watcher?.say(said);
  };
  const ignore = (): void => {
    process.off("SIGINT", listener).off("SIGTERM", listener);
    watcher?.say("");
  };
  listen();
  return {
    signal: controller.signal,
    ignore,
    listen,
    [Symbol.dispose]: () => {
      ignore();
      watcher?.end();
    },
  };
}

/** Time that a process may take to exit after its time to stop. */
const END_SECONDS = 15;

/**
 * Terminates the process with exit code 1 where it still runs 15 seconds after its time to stop, which is `seconds` after
 * the signal: what it waits for may hang. Disposing it cancels that.
 *
 * @param onForced Told after how many seconds the process is terminated.
 */
export function forceExit(
  signal: AbortSignal,
  { seconds, onForced }: { readonly seconds: number; readonly onForced: (seconds: number) => void },
): Disposable {
  let timer: NodeJS.Timeout | undefined;
  const force = (): void => {
    onForced(seconds + END_SECONDS);
    process.exit(1);
  };
  const start = (): void => {
    timer = setTimeout(force, (seconds + END_SECONDS) * 1000);
  };
  signal.addEventListener("abort", start, { once: true });
  return {
    [Symbol.dispose]: () => {
      signal.removeEventListener("abort", start);
      clearTimeout(timer);
    },
  };
}
