// Gradings that requests ask for: in turns of tenants, and in a process of their own, since long texts take seconds to compare.
import { MosError } from "mixture-of-shards";
import { closeWhenIdle, errorText, limitConcurrency } from "mixture-of-shards-core/common";
import type { ChatClient } from "mixture-of-shards-core/data";
import { makeTemporaryFolder } from "mixture-of-shards-core/files";
import type { Grade } from "mixture-of-shards-core/graders";
import type { GradeOrder, ModelAnswer } from "./task-process.ts";
import { startTasks, type TaskChild } from "./tasks.ts";
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
