// The choices of a request: within which limits they start, and what they take.

import { setMaxListeners } from "node:events";
import { AsyncQueue } from "mixture-of-shards-core/common";
import type { EngineEvent, EngineRequest, FinishReason } from "mixture-of-shards-core/inference";
import type { RequestContext } from "./context.ts";
import { ApiError, invalidValue } from "./errors.ts";
import { cutOff, type ServerLimits } from "./limits.ts";
import type { AnswerRecord } from "./metrics.ts";
import type { QuotaShare } from "./quotas.ts";

/** @throws ApiError 400 if a request asks for too many choices. */
export function checkChoices(count: number, limit: number): void {
  if (count > limit)
    throw invalidValue(`the request asks for ${count} choices; at most ${limit} are allowed`, "n");
}

/**
 * Log-probabilities that a request may hold: of all its answers, or of those that run at a time where it is streamed, since
 * a client may read slowly.
 *
 * @throws ApiError 400 for more than a request may.
 */
function logprobsHeldBy(requests: readonly EngineRequest[], limits: ServerLimits, isStream: boolean): number {
  const answers = isStream ? Math.min(requests.length, limits.choicesAtOnce) : requests.length;
  const tokens = Math.max(...requests.map(scoredTokens));
  const alternatives = Math.max(
    ...requests.map(({ logprobs, promptLogprobs }) => logprobs ?? promptLogprobs ?? 0),
  );
  const held = answers * tokens * (alternatives + 1);
  if (held <= limits.logprobs) return held;
  const fitting = Math.floor(limits.logprobs / answers / (alternatives + 1));
  throw invalidValue(
    `${answers} answers of ${tokens} tokens with ${alternatives} alternatives each are ${held} log-probabilities; at most ${limits.logprobs} are allowed: ask for ${fitting} tokens, fewer answers, or fewer alternatives`,
    "logprobs",
  );
}

/** Tokens of a request that get log-probabilities, at most. */
const scoredTokens = ({ prompt, maxTokens = 0, logprobs, promptLogprobs }: EngineRequest): number =>
  (promptLogprobs === undefined ? 0 : prompt.length) + (logprobs === undefined ? 0 : maxTokens);

/**
 * Hands a request's choices to the engine, which accepts the first of them (as many as run at a time) or none, and waits
 * until one runs. So an answer begins only when it will have content. An adapter that turns out to be broken, and a
 * later choice that the engine does not accept, end it with an error.
 *
 * @param isStream Whether events are sent as they come.
 * @returns the events, each with the number of its choice; the record counts their tokens.
 * @throws what the engine's `submit` throws; ApiError 400 or 429 for more log-probabilities than there is room for, and 429
 * where the key's quota has no room for the prompt, or no more for a later choice.
 */
export async function startChoices(
  context: RequestContext,
  { requests, isStream }: { readonly requests: readonly EngineRequest[]; readonly isStream: boolean },
) {
  const { server, record, running, key } = context.var;
  const { engine, limits, quotas } = server;
  // the choices of a prompt share it, so it counts once, by the first of them
  const firsts = [...requests.keys()].filter((i) => requests[i]?.prompt !== requests[i - 1]?.prompt);
  const promptTokens = firsts.reduce((sum, i) => sum + (requests[i]?.prompt.length ?? 0), 0);
  record.promptTokens = promptTokens;
  running.atEnd(server.logprobBudget(logprobsHeldBy(requests, limits, isStream)));
  const answerTokens = requests.reduce((sum, { maxTokens = 0 }) => sum + maxTokens, 0);
  const share = quotas.take(key, promptTokens, answerTokens);
  running.atEnd(share.release);
  const start = async () => {
    // all of them or none: those before a refused one would be queued and cancelled
    engine.assertCapacity(key.name, Math.min(requests.length, limits.choicesAtOnce));
    const merging = mergeEvents(
      requests.map((request, i) => (signal: AbortSignal) => {
        if (i >= limits.choicesAtOnce) share.check();
        const events = engine.submit({ ...request, signal });
        record.answers[i] = { request, submittedAt: server.now() };
        return events;
      }),
      { atOnce: limits.choicesAtOnce, signal: running.signal, onEvent: recorder(context, firsts, share) },
    );
    await merging.ready();
    return merging;
  };
  const merged = await start().catch((error) => {
    share.giveBack();
    throw error;
  });
  for (const [name, value] of Object.entries(quotas.headers(key))) context.header(name, value);
  return merged.events();
}

/** Keeps a request's record and the metrics, event by event. `firsts` are the first choices of each prompt. */
function recorder(
  context: RequestContext,
  firsts: readonly number[],
  share: QuotaShare,
): (choice: number, event: EngineEvent) => void {
  const { server, record, running } = context.var;
  const { metrics, now } = server;
  const noteToken = (answer: AnswerRecord): void => {
    const at = now();
    const { lastTokenAt: before } = answer;
    if (before === undefined) metrics.firstToken((at - record.startedAt) / 1000);
    else metrics.nextToken((at - before) / 1000);
    answer.firstTokenAt ??= at;
    answer.lastTokenAt = at;
    record.firstTokenAt ??= at;
    record.completionTokens++;
    share.add(1);
  };
  const noteEnd = (answer: AnswerRecord, choice: number, { finishReason, usage }: FinishEvent): void => {
    Object.assign(answer, { finishReason, usage, endedAt: now() });
    record.queuedSeconds = Math.max(record.queuedSeconds ?? 0, usage.queuedSeconds);
    if (firsts.includes(choice)) record.cachedTokens += usage.cachedTokens;
    const { reason } = running.signal;
    // it says more than that the answer was cancelled
    if (finishReason === "cancelled" && reason instanceof ApiError) throw reason;
  };
  return (choice, event) => {
    const answer = record.answers[choice];
    if (answer === undefined) return; // no event comes before a choice is submitted
    if (event.type === "scheduled" && event.digest !== null) record.digest = event.digest;
    if (event.type === "embedding") answer.firstTokenAt = now();
    if (event.type === "token") noteToken(answer);
    if (event.type === "finish") noteEnd(answer, choice, event);
  };
}

type FinishEvent = Extract<EngineEvent, { readonly type: "finish" }>;

/** OpenAI's word for the end of an answer. @throws ApiError 503 for one that the server cut off. */
export function toFinishReason(reason: FinishReason): "stop" | "length" {
  if (reason === "length") return "length";
  if (reason !== "cancelled") return "stop";
  throw cutOff();
}

/** Milliseconds that sources have to end in when they are cancelled. */
const CANCEL_MILLISECONDS = 1000;

/**
 * Merges sources of events that run side by side, in the order in which their events arrive. Opens the first `atOnce`, each
 * with a signal that fires when the merged events end; the others follow as these end.
 *
 * @param options `onEvent` is called with each event before the reader has it.
 * @throws what a source throws when it is opened; those before it are cancelled.
 */
export function mergeEvents<Event>(
  sources: readonly ((signal: AbortSignal) => AsyncIterable<Event>)[],
  options: {
    readonly atOnce: number;
    readonly signal: AbortSignal;
    readonly onEvent?: (source: number, event: Event) => void;
  },
) {
  const { atOnce, signal, onEvent } = options;
  const own = new AbortController();
  setMaxListeners(0, own.signal); // one for each source, which is not a leak
  const open = new Set<AsyncIterator<Event>>();
  const arrivals = new AsyncQueue<{
    readonly source: number;
    readonly iterator: AsyncIterator<Event>;
    readonly result: IteratorResult<Event>;
  }>();
  let opened = 0;
  let late: NodeJS.Timeout | undefined;
  const stop = (): void => {
    own.abort();
    // an engine that does not answer does not end its requests
    late = setTimeout(() => arrivals.close(signal.reason), CANCEL_MILLISECONDS);
  };
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop);
  const openNext = (): void => {
    const source = opened++;
    const iterator = sources[source]?.(own.signal)[Symbol.asyncIterator]();
    if (iterator === undefined) return;
    open.add(iterator);
    pull(source, iterator);
  };
  const pull = (source: number, iterator: AsyncIterator<Event>): void =>
    void iterator.next().then(
      (result) => arrivals.push({ source, iterator, result }),
      (error: unknown) => arrivals.close(error),
    );
  const close = async (): Promise<void> => {
    signal.removeEventListener("abort", stop);
    clearTimeout(late);
    own.abort();
    await Promise.allSettled([...open].map((iterator) => iterator.return?.()));
  };
  /** If one source fails, or the caller leaves the loop, the others are cancelled. */
  async function* events(): AsyncGenerator<readonly [source: number, event: Event], void> {
    try {
      while (open.size > 0) {
        const { done, value } = await arrivals.next();
        if (done === true) return;
        const { source, iterator, result } = value;
        if (result.done === true) {
          open.delete(iterator);
          openNext();
        } else {
          pull(source, iterator);
          onEvent?.(source, result.value);
          yield [source, result.value];
        }
      }
    } finally {
      await close();
    }
  }
  try {
    while (opened < Math.min(atOnce, sources.length)) openNext();
  } catch (error) {
    void close();
    throw error;
  }
  return {
    events,
    /** Resolves when the first event is there. @throws what a source has failed with until then. */
    async ready(): Promise<void> {
      if (open.size === 0) return;
      try {
        await arrivals.ready();
      } catch (error) {
        await close();
        throw error;
      }
    },
  };
}
