// What chat and completions have in common: a request is read, its answers run side by side, and the record is kept.
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Context } from "hono";
import type { Engine, EngineEvent, EngineRequest, FinishReason } from "#inference";
import type { Running } from "./activity.ts";
import type { ServerContext, ServerEnv } from "./context.ts";
import type { EngineWatch } from "./engine-watch.ts";
import { mergeEvents, type Numbered, prime } from "./merge-events.ts";
import { Refusal } from "./refusal.ts";
import type { RequestRecord } from "./request-record.ts";

/** OpenAI's count of tokens. */
export interface UsageFields {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** A request's answers as they come. */
export interface Answering {
  readonly events: AsyncGenerator<Numbered<EngineEvent>, void>;
  readonly running: Running;
  /** After the last event. */
  usage(): UsageFields;
  /** Digest of the adapter that answers. */
  digest(): string | undefined;
}

export interface AnsweringOptions {
  readonly requests: readonly EngineRequest[];
  readonly promptTokens: number;
}

/** OpenAI's word for an end. @throws Refusal 503 for an answer that the server cut off. */
export function finishOf(reason: FinishReason): "stop" | "length" {
  if (reason === "length") return "length";
  if (reason !== "cancelled") return "stop";
  throw new Refusal("the answer was cut off, since the server is shutting down; send the request again", {
    status: 503,
    reason: "shutting_down",
    retryAfter: 5,
  });
}

/**
 * Waits until the engine has told what it refuses at once of that which it was asked before. Its first answer may overtake
 * refusals of the same moment, and its second one comes behind them.
 */
async function refusalsOf(engine: Engine): Promise<void> {
  await engine.stats();
  await engine.stats();
  await nextTurn();
}

/**
 * Starts the answers, and waits until one runs and none is refused: for a row of each, a stream would wait for others'
 * ends. What is refused later, after its load or after the first answers that fit, ends a stream with an error.
 */
export async function startAnswering(
  server: ServerContext,
  { record, running }: { readonly record: RequestRecord; readonly running: Running },
  { requests, promptTokens }: AnsweringOptions,
): Promise<Answering> {
  record.promptTokens = promptTokens;
  const { choicesAtOnce } = server.limits;
  const sources = requests.map(
    (request) => (signal: AbortSignal) => server.engine.submit({ ...request, signal }),
  );
  const merged = mergeEvents(sources, {
    atOnce: choicesAtOnce,
    signal: running.signal,
    settled: () => refusalsOf(server.engine),
  });
  const events = await prime(watched(server, record, merged), 1);
  return {
    events,
    running,
    usage: () => ({
      prompt_tokens: promptTokens,
      completion_tokens: record.completionTokens,
      total_tokens: promptTokens + record.completionTokens,
    }),
    digest: () => record.digest,
  };
}

/** Keeps the record and the metrics while the events pass. */
async function* watched(
  { metrics, now, engineWatch }: ServerContext,
  record: RequestRecord,
  events: AsyncGenerator<Numbered<EngineEvent>, void>,
): AsyncGenerator<Numbered<EngineEvent>, void> {
  const lastTokenAt = new Map<number, number>();
  for await (const numbered of explained(events, engineWatch)) {
    const { choice, event } = numbered;
    if (event.type === "scheduled" && event.digest !== null) record.digest = event.digest;
    if (event.type === "token") {
      const at = now();
      const before = lastTokenAt.get(choice);
      if (before === undefined) metrics.firstToken((at - record.startedAt) / 1000);
      else metrics.nextToken((at - before) / 1000);
      record.firstTokenAt ??= at;
      record.completionTokens++;
      lastTokenAt.set(choice, at);
    }
    if (event.type === "finish") {
      record.queuedSeconds = Math.max(record.queuedSeconds ?? 0, event.usage.queuedSeconds);
    }
    yield numbered;
  }
}

/** The same events; a stream, too, says that the engine is gone rather than that something went wrong. */
async function* explained(
  events: AsyncGenerator<Numbered<EngineEvent>, void>,
  engineWatch: EngineWatch,
): AsyncGenerator<Numbered<EngineEvent>, void> {
  try {
    yield* events;
  } catch (error) {
    throw engineWatch.explain(error);
  }
}

/** Runs a handler as a request that can be cancelled and waited for; a stream ends it later by itself. */
export async function asRunning(
  server: ServerContext,
  context: Context<ServerEnv>,
  handle: (running: Running) => Promise<Response>,
): Promise<Response> {
  const key = context.get("key");
  const record = context.get("record");
  const leave = server.admission.enter(key);
  let running: Running;
  try {
    server.engineWatch.check();
    running = server.activity.begin(context.req.raw.signal);
  } catch (error) {
    leave();
    throw error;
  }
  const end = (): void => {
    running.end();
    leave();
  };
  try {
    const response = await handle({ ...running, end });
    if (!record.isStream) end();
    return response;
  } catch (error) {
    end();
    throw error;
  }
}
