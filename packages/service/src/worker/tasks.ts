// Tasks that requests ask for, in turns of tenants and in processes of their own: gradings, checks of files, previews. Long texts take
// seconds to compare, and a file may be anything.
import { stat } from "node:fs/promises";
import { MosError, type RunPreview } from "mixture-of-shards";
import { closeWhenIdle, errorText, limitConcurrency } from "mixture-of-shards-core/common";
import type { ChatClient } from "mixture-of-shards-core/data";
import { makeTemporaryFolder } from "mixture-of-shards-core/files";
import type { Grade } from "mixture-of-shards-core/graders";
import { moduleBeside, startChild } from "mixture-of-shards-core/process";
import type { OtherData } from "#store";
import { checkLines, type FileProblem } from "./check-lines.ts";
import type { GradeOrder, ModelAnswer, PreviewRequest, TaskMethods } from "./task-process.ts";
import { createTurns, type TurnClient } from "./turns.ts";

const LIMITS = {
  /** Gradings at a time: most wait for a model or for Python. */
  running: 32,
  runningPerTenant: 2,
  perTenant: 8,
  waiting: 64,
  /** Seconds of one grading. */
  seconds: 300,
  /** Seconds of a processor without a result, and megabytes of the heap, after which the process is ended. */
  computingSeconds: 60,
  megabytes: 1024,
  /** Seconds after which a process without work ends. */
  idleSeconds: 60,
};

/** Whose grading it is, and what answers the requests of its `score_model`. */
interface GradingClient extends TurnClient {
  readonly ask: ChatClient;
}

/** Grades answers in turns of tenants. Dispose it. */
export type Grading = ReturnType<typeof createGrading>;

export function createGrading({ seconds, computingSeconds, megabytes, idleSeconds, ...turns } = LIMITS) {
  const takeTurn = createTurns({ ...turns, what: "gradings", retryAfter: 5 });
  const tooMuch = (): MosError =>
    new MosError("memory", `the gradings exceeded ${computingSeconds} s of a processor or ${megabytes} MB`);
  let child: TaskChild | undefined;
  const whileUsed = closeWhenIdle(idleSeconds, () => child?.kill());
  const start = async (): Promise<TaskChild> =>
    startTasks(tooMuch, {
      heapMegabytes: megabytes,
      limits: { bytes: 2 * megabytes * 2 ** 20, seconds: computingSeconds },
      // of the sandbox: one that is killed leaves nothing
      temporaryFolder: await makeTemporaryFolder("mos-grading-"),
    });
  const oneByOne = limitConcurrency(1);
  const take = (): Promise<TaskChild> =>
    oneByOne(async () => {
      if (child?.isAlive !== true) child = await start();
      return child;
    });
  const gradeApart = async (order: GradeOrder, { ask, signal }: GradingClient): Promise<Grade> => {
    const used = await take();
    const events = used.stream("grade", order, { signal });
    let answer: ModelAnswer | undefined;
    for (;;) {
      const { done, value } = await events.next(answer);
      if (done === true) return value;
      answer = await ask(value, signal).then(
        (completion) => ({ completion }),
        (error: unknown) => ({ error: errorText(error) }),
      );
    }
  };
  return {
    /** Throws MosError: `busy` where too many wait, `bad_option` for texts that are too long, `memory`, `cancelled`. */
    grade: (order: Pick<GradeOrder, "grader" | "item" | "text">, client: GradingClient): Promise<Grade> =>
      takeTurn(
        () => whileUsed(() => gradeApart({ ...order, seconds, tenant: client.tenant }, client)),
        client,
      ),
    [Symbol.asyncDispose]: async (): Promise<void> => child?.[Symbol.asyncDispose](),
  };
}

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
  const takeTurn = createTurns({ running, what: "checks" }); // uploads are limited before
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
  const checkApart = (path: string, most: number, signal: AbortSignal) => {
    const child = take();
    const rest = (): unknown => idle.set(child, setTimeout(() => child.kill(), idleSeconds * 1000).unref());
    return child.call("check", { path, most }, { signal, killAfter: 0, timeout: seconds }).finally(rest);
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
