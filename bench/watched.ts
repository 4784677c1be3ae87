// A command as a process whose peak memory is watched, with that of the processes it starts.
import { spawn } from "node:child_process";
import { readFile } from "node:fs/promises";

export interface Watched {
  readonly code: number | null;
  readonly seconds: number;
  /** Bytes of memory at most (VmHWM), of all its processes together. */
  readonly peak: number;
  readonly output: string;
  readonly errors: string;
}

export interface WatchOptions {
  /** Called with all output so far, whenever there is more; what it returns is sent as a signal. */
  readonly onOutput?: (output: string) => NodeJS.Signals | undefined;
  /** Is given a function that ends the process. */
  readonly stop?: (end: () => void) => void;
}

const read = (path: string): Promise<string> => readFile(path, "utf8").catch(() => "");

async function listChildren(pid: number): Promise<readonly number[]> {
  const text = await read(`/proc/${pid}/task/${pid}/children`);
  const children = text.trim().split(/\s+/).filter(Boolean).map(Number);
  const further = await Promise.all(children.map(listChildren));
  return [...children, ...further.flat()];
}

/** VmHWM of a process in bytes; 0 when it has ended. */
async function highWater(pid: number): Promise<number> {
  const kib = /^VmHWM:\s*(\d+) kB/m.exec(await read(`/proc/${pid}/status`))?.[1];
  return 1024 * Number(kib ?? 0);
}

/** Runs "mos" as it was built, and watches it until it ends. */
export function watch(args: readonly string[], { onOutput, stop }: WatchOptions = {}): Promise<Watched> {
  const started = performance.now();
  const child = spawn(process.execPath, ["packages/mos/dist/cli/main.js", ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const pid = child.pid ?? 0;
  stop?.(() => void child.kill("SIGTERM"));
  const peaks = new Map<number, number>();
  const poll = async (): Promise<void> => {
    for (const one of [pid, ...(await listChildren(pid))])
      peaks.set(one, Math.max(peaks.get(one) ?? 0, await highWater(one)));
  };
  const timer = setInterval(() => void poll(), 50);
  let output = "";
  let errors = "";
  child.stdout.on("data", (part) => {
    output += part;
    const signal = onOutput?.(output);
    if (signal !== undefined) child.kill(signal);
  });
  child.stderr.on("data", (part) => {
    errors += part;
  });
  return new Promise((resolve) => {
    child.on("close", (code) => {
      clearInterval(timer);
      const peak = [...peaks.values()].reduce((a, b) => a + b, 0);
      resolve({ code, seconds: (performance.now() - started) / 1000, peak, output, errors });
    });
  });
}
