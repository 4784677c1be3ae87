// What a job's grader asks models, put to the servers; all that wait are looked for together.
import { setTimeout as sleep } from "node:timers/promises";
import { errorText } from "mixture-of-shards/cli";
import type { GraderAnswer, GraderCalls, JobRow } from "#store";
import { WAIT_SECONDS } from "#store";

/** Seconds between looks for answers. */
const POLL_SECONDS = 0.25;

/** Asks a model in the name of a job's tenant. It never throws: what goes wrong is the answer. */
export type Ask = (
  job: Pick<JobRow, "tenant" | "model">,
  request: object,
  signal: AbortSignal,
) => Promise<GraderAnswer>;

interface Waiting {
  readonly until: number;
  readonly signal: AbortSignal;
  readonly resolve: (answer: GraderAnswer) => void;
}

/** Asks by the database. */
export function createAsker(calls: GraderCalls, { waitSeconds = WAIT_SECONDS } = {}): Ask {
  const waiting = new Map<string, Waiting>();
  const give = (id: string, answer: GraderAnswer): void => {
    waiting.get(id)?.resolve(answer);
    waiting.delete(id);
  };
  const look = async (): Promise<void> => {
    // a database that is away for a while may be back in time
    const found = await calls.collect([...waiting.keys()]).catch(() => new Map<string, GraderAnswer>());
    for (const [id, answer] of found) give(id, answer);
    for (const [id, { until, signal }] of waiting) {
      const isLate = performance.now() >= until;
      if (!isLate && !signal.aborted) continue;
      give(id, { error: isLate ? `no server answered within ${waitSeconds} s` : "nobody waits for it" });
      await calls.forget(id).catch(() => undefined);
    }
  };
  const lookUntilDone = async (): Promise<void> => {
    while (waiting.size > 0) {
      await sleep(POLL_SECONDS * 1000);
      await look();
    }
  };
  return async (job, request, signal) => {
    try {
      const id = await calls.ask(job, request);
      const isFirst = waiting.size === 0;
      const answer = new Promise<GraderAnswer>((resolve) => {
        waiting.set(id, { until: performance.now() + waitSeconds * 1000, signal, resolve });
      });
      if (isFirst) void lookUntilDone();
      return await answer;
    } catch (error) {
      return { error: errorText(error) };
    }
  };
}
