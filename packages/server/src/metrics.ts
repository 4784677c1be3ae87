// Observability of requests: the record that becomes a log line, and the counts and times for Prometheus.
import { randomUUID } from "node:crypto";
import type {
  Engine,
  EngineRequest,
  EngineStats,
  EngineUsage,
  FinishReason,
} from "mixture-of-shards-core/inference";
import { Counter, Gauge, Histogram, Registry } from "prom-client";

/** Logger of the server. pino's loggers fit. */
export interface ServerLog {
  /** A request that has ended, a step of the server's life. */
  info(fields: object, message: string): void;
  /** Something that works, but not as it should. */
  warn(fields: object, message: string): void;
  /** A failure that the operator should know about. */
  error(fields: object, message: string): void;
}

/** One answer of a request that the engine has. Times in milliseconds since 1970. */
export interface AnswerRecord {
  readonly request: EngineRequest;
  readonly submittedAt: number;
  firstTokenAt?: number;
  lastTokenAt?: number;
  endedAt?: number;
  finishReason?: FinishReason;
  usage?: EngineUsage;
}

/** A call of a tool that stands in an answer. */
export interface CallRecord {
  readonly id: string | undefined;
  readonly name: string;
  readonly beganAt: number;
  endedAt?: number;
}

/** Record of a request, for its log line, the metrics and its trace. Times in milliseconds since 1970. */
export interface RequestRecord {
  readonly id: string;
  readonly startedAt: number;
  readonly method: string;
  readonly path: string;
  /** The pattern of the route, never the path that the client wrote. */
  route: string;
  status: number;
  keyName?: string;
  /** The base's name, or a registered adapter's. */
  model?: string;
  digest?: string;
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
  queuedSeconds?: number;
  firstTokenAt?: number;
  readonly answers: AnswerRecord[];
  readonly calls: CallRecord[];
  /** Id of its trace, where there is one. */
  trace?: string;
  /** The answer continues after its head, and the stream's end ends the record. */
  isStream: boolean;
  /** Writes the line of the log and counts the request. */
  end?: () => void;
  /** The client left before the end. */
  isAborted: boolean;
  error?: string;
}

export const createRecord = (
  request: Pick<RequestRecord, "startedAt" | "method" | "path">,
): RequestRecord => ({
  id: `req_${randomUUID().replaceAll("-", "")}`,
  ...request,
  route: "none",
  status: 0,
  promptTokens: 0,
  cachedTokens: 0,
  completionTokens: 0,
  answers: [],
  calls: [],
  isStream: false,
  isAborted: false,
});

/** The record as a line of the log. Never the key, the prompt or the answer. */
export function logFields(record: RequestRecord, now: number): object {
  const secondsUntil = (time: number | undefined): number | undefined =>
    time === undefined ? undefined : (time - record.startedAt) / 1000;
  return {
    request: record.id,
    trace: record.trace,
    key: record.keyName,
    method: record.method,
    path: record.path.slice(0, 200),
    status: record.status,
    model: record.model,
    adapterDigest: record.digest,
    promptTokens: record.promptTokens,
    cachedTokens: record.cachedTokens,
    completionTokens: record.completionTokens,
    queuedSeconds: record.queuedSeconds,
    firstTokenSeconds: secondsUntil(record.firstTokenAt),
    seconds: secondsUntil(now),
    ...(record.isAborted ? { clientLeft: true } : {}),
    ...(record.error === undefined ? {} : { error: record.error }),
  };
}

/** Models that have their own label. Further ones share one, so that thousands of adapters do not make thousands of series. */
export const MAX_MODEL_LABELS = 100;
/** The same of keys. */
const MAX_KEY_LABELS = 1000;

/** The same of keywords in refused grammars. */
const MAX_KEYWORD_LABELS = 100;

const TOKEN_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5];
const REQUEST_SECONDS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160, 320];

export type Reading = readonly [name: string, help: string, read: (stats: EngineStats) => number];

const forGateways = (name: string): string =>
  `The same as ${name}, by the name that inference gateways read.`;

export const GAUGES: readonly Reading[] = [
  ["mos_requests_waiting", "Queued requests.", (s) => s.waiting],
  ["mos_requests_running", "Running requests.", (s) => s.running],
  ["mos_batch_rows", "Batch slots.", (s) => s.maxBatch],
  ["mos_batch_occupancy", "Fraction of batch slots that are in use.", (s) => s.running / s.maxBatch],
  ["mos_cache_bytes", "Memory of keys and values.", (s) => s.cache.bytes],
  ["mos_cache_used_bytes", "Memory of keys and values that hold tokens.", (s) => s.cache.usedBytes],
  ["mos_cache_limit_bytes", "Memory limit of keys and values.", (s) => s.cache.limitBytes],
  ["mos_adapters_registered", "Registered adapters.", (s) => s.adapters.registered],
  ["mos_adapters_resident", "Adapters loaded in memory.", (s) => s.adapters.resident],
  ["mos_adapters_resident_bytes", "Memory of loaded adapters.", (s) => s.adapters.residentBytes],
  ["mos_adapters_resident_limit_bytes", "Memory limit of loaded adapters.", (s) => s.adapters.residentLimit],
  ["mos_adapters_active", "Adapters expanded for running requests.", (s) => s.adapters.active],
  ["mos_adapters_active_bytes", "Memory of expanded adapters.", (s) => s.adapters.activeBytes],
  ["mos_grammars_resident", "Grammars in the engine's memory.", (s) => s.grammars.resident],
  [
    "mos_grammars_resident_bytes",
    "Memory of grammars: states, masks, and parsers of running answers.",
    (s) => s.grammars.residentBytes,
  ],
  ["vllm:num_requests_waiting", forGateways("mos_requests_waiting"), (s) => s.waiting],
  ["vllm:num_requests_running", forGateways("mos_requests_running"), (s) => s.running],
];

export const COUNTERS: readonly Reading[] = [
  ["mos_engine_steps_total", "Engine steps.", (s) => s.steps],
  [
    "mos_engine_decoded_rows_total",
    "Decoding slots, summed over steps. Divided by mos_engine_steps_total, this is the mean decoding batch.",
    (s) => s.decodedTokens,
  ],
  ["mos_engine_prompt_tokens_total", "Prompt tokens prefilled.", (s) => s.promptTokens],
  ["mos_engine_cached_tokens_total", "Prompt tokens from the prefix cache.", (s) => s.cachedTokens],
  ["mos_engine_completion_tokens_total", "Tokens generated.", (s) => s.completionTokens],
  ["vllm:spec_decode_num_draft_tokens_total", "Draft tokens that were verified.", (s) => s.draftTokens],
  [
    "vllm:spec_decode_num_accepted_tokens_total",
    "Draft tokens that became part of an answer.",
    (s) => s.acceptedTokens,
  ],
  [
    "mos_near_draft_tokens_total",
    "Draft tokens whose verification rounds otherwise than steps of one token.",
    (s) => s.nearDraftTokens,
  ],
  ["mos_grammar_compiles_total", "Compilations of grammars.", (s) => s.grammars.compiled],
  ["mos_grammar_hits_total", "Requests whose grammar was already compiled.", (s) => s.grammars.hits],
  [
    "mos_grammar_compile_seconds_total",
    "Total time of compiling grammars.",
    (s) => s.grammars.compileSeconds,
  ],
  ["mos_grammar_masks_total", "Masks over the vocabulary.", (s) => s.grammars.masks],
  [
    "mos_grammar_mask_seconds_total",
    "Total time of masks and of following answers in engine steps.",
    (s) => s.grammars.matchSeconds,
  ],
  ["mos_adapter_hits_total", "Requests whose adapter was already in memory.", (s) => s.adapters.hits],
  ["mos_adapter_misses_total", "Requests whose adapter had to be loaded.", (s) => s.adapters.misses],
  ["mos_adapter_evictions_total", "Adapters evicted from memory.", (s) => s.adapters.evictions],
  ["mos_adapter_loads_total", "Adapter loads.", (s) => s.adapters.loads],
  ["mos_adapter_load_seconds_total", "Total time of adapter loads.", (s) => s.adapters.loadSeconds],
  ["mos_adapter_failures_total", "Failed adapter loads.", (s) => s.adapters.failures],
];

export interface MetricsOptions {
  readonly engine: Pick<Engine, "stats">;
  readonly modelName: string;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Lines of the server's extension. */
  readonly more?: (() => Promise<string>) | undefined;
}

export function createMetrics({ engine, modelName, now, more }: MetricsOptions) {
  const registry = new Registry();
  const registers = [registry];
  const { requests, tokens, keyRequests, keyTokens, firstToken, nextToken, whole } = instruments(registers);
  const updateEngine = engineReadings(registers, now);
  const rate = createTokenRate(now);
  const labelModel = labels([modelName], MAX_MODEL_LABELS);
  const labelKey = labels([], MAX_KEY_LABELS);
  const countKey = (record: RequestRecord): void => {
    const key = labelKey(record.keyName);
    keyRequests.inc({ key, status: String(record.status) });
    if (!isAnswered(record)) return;
    keyTokens.inc({ kind: "prompt", key }, record.promptTokens);
    keyTokens.inc({ kind: "cached", key }, record.cachedTokens);
    keyTokens.inc({ kind: "completion", key }, record.completionTokens);
  };
  return {
    /** A first token came this many seconds after the request. */
    firstToken(seconds: number): void {
      rate.count();
      firstToken.observe(seconds);
    },
    /** A further token came this many seconds after the one before. */
    nextToken(seconds: number): void {
      rate.count();
      nextToken.observe(seconds);
    },
    /** Tokens of answers in each of the last seconds. */
    tokenRate: rate.history,
    ended(record: RequestRecord): void {
      const model = labelModel(record.model);
      requests.inc({ route: record.route, model, status: String(record.status) });
      if (record.keyName !== undefined) countKey(record);
      if (isAnswered(record)) {
        tokens.inc({ kind: "prompt", model }, record.promptTokens);
        tokens.inc({ kind: "completion", model }, record.completionTokens);
      }
      if (record.model !== undefined) whole.observe((now() - record.startedAt) / 1000);
    },
    /** Prometheus' text format. */
    async render(): Promise<{ readonly type: string; readonly text: string }> {
      updateEngine(await engine.stats());
      return { type: registry.contentType, text: (await registry.metrics()) + ((await more?.()) ?? "") };
    },
  };
}

function instruments(registers: Registry[]) {
  const counter = <const L extends string>(name: string, help: string, labelNames: readonly L[]) =>
    new Counter<L>({ name, help, labelNames, registers });
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, buckets, registers });
  return {
    requests: counter(
      "mos_http_requests_total",
      "HTTP requests by route, model and status; models beyond the first 100 share the label other.",
      ["route", "model", "status"],
    ),
    tokens: counter("mos_tokens_total", "Tokens by model and kind: prompt, completion.", ["kind", "model"]),
    keyRequests: counter(
      "mos_key_requests_total",
      "HTTP requests by key name and status; keys beyond the first 1000 share the label other.",
      ["key", "status"],
    ),
    keyTokens: counter(
      "mos_key_tokens_total",
      "Tokens by key name and kind: prompt, cached (prompt tokens from the prefix cache), completion.",
      ["kind", "key"],
    ),
    firstToken: histogram(
      "mos_time_to_first_token_seconds",
      "Time from arrival of a request to its first token.",
      REQUEST_SECONDS,
    ),
    nextToken: histogram("mos_inter_token_seconds", "Time between tokens of an answer.", TOKEN_SECONDS),
    whole: histogram(
      "mos_request_seconds",
      "Time from arrival of a request to the end of its answer.",
      REQUEST_SECONDS,
    ),
  };
}

/** Tests whether a model has computed anything for a request. A refused one has a prompt, too, but costs no tokens. */
const isAnswered = ({ model, status, completionTokens }: RequestRecord): boolean =>
  model !== undefined && (status < 400 || completionTokens > 0);

/** A label for each name up to a limit, and one for all further names. */
export function labels(first: readonly string[], limit: number): (name: string | undefined) => string {
  const named = new Set(first);
  return (name) => {
    if (name === undefined) return "none";
    if (named.size < limit) named.add(name);
    return named.has(name) ? name : "other";
  };
}

/** The engine's statistics. It keeps the counts itself, so they are set rather than raised. */
function engineReadings(registers: Registry[], now: () => number): (stats: EngineStats) => void {
  const gauges = GAUGES.map(([name, help, read]) => [new Gauge({ name, help, registers }), read] as const);
  const counters = COUNTERS.map(
    ([name, help, read]) => [new Counter({ name, help, registers }), read] as const,
  );
  const adapters = new Gauge({
    name: "vllm:lora_requests_info",
    help: "Running and waiting adapters, as labels; the value is the current time.",
    labelNames: ["max_lora", "waiting_lora_adapters", "running_lora_adapters"],
    registers,
  });
  const refused = new Counter({
    name: "mos_grammar_refusals_total",
    help: `Refused grammars by the keyword that cannot be enforced, or by the kind of error; keywords beyond the first ${MAX_KEYWORD_LABELS} share the label other.`,
    labelNames: ["keyword"],
    registers,
  });
  const labelKeyword = labels([], MAX_KEYWORD_LABELS);
  return (stats) => {
    refused.reset();
    for (const [keyword, count] of Object.entries(stats.grammars.refused))
      refused.inc({ keyword: labelKeyword(keyword) }, count);
    for (const [gauge, read] of gauges) gauge.set(read(stats));
    for (const [counter, read] of counters) {
      counter.reset();
      counter.inc(read(stats));
    }
    adapters.reset(); // or each set of adapters that ever ran would stay as a series
    adapters.set(
      {
        max_lora: String(stats.maxBatch),
        running_lora_adapters: Object.keys(stats.runningAdapters).join(","),
        waiting_lora_adapters: Object.keys(stats.waitingAdapters).join(","),
      },
      now() / 1000,
    );
  };
}

/** Seconds of which the tokens are counted. */
const RATE_SECONDS = 60;

/** How many tokens came in each of the last seconds. `now` gives milliseconds since 1970, and never goes back. */
export function createTokenRate(now: () => number) {
  // with the second that is not over
  const counts = new Array<number>(RATE_SECONDS + 1).fill(0);
  const place = (second: number): number => second % counts.length;
  let last = Math.floor(now() / 1000);
  const advance = (): void => {
    const second = Math.floor(now() / 1000);
    for (let i = Math.max(last + 1, second - RATE_SECONDS); i <= second; i++) counts[place(i)] = 0;
    last = Math.max(last, second);
  };
  return {
    count(): void {
      advance();
      counts[place(last)] = (counts[place(last)] ?? 0) + 1;
    },
    /** Tokens of each of the last 60 whole seconds, the latest last. */
    history(): readonly number[] {
      advance();
      return Array.from({ length: RATE_SECONDS }, (_, i) => counts[place(last - RATE_SECONDS + i)] ?? 0);
    },
  };
}
