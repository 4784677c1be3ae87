// An engine without a model: its answers are set by the test; it keeps the contract for signals and errors.
import { setTimeout as sleep } from "node:timers/promises";
import { MosError } from "mixture-of-shards-core/common";
import type {
  AdapterInfo,
  AnswerDefaults,
  Engine,
  EngineEvent,
  EngineRequest,
  EngineStats,
  FinishReason,
  RefusedAdapter,
  TokenLogprob,
} from "mixture-of-shards-core/inference";
import { unitVector } from "mixture-of-shards-core/inference";
import { answerFormat, createDetokenizer, type LoadedText } from "mixture-of-shards-core/text";
import type { GrammarError, GrammarSource } from "mixture-of-shards-grammar";
import { ParsedAnswer } from "../../core/src/inference/chat-answer.ts";
import { packLogprobs } from "../../core/src/inference/logprobs.ts";

export interface FakeEngineOptions {
  readonly text: LoadedText;
  readonly adapters?: readonly string[];
  readonly maxLength?: number;
  readonly defaults?: AnswerDefaults;
  /** What the base answers; an adapter puts its name before it. */
  readonly answer?: string;
  /** Requests that it takes at a time; more are refused as busy. */
  readonly capacity?: number;
  /** The reason why a grammar is refused. */
  readonly refuseGrammar?: (source: GrammarSource) => GrammarError | undefined;
  /** Rescans for the names of adapters. */
  readonly look?: () => Promise<readonly string[]>;
}

export interface FakeEngine extends Engine {
  /** Changes which folders cannot be used. */
  refuse(refused: readonly RefusedAdapter[]): void;
  /** All requests received. */
  readonly seen: EngineRequest[];
  readonly running: number;
  readonly cancelled: number;
  isResponding: boolean;
  /** Stops every answer after so many tokens, before a vector for 0, until `release`. */
  hold(tokens?: number): void;
  /** Lets answers that are held go on. */
  release(): void;
  /** Ends the engine as a killed process would: requests fail, and no more are accepted. */
  break(): void;
}

const HIDDEN_SIZE = 4;

const makeInfo = (name: string): AdapterInfo => ({
  name,
  digest: `sha256:${name}`,
  method: "mos",
  rank: 8,
  equivalentRank: 2,
  privateRank: 1,
  targets: ["q_proj"],
  residentBytes: 1000,
  sizeBytes: 1200,
  changedAt: 1_700_000_000,
});

const makeLogprob = (id: number, position: number, top: number): TokenLogprob => ({
  id,
  logprob: position === 0 ? null : -0.5 * position,
  top:
    position === 0
      ? []
      : Array.from({ length: top }, (_, i) => ({
          id: i === 0 ? id : (id + i) % 500,
          logprob: -0.5 * position - i,
        })),
});

type Ending = Readonly<Record<"isCancelled" | "isCut" | "isStopped", boolean>>;

function finishReason({ isCancelled, isCut, isStopped }: Ending): FinishReason {
  if (isCancelled) return "cancelled";
  if (isCut) return "length";
  return isStopped ? "stop" : "end";
}

export function fakeEngine(options: FakeEngineOptions): FakeEngine {
  const { text, maxLength = 256, answer = " one two three four five six", capacity = 1000 } = options;
  const { tokenizer } = text;
  let names = options.adapters ?? [];
  let refused: readonly RefusedAdapter[] = [];
  let onAdapters = (): void => undefined;
  const seen: EngineRequest[] = [];
  let running = 0;
  let cancelled = 0;
  let draining = false;
  let allowed = Number.POSITIVE_INFINITY;
  const held: (() => void)[] = [];
  const allow = (tokens: number): void => {
    allowed = tokens;
    for (const look of held.splice(0)) look();
  };
  let broken: MosError | undefined;
  let close: (failure?: MosError) => void = () => undefined;
  const closed = new Promise<MosError | undefined>((resolve) => {
    close = resolve;
  });

  function submit(request: EngineRequest): AsyncGenerator<EngineEvent> {
    seen.push(request);
    if (broken !== undefined) throw broken;
    if (draining || running >= capacity)
      throw new MosError("busy", "too many requests wait; send it again later");
    return run(request);
  }

  function assertCapacity(_tenant: string, count: number): void {
    if (broken !== undefined) throw broken;
    if (draining || running + count > capacity)
      throw new MosError("busy", "too many requests wait; send it again later");
  }

  async function* run(request: EngineRequest): AsyncGenerator<EngineEvent> {
    if (request.adapter != null && !names.includes(request.adapter))
      throw new MosError("not_found", `there is no adapter ${request.adapter}`);
    if (request.adapter === "broken")
      throw new MosError("bad_adapter", "/srv/secret/broken/adapter_model.safetensors: tensor x is missing");
    if (request.grammar !== undefined) await checkGrammar(request.grammar);
    running++;
    try {
      yield* answerTo(request);
    } finally {
      running--;
    }
  }

  async function checkGrammar(source: GrammarSource): Promise<void> {
    const cause = options.refuseGrammar?.(source);
    if (cause !== undefined) throw new MosError("bad_option", cause.message, { cause });
  }

  /** The answer's tokens, without a stop and what follows it. */
  function planned({ adapter = null, stop = [], pooling }: EngineRequest) {
    if (pooling !== undefined) return { ids: [], stopped: undefined };
    const whole = (adapter === null ? "" : ` ${adapter}:`) + answer;
    const [stopped] = stop
      .filter((one) => whole.includes(one))
      .sort((a, b) => whole.indexOf(a) - whole.indexOf(b));
    const said = stopped === undefined ? whole : whole.slice(0, whole.indexOf(stopped));
    return { ids: tokenizer.encode(said, { addSpecialTokens: false }), stopped };
  }

  async function* answerTo(request: EngineRequest): AsyncGenerator<EngineEvent> {
    const { adapter = null, prompt, promptLogprobs } = request;
    yield { type: "scheduled", digest: adapter === null ? null : `sha256:${adapter}` };
    if (promptLogprobs !== undefined)
      yield {
        type: "prompt",
        tokens: prompt.length,
        logprobs: packLogprobs(
          prompt.map((id, position) => makeLogprob(id, position, promptLogprobs)),
          promptLogprobs,
        ),
      };
    if (request.pooling !== undefined && (await wait(request, 0)))
      yield { type: "embedding", vector: embedding(request) };
    yield* speak(request);
  }

  /** Waits until there may be a token after so many; false when the request was cancelled meanwhile. */
  async function wait({ signal }: EngineRequest, tokens: number): Promise<boolean> {
    while (tokens >= allowed && broken === undefined && signal?.aborted !== true)
      await new Promise((resolve) => {
        held.push(() => resolve(undefined));
        signal?.addEventListener("abort", resolve, { once: true });
      });
    return signal?.aborted !== true;
  }

  async function* speak(request: EngineRequest): AsyncGenerator<EngineEvent> {
    const { prompt, maxTokens = 256, logprobs } = request;
    const { ids, stopped } = planned(request);
    const detokenizer = createDetokenizer(tokenizer, { continues: true });
    let count = 0;
    for (const id of ids.slice(0, maxTokens)) {
      if (!(await wait(request, count))) break;
      if (broken !== undefined) throw broken;
      count++;
      const text = detokenizer.push(id);
      if (logprobs === undefined) yield { type: "token", id, text };
      else {
        const packed = packLogprobs([makeLogprob(id, prompt.length + count, logprobs)], logprobs);
        yield { type: "token", id, text, logprobs: packed };
      }
    }
    const isCancelled = request.signal?.aborted === true;
    cancelled += Number(isCancelled);
    yield {
      type: "finish",
      finishReason: finishReason({
        isCancelled,
        isCut: ids.length > maxTokens,
        isStopped: stopped !== undefined,
      }),
      ...(stopped !== undefined && ids.length <= maxTokens && { stop: stopped }),
      text: detokenizer.flush(),
      usage: {
        promptTokens: prompt.length,
        cachedTokens: prompt.length - 1,
        completionTokens: count,
        queuedSeconds: 0,
        firstTokenSeconds: 0,
        ...(count > 0 && { firstTokenStep: 1 }),
      },
    };
  }

  /** The last token as a vector; an adapter turns it around. */
  const embedding = ({ prompt, adapter = null }: EngineRequest): Float32Array =>
    unitVector([1, prompt.at(-1) ?? 0, prompt.length, 0].map((value) => (adapter === null ? value : -value)));

  const adapters = () => names.map(makeInfo);
  return {
    model: {
      vocabularySize: tokenizer.vocabularySize,
      hiddenSize: HIDDEN_SIZE,
      maxLength,
      endTokens: tokenizer.eosTokens,
      fingerprint: "test",
      identity: "test",
      baseDtype: "float32",
      computeDtype: "float32",
      drafts: { tokens: 7, sameUpTo: 64, isPadded: false },
    },
    isResponding: true,
    seen,
    get running() {
      return running;
    },
    get cancelled() {
      return cancelled;
    },
    text,
    defaults: options.defaults ?? { sampling: {}, sources: {} },
    submit,
    assertCapacity,
    complete: (words, more) => submit({ ...more, prompt: tokenizer.encode(words) }),
    chat: (given, more) => {
      const messages = typeof given === "string" ? [{ role: "user", content: given }] : given;
      const prompt = tokenizer.encode(text.template.render(messages));
      return new ParsedAnswer(submit({ ...more, prompt }), () => answerFormat(text, {}, "").parser());
    },
    embed: async () => [],
    adapters,
    refusedAdapters: () => refused,
    onAdapters(listener) {
      onAdapters = listener;
    },
    refuse(found) {
      refused = found;
      onAdapters();
    },
    async refreshAdapters() {
      if (broken !== undefined) throw broken;
      names = (await options.look?.()) ?? names;
      return adapters();
    },
    checkGrammar,
    async stats() {
      if (broken !== undefined) throw broken;
      return makeStats(running, names);
    },
    closed,
    hold: (tokens = 0) => allow(tokens),
    release: () => allow(Number.POSITIVE_INFINITY),
    break() {
      broken = new MosError("device", "the engine process failed: it ended with SIGKILL");
      allow(allowed);
      close(broken);
    },
    async drain() {
      draining = true;
      while (running > 0) await sleep(5);
    },
    async [Symbol.asyncDispose]() {
      draining = true;
      close();
    },
  };
}

const makeStats = (running: number, names: readonly string[]): EngineStats => ({
  waiting: 1,
  running,
  waitingAdapters: { late: 1 },
  runningAdapters: { acme: 1, zeta: 2 },
  waitingTenants: { acme: 1 },
  prefilling: 0,
  maxBatch: 16,
  steps: 10,
  decodedTokens: 40,
  draftTokens: 9,
  acceptedTokens: 6,
  nearDraftTokens: 3,
  process: { pid: 1, bytes: 9000 },
  cache: { bytes: 400, usedBytes: 300, limitBytes: 800 },
  grammars: {
    compiled: 3,
    hits: 2,
    compileSeconds: 0.5,
    refused: { uniqueItems: 1 },
    resident: 2,
    residentBytes: 300,
    masks: 20,
    matchSeconds: 0.125,
  },
  promptTokens: 100,
  cachedTokens: 20,
  completionTokens: 50,
  adapters: {
    registered: names.length,
    resident: 1,
    residentBytes: 1000,
    residentLimit: 2000,
    residentDigests: ["sha256:acme"],
    active: 1,
    activeBytes: 500,
    activeLimit: 600,
    slotBytes: 250,
    hits: 3,
    misses: 2,
    evictions: 1,
    loads: 2,
    loadSeconds: 0.25,
    failures: 0,
  },
});
