// Tasks of requests in processes of their own: a line of megabytes takes seconds to parse, and would hold all requests.
import { stat } from "node:fs/promises";
import { MosError, type RunPreview } from "mixture-of-shards";
import { moduleBeside, startChild } from "mixture-of-shards-core/process";
import type { OtherData } from "#store";
import { checkLines, type FileProblem } from "./check-lines.ts";
import type { PreviewRequest, TaskMethods } from "./task-process.ts";
import { createTurns, type TurnClient } from "./turns.ts";

/** A process of tasks. */
export type TaskChild = ReturnType<typeof startChild<TaskMethods>>;

/** How a process ends that is killed after its time, or whose heap has no room left. */
const LIMITED = /^(SIGKILL|SIGABRT|exit code 134)$/;

/** The error of a process that has ended: the limit that it exceeded, or that it died of something else. */
const endError =
  (name: string, exceeded: MosError) =>
  (how: string): MosError =>
    LIMITED.test(how) ? exceeded : new MosError("device", `the process of the ${name} ended: ${how}`);

/** Starts a process of tasks. `exitError` is the error of tasks whose process ends. */
export const startTasks = (
  exitError: (how: string) => MosError,
  limits: Omit<Parameters<typeof startChild>[1], "exitError" | "isBackground"> = {},
): TaskChild =>
  startChild<TaskMethods>(moduleBeside(import.meta.url, "task-process"), {
    ...limits,
    exitError,
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
    .replace(/^line 1:1: not valid JSON .*$/s, "$&; files are JSON Lines: one JSON object on each line");

/** An error of a run on files of the storage, without their paths and without advice for a command line. */
function withoutPaths(error: unknown, { data, validationData = data }: PreviewRequest): unknown {
  if (!(error instanceof MosError)) return error;
  const [message = ""] = error.message.split("\n", 1);
  return new MosError(error.code, describeProblem(describeProblem(message, data), validationData));
}

/**
 * Checks files, in turn for each tenant, one after the other in each process: says what is wrong with a training file, the
 * first problem unless more are asked for; nothing for a good one. Ends when the client leaves.
 */
export function createFileChecker({ running, seconds, megabytes, idleSeconds } = CHECK_LIMITS) {
  const none = Number.POSITIVE_INFINITY; // uploads are limited before
  const takeTurn = createTurns({
    running,
    runningPerTenant: 1,
    perTenant: none,
    waiting: none,
    what: "checks",
  });
  const tooMuch = new MosError(
    "bad_data",
    `validating the file exceeded ${seconds} s or ${megabytes} MB; split it`,
  );
  /** Processes without work, and what ends each after a while. */
  const idle = new Map<TaskChild, NodeJS.Timeout>();
  const take = (): TaskChild => {
    for (const [child, timer] of idle) {
      clearTimeout(timer);
      idle.delete(child);
      if (child.isAlive) return child;
    }
    return startTasks(endError("check", tooMuch), { heapMegabytes: megabytes });
  };
  const checkApart = async (path: string, most: number, signal: AbortSignal) => {
    const child = take();
    try {
      return await child.call("check", { path, most }, { signal, killAfter: 0, timeout: seconds });
    } finally {
      idle.set(child, setTimeout(() => child.kill(), idleSeconds * 1000).unref());
    }
  };
  return (
    path: string,
    { most = 1, ...client }: TurnClient & { readonly most?: number },
  ): Promise<readonly FileProblem[]> =>
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
 * too many wait, and as `previewRun`, whose messages name no paths here.
 */
export function createPreviewer({ seconds, megabytes, ...limits } = PREVIEW_LIMITS) {
  const takeTurn = createTurns({ ...limits, what: "previews", retryAfter: 10 });
  const tooMuch = new MosError(
    "memory",
    `the preview exceeded ${seconds} s or ${megabytes} MB; preview a part of the file`,
  );
  return (order: PreviewRequest, client: TurnClient): Promise<RunPreview | OtherData> =>
    takeTurn(async () => {
      await using child = startTasks(endError("preview", tooMuch), { heapMegabytes: megabytes });
      const options = { signal: client.signal, killAfter: 0, timeout: seconds };
      return await child.call("preview", order, options).catch((error: unknown) => {
        throw withoutPaths(error, order);
      });
    }, client);
}
