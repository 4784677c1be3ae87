// Answers what jobs' graders ask models, by this server's own API and in the name of their tenants, within their keys' limits.
import { setTimeout as sleep } from "node:timers/promises";
import { errorText } from "mixture-of-shards/cli";
import type { ServerApp, ServerLog } from "mixture-of-shards/server";
import { z } from "zod";
import { ANSWER_SECONDS, type GraderAnswer, type GraderCall, type GraderCalls } from "#store";

/** Options of answering. */
interface AnswerOptions {
  readonly app: Pick<ServerApp, "request">;
  readonly calls: GraderCalls;
  /** The base of this server's models. */
  readonly base: string;
  readonly log: Pick<ServerLog, "warn">;
  /** Ends running requests; another server answers them. */
  readonly signal: AbortSignal;
}

/** Requests that are answered at a time. */
const MAX_RUNNING = 16;
/** Seconds between looks for requests, and after which a database that failed is tried again. */
const [IDLE, BROKEN] = [0.5, 5];

/** Answers until the signal is aborted. */
export async function answerGraderCalls(options: AnswerOptions): Promise<void> {
  const { calls, base, log, signal } = options;
  const running = new Set<Promise<void>>();
  const pause = (seconds: number): Promise<unknown> =>
    sleep(seconds * 1000, undefined, { signal, ref: false }).catch(() => undefined);
  while (!signal.aborted) {
    try {
      const free = MAX_RUNNING - running.size;
      for (const call of free === 0 ? [] : await calls.claim(base, free)) {
        const work = answerCall(call, options)
          .catch((error: unknown) => log.warn({ reason: String(error) }, "an answer to a grader is lost"))
          .finally(() => running.delete(work));
        running.add(work);
      }
      await pause(IDLE);
    } catch (error) {
      log.warn({ reason: String(error) }, "graders of jobs cannot be answered; retrying");
      await pause(BROKEN);
    }
  }
  await Promise.all(running);
}

/** Answers that ask for patience: of a key's limits, and of a server that is busy or about to stop. */
const LATER = [429, 503];
const failure = z.object({ error: z.object({ message: z.string() }) });

async function answerCall({ id, tenant, request }: GraderCall, options: AnswerOptions): Promise<void> {
  const { app, calls, signal } = options;
  const timeout = AbortSignal.timeout(ANSWER_SECONDS * 1000);
  let answer: GraderAnswer;
  try {
    const init = {
      method: "POST",
      body: request,
      headers: { "content-type": "application/json" },
      signal: AbortSignal.any([signal, timeout]),
    };
    const response = await app.request("http://localhost/v1/chat/completions", init, { tenant });
    const body: unknown = await response.json();
    if (LATER.includes(response.status))
      return await calls.postpone(id, Number(response.headers.get("retry-after") ?? 1));
    answer = response.ok ? { value: body } : { error: failure.parse(body).error.message };
  } catch (error) {
    answer = { error: timeout.aborted ? `no answer within ${ANSWER_SECONDS} s` : errorText(error) };
  }
  if (signal.aborted) await calls.postpone(id, 0);
  else await calls.answer(id, answer);
}
