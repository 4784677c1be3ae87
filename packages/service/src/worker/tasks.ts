// Tasks of requests in processes of their own: a line of megabytes takes seconds to parse, and would hold all requests.
import { stat } from "node:fs/promises";
import { MosError, type RunPreview } from "mixture-of-shards";
import { moduleBeside, startChild } from "mixture-of-shards/cli";
import { checkLines } from "./check-lines.ts";
import type { PreviewRequest, TaskMethods } from "./task-process.ts";

/** Starts a process of tasks. `exitError` is the error of tasks whose process ends. */
export const startTasks = (
  exitError: (how: string) => MosError,
  heapMegabytes?: number,
): ReturnType<typeof startChild<TaskMethods>> =>
  startChild<TaskMethods>(moduleBeside(import.meta.url, "task-process"), {
    exitError,
    heapMegabytes,
    isBackground: true, // requests come first
  });

const CHECK_LIMITS = {
  /** Checks that run at a time, each of another tenant. */
  running: 2,
  /** Seconds of one check. */
  seconds: 300,
  /** Megabytes of a process's heap. */
  megabytes: 768,
  /** Seconds after which a process without work ends. */
  idleSeconds: 60,
};

/**
 * Bytes of a file that is checked where requests are answered: it takes a few milliseconds. Starting a process takes a second
 * of a processor, for which it waits long where training has all of them.
 */
const SMALL_FILE = 65_536;

/** The client has named no path: it reads of a line, or of the file. */
const describeProblem = (message: string, path: string): string =>
  message
    .replaceAll(`${path}: `, "")
    .replaceAll(`${path}:`, "line ")
    .replaceAll(path, "the file")
    .replace(
      /^line 1:1: not valid JSON .*$/s,
      "$&; files are JSON Lines, which mos data convert writes of CSV and JSON",
    );

/** What is wrong with a file, or with a line of it. */
export interface FileProblem {
  /** Null for the file as a whole. */
  readonly line: number | null;
  readonly message: string;
}

/** Who asks, and for how many problems at most. */
interface CheckClient extends TurnClient {
  /** Default: the first one. */
  readonly most?: number;
}

/**
 * Checks files, in turn for each tenant, one after the other in each process: says what is wrong with a training file; nothing
 * for a good one. Ends when the client leaves.
 */
export function createFileChecker({ running, seconds, megabytes, idleSeconds } = CHECK_LIMITS) {
  const none = Number.POSITIVE_INFINITY; // uploads are limited before
  const takeTurn = createTurns({ running, runningPerTenant: 1, perTenant: none, waiting: none });
  const tooMuch = (): MosError =>
    new MosError("bad_data", `validating the file exceeded ${seconds} s or ${megabytes} MB; split it`);
  /** Processes without work, and what ends each after a while. */
  const idle = new Map<ReturnType<typeof startTasks>, NodeJS.Timeout>();
  const take = (): ReturnType<typeof startTasks> => {
    for (const [child, timer] of idle) {
      clearTimeout(timer);
      idle.delete(child);
      if (child.isAlive) return child;
    }
    return startTasks(tooMuch, megabytes);
  };
  const checkApart = async (path: string, most: number, signal: AbortSignal) => {
    const child = take();
    try {
      return await child.call("check", { path, most }, { signal, killAfter: 0, timeout: seconds });
    } finally {
      idle.set(child, setTimeout(() => child.kill(), idleSeconds * 1000).unref());
    }
  };
  return (path: string, { most = 1, ...client }: CheckClient): Promise<readonly FileProblem[]> =>
    takeTurn(async () => {
      try {
        const { size } = await stat(path);
        const problems = await (size <= SMALL_FILE
          ? checkLines(path, most)
          : checkApart(path, most, client.signal));
        return problems.map(({ line, message }) => ({ line, message: describeProblem(message, path) }));
      } catch (error) {
        if (!(error instanceof MosError) || error.code !== "bad_data") throw error;
        return [{ line: null, message: describeProblem(error.message, path) }];
      }
    }, client);
}

const PREVIEW_LIMITS = {
  running: 2,
  runningPerTenant: 1,
  perTenant: 2,
  waiting: 64,
  /** Seconds of one preview. */
  seconds: 300,
  /** Megabytes of the process's heap. */
  megabytes: 2048,
};

/**
 * Makes previews, in turn for each tenant: one that is slow holds up those of its own tenant only. Throws MosError: `busy` where
 * too many wait, and as `previewRun`.
 */
export function createPreviewer({ seconds, megabytes, ...limits } = PREVIEW_LIMITS) {
  const takeTurn = createTurns(limits);
  const tooMuch = (): MosError =>
    new MosError(
      "memory",
      `the preview exceeded ${seconds} s or ${megabytes} MB; preview a part of the file`,
    );
  return (order: PreviewRequest, client: TurnClient): Promise<RunPreview> =>
    takeTurn(async () => {
      await using child = startTasks(tooMuch, megabytes);
      return await child.call("preview", order, { signal: client.signal, killAfter: 0, timeout: seconds });
    }, client);
}

/** Limits of tasks. */
export interface TurnLimits {
  /** Running tasks. */
  readonly running: number;
  /** Running tasks of one tenant: with fewer than `running`, no tenant takes all places. */
  readonly runningPerTenant: number;
  /** Running and waiting tasks of one tenant. */
  readonly perTenant: number;
  /** Waiting tasks. */
  readonly waiting: number;
}

/** Whose task it is, and what ends its waiting. */
export interface TurnClient {
  readonly tenant: string;
  readonly signal: AbortSignal;
}

/** Runs a task in the turn of its tenant. Throws MosError `busy` where too many wait, `cancelled`, and what the task throws. */
export type TakeTurn = <T>(task: () => Promise<T>, client: TurnClient) => Promise<T>;

interface Waiting {
  readonly tenant: string;
  readonly start: () => void;
}

/** Semaphore that is fair to tenants: of those that wait, the one whose last task began longest ago comes next. */
export function createTurns({ running, runningPerTenant, perTenant, waiting }: TurnLimits): TakeTurn {
  const queue: Waiting[] = [];
  const runs: string[] = [];
  /** Number of the last task of each tenant, in the order in which tasks began. */
  const lastTurn = new Map<string, number>();
  let turn = 0;
  const countWaiting = (tenant: string): number => runs.filter((name) => name === tenant).length;
  const next = (): void => {
    if (runs.length >= running) return;
    const [first] = queue
      .filter(({ tenant }) => countWaiting(tenant) < runningPerTenant)
      .sort((a, b) => (lastTurn.get(a.tenant) ?? 0) - (lastTurn.get(b.tenant) ?? 0));
    if (first === undefined) return;
    queue.splice(queue.indexOf(first), 1);
    runs.push(first.tenant);
    lastTurn.set(first.tenant, ++turn);
    first.start();
  };
  const wait = ({ tenant, signal }: TurnClient): Promise<void> =>
    new Promise((resolve, reject) => {
      const leave = (): void => {
        queue.splice(queue.indexOf(entry), 1);
        reject(new MosError("cancelled", "the client disconnected while waiting", { cause: signal.reason }));
      };
      const start = (): void => {
        signal.removeEventListener("abort", leave);
        resolve();
      };
      const entry = { tenant, start };
      queue.push(entry);
      signal.addEventListener("abort", leave, { once: true });
      if (signal.aborted) leave();
      else next();
    });
  return async (task, client) => {
    const { tenant } = client;
    const own = countWaiting(tenant) + queue.filter((one) => one.tenant === tenant).length;
    if (own >= perTenant)
      throw new MosError("busy", `${tenant} already has ${own} previews in progress; retry later`);
    if (queue.length >= waiting)
      throw new MosError("busy", `${queue.length} previews are already queued; retry later`);
    await wait(client);
    try {
      return await task();
    } finally {
      runs.splice(runs.indexOf(tenant), 1);
      next();
    }
  };
}
