// The choices of a request: their events merged in the order in which they arrive, and what they took counted.
import { setMaxListeners } from "node:events";
import type { AdapterInfo, EngineEvent, EngineRequest, FinishReason } from "#inference";
import type { ApiKey } from "./auth.ts";
import type { RequestContext, ServerContext } from "./context.ts";
import { ApiError, shuttingDown } from "./errors.ts";
import type { ServerLimits } from "./limits.ts";
import type { QuotaShare } from "./quotas.ts";
import type { UsageFields } from "./schemas.ts";

/** An adapter that a key may use, by name. */
export async function findAdapter(
  { engine, extension }: Pick<ServerContext, "engine" | "extension">,
  { name, key }: { readonly name: string; readonly key: ApiKey },
): Promise<AdapterInfo | undefined> {
  // the key first, so that the time reveals nothing about other tenants' names
  if (!key.mayUse(name)) return undefined;
  const find = (): AdapterInfo | undefined => engine.adapters().find((adapter) => adapter.name === name);
  const found = find();
  if (found !== undefined || !(await extension?.fetch(name))) return found;
  await engine.refreshAdapters();
  return find();
}

/**
 * The adapter that the model of a request means; null is the base. The record has the name by which the model is served.
 *
 * @throws ApiError 404 rather than answering with the base.
 */
export async function adapterOf(context: RequestContext, model: string): Promise<string | null> {
  const { server, key, record } = context.var;
  const isServed = async (name: string): Promise<boolean> =>
    name === server.modelName || (await findAdapter(server, { name, key })) !== undefined;
  const isName = await isServed(model);
  const name = isName ? model : await server.extension?.resolve(model, key);
  if (name === undefined || !(isName || (await isServed(name))))
    throw new ApiError(
      name === undefined
        ? `the model ${JSON.stringify(model)} does not exist or you do not have access to it; GET /v1/models lists the models`
        : `the alias ${JSON.stringify(model)} points to ${JSON.stringify(name)}, which no longer exists; switch it to another model`,
      { status: 404, code: "model_not_found", param: "model" },
    );
  record.model = name;
  return name === server.modelName ? null : name;
}

/** @throws ApiError 400 if a request asks for too many choices. */
export function checkChoices(count: number, limit: number): void {
  if (count > limit)
    throw new ApiError(`the request asks for ${count} choices; at most ${limit} are allowed`, {
      status: 400,
      code: "invalid_value",
      param: "n",
    });
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
  throw new ApiError(
    `${answers} answers of ${tokens} tokens with ${alternatives} alternatives each are ${held} log-probabilities; at most ${limits.logprobs} are allowed: ask for ${fitting} tokens, fewer answers, or fewer alternatives`,
    { status: 400, code: "invalid_value", param: "logprobs" },
  );
}

/** Tokens of a request that get log-probabilities, at most. */
const scoredTokens = ({ prompt, maxTokens = 0, logprobs, promptLogprobs }: EngineRequest): number =>
  (promptLogprobs === undefined ? 0 : prompt.length) + (logprobs === undefined ? 0 : maxTokens);

/** An event and the number of the choice that it belongs to. */
export interface ChoiceEvent<Event = EngineEvent> {
  readonly choice: number;
  readonly event: Event;
}

/** Sources of events that run side by side. */
export interface MergedEvents<Event> {
  /** Resolves when the first event is there. @throws what a source has failed with until then. */
  ready(): Promise<void>;
  /** All events as they come. If one source fails, or the caller leaves the loop, the others are cancelled. */
  events(): AsyncGenerator<ChoiceEvent<Event>, void>;
}

export interface MergeOptions<Event> {
  /** Sources that run at a time. The others follow as these end. */
  readonly atOnce: number;
  readonly signal: AbortSignal;
  /** Called with each event before the reader has it. */
  readonly onEvent?: (event: ChoiceEvent<Event>) => void;
}

/** Milliseconds that sources have to end in when they are cancelled. */
const CANCEL_WITHIN = 1000;

/** What arrives from several sides, in that order, and what they fail with. One reader. */
class Arrivals<T> {
  failure: { readonly error: unknown } | undefined;
  readonly #items: (() => T)[] = [];
  #wake: () => void = () => undefined;

  push(item: T): void {
    this.#items.push(() => item);
    this.#wake();
  }

  /** @param error Is thrown to who takes it. */
  fail(error: unknown): void {
    this.failure ??= { error };
    this.#items.push(() => {
      throw error;
    });
    this.#wake();
  }

  /** Resolves when there is anything. */
  async first(): Promise<void> {
    if (this.#items.length > 0) return;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  async take(): Promise<T> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) return item();
      await this.first();
    }
  }
}

interface Pulled<Event> {
  readonly choice: number;
  readonly iterator: AsyncIterator<Event>;
  readonly result: IteratorResult<Event>;
}

/**
 * Opens the first sources, each with a signal that fires when the merged events end.
 *
 * @throws what a source throws when it is opened; those before it are cancelled.
 */
export function mergeEvents<Event>(
  sources: readonly ((signal: AbortSignal) => AsyncIterable<Event>)[],
  { atOnce, signal, onEvent = () => undefined }: MergeOptions<Event>,
): MergedEvents<Event> {
  const own = new AbortController();
  setMaxListeners(0, own.signal); // one for each source, which is not a leak
  const open = new Set<AsyncIterator<Event>>();
  const arrivals = new Arrivals<Pulled<Event>>();
  let opened = 0;
  let late: NodeJS.Timeout | undefined;
  const stop = (): void => {
    own.abort();
    // an engine that does not answer does not end its requests
    late = setTimeout(() => arrivals.fail(signal.reason), CANCEL_WITHIN);
  };
  if (signal.aborted) stop();
  signal.addEventListener("abort", stop);
  const openNext = (): void => {
    const choice = opened++;
    const iterator = sources[choice]?.(own.signal)[Symbol.asyncIterator]();
    if (iterator === undefined) return;
    open.add(iterator);
    pull(choice, iterator);
  };
  const pull = (choice: number, iterator: AsyncIterator<Event>): void =>
    void iterator.next().then(
      (result) => arrivals.push({ choice, iterator, result }),
      (error: unknown) => arrivals.fail(error),
    );
  const close = async (): Promise<void> => {
    signal.removeEventListener("abort", stop);
    clearTimeout(late);
    own.abort();
    await Promise.allSettled([...open].map((iterator) => iterator.return?.()));
  };
  async function* events(): AsyncGenerator<ChoiceEvent<Event>, void> {
    try {
      while (open.size > 0) {
        const { choice, iterator, result } = await arrivals.take();
        if (result.done === true) {
          open.delete(iterator);
          openNext();
        } else {
          pull(choice, iterator);
          const event = { choice, event: result.value };
          onEvent(event);
          yield event;
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
    async ready() {
      if (open.size > 0) await arrivals.first();
      const { failure } = arrivals;
      if (failure === undefined) return;
      await close();
      throw failure.error;
    },
  };
}

/** The choices of a request that the engine has accepted. */
export interface RunningChoices {
  readonly events: AsyncGenerator<ChoiceEvent, void>;
  /** After the last event. */
  usage(): UsageFields;
  /** The model that answers, by its own name. */
  readonly model: string;
  /** Digest of the adapter that answers; null for the base. */
  readonly digest: string | null;
}

interface StartOptions {
  readonly requests: readonly EngineRequest[];
  /** Whether events are sent as they come. */
  readonly isStream: boolean;
}

/**
 * Hands a request's choices to the engine, which accepts the first of them (as many as run at a time) or none, and waits
 * until one runs. So an answer begins only when it will have content. An adapter that turns out to be broken, and a
 * later choice that the engine does not accept, end it with an error.
 *
 * @throws what the engine's `submit` throws; ApiError 400 or 429 for more log-probabilities than there is room for, and 429
 * where the key's quota has no room for the prompt, or no more for a later choice.
 */
export async function startChoices(
  context: RequestContext,
  { requests, isStream }: StartOptions,
): Promise<RunningChoices> {
  const { server, record, running, key } = context.var;
  const { engine, limits, quotas } = server;
  // the choices of a prompt share it, so it counts once, by the first of them
  const firsts = [...requests.keys()].filter((i) => requests[i]?.prompt !== requests[i - 1]?.prompt);
  const promptTokens = firsts.reduce((sum, i) => sum + (requests[i]?.prompt.length ?? 0), 0);
  record.promptTokens = promptTokens;
  running.atEnd(server.logprobBudget.take(logprobsHeldBy(requests, limits, isStream)));
  const answerTokens = requests.reduce((sum, { maxTokens = 0 }) => sum + maxTokens, 0);
  const share = quotas.take(key, promptTokens, answerTokens);
  running.atEnd(share.release);
  const start = async (): Promise<MergedEvents<EngineEvent>> => {
    // all of them or none: those before a refused one would be queued and cancelled
    engine.expectRoom(key.name, Math.min(requests.length, limits.choicesAtOnce));
    const merging = mergeEvents(
      requests.map((request, i) => (signal: AbortSignal) => {
        if (i >= limits.choicesAtOnce) share.check();
        return engine.submit({ ...request, signal });
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
  return {
    events: merged.events(),
    usage: () => ({
      prompt_tokens: promptTokens,
      completion_tokens: record.completionTokens,
      total_tokens: promptTokens + record.completionTokens,
      prompt_tokens_details: { cached_tokens: record.cachedTokens },
    }),
    model: record.model ?? server.modelName,
    get digest() {
      return record.digest ?? null;
    },
  };
}

/** Keeps a request's record and the metrics, event by event. `firsts` are the first choices of each prompt. */
function recorder(
  context: RequestContext,
  firsts: readonly number[],
  share: QuotaShare,
): (event: ChoiceEvent) => void {
  const { server, record, running } = context.var;
  const { metrics, now } = server;
  const lastTokenAt = new Map<number, number>();
  return ({ choice, event }) => {
    const { reason } = running.signal;
    // it says more than that the answer was cancelled
    if (event.type === "finish" && event.finishReason === "cancelled" && reason instanceof ApiError)
      throw reason;
    if (event.type === "scheduled" && event.digest !== null) record.digest = event.digest;
    if (event.type === "token") {
      const at = now();
      const before = lastTokenAt.get(choice);
      if (before === undefined) metrics.firstToken((at - record.startedAt) / 1000);
      else metrics.nextToken((at - before) / 1000);
      record.firstTokenAt ??= at;
      record.completionTokens++;
      share.add(1);
      lastTokenAt.set(choice, at);
    }
    if (event.type !== "finish") return;
    const { queuedSeconds, cachedTokens } = event.usage;
    record.queuedSeconds = Math.max(record.queuedSeconds ?? 0, queuedSeconds);
    if (firsts.includes(choice)) record.cachedTokens += cachedTokens;
  };
}

/** OpenAI's word for the end of an answer. @throws ApiError 503 for one that the server cut off. */
export function finishReasonOf(reason: FinishReason): "stop" | "length" {
  if (reason === "length") return "length";
  if (reason !== "cancelled") return "stop";
  throw shuttingDown("the answer was cut off because the server is shutting down; retry the request");
}
