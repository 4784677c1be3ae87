// The engine that callers hold. It accepts or refuses requests at once, keeps a queue of events for each, and turns text
// into tokens; engine-core.ts computes, in this process or in another.
import type { GrammarSource } from "mixture-of-shards-grammar";
import { z } from "zod";
import { AsyncQueue, checkCall, checkKind, kinds, MosError, onAbort } from "#common";
import { encodePrompt } from "#data";
import { nextTurn, setMaxListeners } from "#platform";
import { type AnswerFormat, answerFormat, type ChatMessage, type LoadedText, withFormat } from "#text";
import { ParsedAnswer } from "./chat-answer.ts";
import { chatKinds, resolveChatOptions } from "./chat-options.ts";
import { ClientGrammars } from "./client-grammars.ts";
import { unitVector } from "./embedding.ts";
import type { EngineCore } from "./engine-core.ts";
import { NO_DEFAULTS } from "./engine-options.ts";
import type { OpenedCore } from "./open-core.ts";
import { type AdmissionLimits, checkCount, fullRequest, invalid } from "./requests.ts";
import type { SequenceUpdate } from "./sequence.ts";
import type {
  AdapterInfo,
  AnswerDefaults,
  ChatAnswer,
  ChatRequest,
  Engine,
  EngineEvent,
  EngineModel,
  EngineRequest,
  EngineStats,
  FullRequest,
  RefusedAdapter,
  TextRequest,
} from "./types.ts";

interface EngineParts extends Omit<OpenedCore, "refused">, Partial<Pick<OpenedCore, "refused">> {
  readonly text: LoadedText;
  /** Defaults of requests; greedy, with at most 256 tokens. */
  readonly defaults?: AnswerDefaults;
}

/** A request that was accepted and has not finished. */
interface ActiveRequest {
  readonly queue: AsyncQueue<EngineEvent>;
  readonly tenant: string;
  state: "waiting" | "running" | "cancelled";
  /** Stops compiling its grammar; only until the core has the request. */
  compiling?: AbortController | undefined;
  readonly signal: AbortSignal | undefined;
  readonly unlisten: () => void;
}

/** Programs in plain JavaScript may give anything. */
const isConversation = (given: unknown): boolean =>
  Array.isArray(given) &&
  given.length > 0 &&
  given.every((one) => typeof one?.role === "string" && typeof one.content === "string");

/** An error that may come from another process. */
const received = (error: NonNullable<SequenceUpdate["error"]>): MosError =>
  error instanceof MosError ? error : new MosError(error.code, error.message);

/** The end of a request that was cancelled before the core had it. */
const cancelledAfter = (seconds: number, { prompt }: FullRequest): EngineEvent => ({
  type: "finish",
  finishReason: "cancelled",
  text: "",
  usage: {
    promptTokens: prompt.length,
    cachedTokens: 0,
    completionTokens: 0,
    queuedSeconds: seconds,
    firstTokenSeconds: seconds,
  },
});

/** An engine over a core, which it starts. */
export class EngineClient implements Engine {
  readonly model: EngineModel;
  readonly text: LoadedText;
  readonly defaults: AnswerDefaults;
  readonly closed: Promise<MosError | undefined>;
  readonly #core: EngineCore;
  readonly #limits: AdmissionLimits;
  readonly #grammars: ClientGrammars;
  readonly #live = new Map<number, ActiveRequest>();
  #adapters: readonly AdapterInfo[];
  #refused: readonly RefusedAdapter[];
  #adaptersListener: (() => void) | undefined;
  #nextId = 1;
  #nextCall = 1;
  #isDraining = false;
  #failure: MosError | undefined;
  /** Called when no request is live any more. */
  #drains: (() => void)[] = [];

  constructor(parts: EngineParts) {
    const { core } = parts;
    this.model = parts.model;
    this.text = parts.text;
    this.defaults = parts.defaults ?? NO_DEFAULTS;
    this.closed = core.closed;
    this.#core = core;
    this.#limits = parts.limits;
    this.#grammars = new ClientGrammars({
      tokenizer: parts.text.tokenizer,
      send: (digest, grammar) => core.setGrammar(digest, grammar),
    });
    this.#adapters = parts.adapters;
    this.#refused = parts.refused ?? [];
    core.start({
      onOutput: (updates) => {
        for (const update of updates) this.#take(update);
      },
      onAdapters: (changed, refused) => {
        this.#adapters = changed;
        this.#refused = refused;
        this.#adaptersListener?.();
      },
    });
    void core.closed.then((failure) => this.#fail(failure));
  }

  submit(given: EngineRequest): AsyncIterable<EngineEvent> {
    this.#checkOpen();
    const { model, defaults } = this;
    const request = fullRequest(given, { model, defaults, ...this.#limits });
    this.#checkRoom(request.tenant, 1);
    const id = this.#nextId++;
    const cancel = (): void => this.#cancel(id);
    const queue = new AsyncQueue<EngineEvent>(cancel);
    const { signal } = given;
    const unlisten = (): void => signal?.removeEventListener("abort", cancel);
    this.#live.set(id, { queue, tenant: request.tenant, state: "waiting", signal, unlisten });
    if (given.grammar === undefined) this.#core.submit(id, request);
    else void this.#submitConstrained(id, request, given.grammar);
    if (signal?.aborted === true) cancel();
    signal?.addEventListener("abort", cancel, { once: true });
    return queue;
  }

  assertCapacity(tenant: string, count: number): void {
    this.#checkOpen();
    this.#checkRoom(tenant, count);
  }

  chat(given: string | readonly ChatMessage[], options: ChatRequest = {}): ChatAnswer {
    const messages = typeof given === "string" ? [{ role: "user", content: given }] : given;
    if (!isConversation(messages))
      throw new MosError(
        "bad_option",
        "a conversation must be a string, or an array of messages with a role and a text content",
      );
    checkCall<ChatRequest>("chat", options, chatKinds);
    const { tools, toolChoice, parallelToolCalls, responseFormat, ...request } = options;
    const { template } = this.text;
    const resolved = resolveChatOptions(options);
    const asked = withFormat(messages, resolved.responseFormat, template);
    const prompt = template.render(asked, { addGenerationPrompt: true, tools: resolved.tools });
    let made: AnswerFormat | undefined;
    // a plain chat needs no layout of calls, unless its answer is taken apart
    const format = (): AnswerFormat => {
      made ??= answerFormat(this.text, resolved, prompt);
      return made;
    };
    const isPlain = resolved.tools.length === 0 && resolved.responseFormat === undefined;
    const { grammar, calls } = isPlain ? { ...request, calls: undefined } : format();
    const events = this.#complete(prompt, { continuesPrompt: false, ...request, grammar, calls });
    return new ParsedAnswer(events, () => format().parser({ nextId: () => `call_${this.#nextCall++}` }));
  }

  complete(text: string, options: TextRequest = {}): AsyncIterable<EngineEvent> {
    return this.#complete(text, { continuesPrompt: true, ...options });
  }

  #complete(text: string, options: Omit<EngineRequest, "prompt">): AsyncIterable<EngineEvent> {
    const prompt = encodePrompt(text, this.text.tokenizer);
    const room = this.model.maxLength - prompt.length;
    if (room < 1)
      throw new MosError(
        "bad_option",
        `the prompt has ${prompt.length} tokens and leaves no room for an answer within ${this.model.maxLength}; shorten it`,
      );
    const maxTokens = options.maxTokens === undefined ? undefined : Math.min(options.maxTokens, room);
    return this.submit({ ...options, prompt, maxTokens });
  }

  async embed(
    texts: readonly string[],
    options: Parameters<Engine["embed"]>[1] = {},
  ): Promise<readonly Float32Array[]> {
    checkCall("embed", options, {
      adapter: z.unknown(),
      tenant: z.string().optional(),
      signal: kinds.object.optional(),
      dimensions: kinds.number.optional(),
    });
    checkKind("embed: texts", texts, kinds.array);
    const { dimensions, signal, ...more } = options;
    const { pooling, tokenizer } = this.text;
    if (pooling instanceof MosError) throw pooling;
    checkCount("dimensions", dimensions, { min: 1, max: this.model.hiddenSize });
    const prompts = texts.map((text, i) => {
      if (typeof text !== "string" || text === "")
        throw invalid(`texts.${i} is not a string with characters`);
      const prompt = tokenizer.encode(text);
      if (prompt.length <= this.model.maxLength) return prompt;
      throw invalid(`texts.${i} has ${prompt.length} tokens; the limit is ${this.model.maxLength}`);
    });
    const vectors: Float32Array[] = [];
    // a failure cancels the others
    const stop = new AbortController();
    setMaxListeners(0, stop.signal); // one for each text that runs, which is not a leak
    using _signal = onAbort(signal, () => stop.abort());
    const pending = prompts.entries();
    const work = async (): Promise<void> => {
      for (const [i, prompt] of pending)
        for await (const event of this.submit({ ...more, prompt, pooling, signal: stop.signal })) {
          if (event.type === "embedding") vectors[i] = unitVector(event.vector, dimensions);
          if (event.type === "finish" && event.finishReason === "cancelled")
            throw new MosError("cancelled", "embedding was cancelled", { cause: signal?.reason });
        }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(this.#limits.maxBatch, texts.length) }, work));
    } finally {
      stop.abort();
    }
    return vectors;
  }

  adapters(): readonly AdapterInfo[] {
    return this.#adapters;
  }

  refusedAdapters(): readonly RefusedAdapter[] {
    return this.#refused;
  }

  onAdapters(listener: () => void): void {
    this.#adaptersListener = listener;
  }

  async refreshAdapters(): Promise<readonly AdapterInfo[]> {
    this.#adapters = await this.#core.refreshAdapters();
    return this.#adapters;
  }

  async checkGrammar(
    source: GrammarSource,
    options?: Pick<EngineRequest, "tenant" | "signal">,
  ): Promise<void> {
    this.#checkOpen();
    await this.#grammars.compile(source, options);
  }

  async stats(): Promise<EngineStats> {
    const stats = await this.#core.stats();
    return { ...stats, grammars: { ...stats.grammars, ...this.#grammars.stats() } };
  }

  async drain(): Promise<void> {
    this.#isDraining = true;
    if (this.#live.size > 0) await new Promise<void>((resolve) => this.#drains.push(resolve));
    // by then the readers of the last events have them
    await nextTurn();
    if (this.#failure !== undefined) throw this.#failure;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDraining = true;
    await this.#core[Symbol.asyncDispose]();
    await this.#grammars[Symbol.asyncDispose]();
  }

  get isResponding(): boolean {
    return this.#core.isResponding;
  }

  #cancel(id: number): void {
    const live = this.#live.get(id);
    if (live === undefined) return;
    live.state = "cancelled";
    live.compiling?.abort();
    this.#core.cancel(id);
  }

  /** Submits a request to the core when its grammar is compiled. Until then it waits as in the core's queue. */
  async #submitConstrained(id: number, request: FullRequest, source: GrammarSource): Promise<void> {
    const live = this.#live.get(id);
    if (live === undefined) return;
    const compiling = new AbortController();
    live.compiling = compiling;
    const began = performance.now();
    try {
      const { tenant } = request;
      const grammar = await this.#grammars.digest(source, { tenant, signal: compiling.signal });
      live.compiling = undefined;
      // it may have been cancelled just now, or the core have failed
      if (!compiling.signal.aborted && this.#live.has(id)) this.#core.submit(id, { ...request, grammar });
    } catch (cause) {
      if (!compiling.signal.aborted) this.#end(id, cause as MosError);
    }
    if (compiling.signal.aborted)
      this.#take({ id, events: [cancelledAfter((performance.now() - began) / 1000, request)] });
  }

  /** Throws `busy` while the engine is shutting down, and what it has failed with. */
  #checkOpen(): void {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#isDraining)
      throw new MosError("busy", "the engine is shutting down and accepts no more requests");
  }

  /** Requests that find a free slot do not wait, and one that was cancelled makes room at once. Throws `busy`. */
  #checkRoom(tenant: string, count: number): void {
    const { maxBatch, maxWaiting } = this.#limits;
    const live = [...this.#live.values()];
    const waiting = live.filter(({ state }) => state === "waiting");
    const own = waiting.filter((one) => one.tenant === tenant).length;
    const others = waiting.length - own;
    const free = maxBatch - live.filter(({ state }) => state === "running").length - others;
    const room = maxWaiting + Math.max(0, free) - own;
    if (count <= room) return;
    throw new MosError(
      "busy",
      own >= maxWaiting
        ? `${maxWaiting} requests of ${tenant} are already queued; retry when some have finished`
        : `${count} requests of ${tenant} exceed the ${room} free places in the queue; retry when others have finished, or ask for fewer answers`,
    );
  }

  #take({ id, events, error }: SequenceUpdate): void {
    const live = this.#live.get(id);
    if (live === undefined) return;
    const cause: unknown = live.signal?.reason;
    live.queue.push(
      ...events.map((event) =>
        event.type === "finish" && event.finishReason === "cancelled" ? { ...event, cause } : event,
      ),
    );
    if (live.state === "waiting" && events.some(({ type }) => type === "scheduled")) live.state = "running";
    if (error !== undefined || events.at(-1)?.type === "finish") this.#end(id, error && received(error));
  }

  #end(id: number, error?: MosError): void {
    const live = this.#live.get(id);
    live?.unlisten();
    live?.queue.close(error);
    this.#live.delete(id);
    if (this.#live.size === 0) for (const resolve of this.#drains.splice(0)) resolve();
  }

  /** The core has stopped: requests that are still live fail. */
  #fail(failure: MosError | undefined): void {
    this.#isDraining = true;
    this.#failure = failure;
    const error = failure ?? new MosError("device", "the engine was closed");
    for (const id of [...this.#live.keys()]) this.#end(id, error);
  }
}
