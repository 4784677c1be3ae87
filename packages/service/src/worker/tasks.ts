// Tasks of requests in processes of their own: a line of megabytes takes seconds to parse, and would hold all requests.
import { MosError, type RunPreview } from "mixture-of-shards";
import { moduleBeside, startChild } from "mixture-of-shards/cli";
import type { PreviewRequest, TaskMethods } from "./task-process.ts";
import { createTurns, type TurnClient } from "./turns.ts";

/** Starts a process of tasks. `exitError` is the error of tasks whose process ends. */
export const startTasks = (exitError: (how: string) => MosError, heapMegabytes?: number) =>
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
 * Checks files, in turn for each tenant, one after the other in each process: says what is wrong with a training file, with its
 * line; undefined for a good one. Ends when the client leaves.
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
  return (path: string, client: TurnClient): Promise<string | undefined> =>
    takeTurn(async () => {
      const child = take();
      try {
        await child.call("check", path, { signal: client.signal, killAfter: 0, timeout: seconds });
        return undefined;
      } catch (error) {
        if (!(error instanceof MosError) || error.code !== "bad_data") throw error;
        return error.message.replaceAll(`${path}:`, "line ").replaceAll(path, "the file");
      } finally {
        idle.set(child, setTimeout(() => child.kill(), idleSeconds * 1000).unref());
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
