// Traces and metrics by OpenTelemetry's conventions for generative AI, made from the record of a request when it has ended: so the
// answer waits for nothing. The package is optional, and is loaded only where telemetry is asked for.
import type { Attributes, Context } from "@opentelemetry/api";
import { MosError, omitUndefined } from "mixture-of-shards-core/common";
import {
  type AnswerRecord,
  COUNTERS,
  GAUGES,
  labels,
  MAX_MODEL_LABELS,
  type MetricsOptions,
  type Reading,
  type RequestRecord,
} from "./metrics.ts";

const SCOPE = "mixture-of-shards";

/** Sends what records say to the SDK that the process has registered. */
export interface Telemetry {
  /** Takes the record of a request that has ended now, and gives the id of its trace. `headers` may name a trace to belong to. */
  ended(record: RequestRecord, headers: Headers): string;
}

/** Operations of routes; that of all others is `chat`. */
const OPERATIONS: Readonly<Record<string, string>> = {
  "/v1/completions": "text_completion",
  "/v1/embeddings": "embeddings",
};

type Api = typeof import("@opentelemetry/api");

/** Histograms of the conventions, with the bounds of their buckets. */
const HISTOGRAMS = {
  request: {
    name: "gen_ai.server.request.duration",
    ...{ unit: "s", description: "Duration of requests." },
    bounds: [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92],
  },
  firstToken: {
    name: "gen_ai.server.time_to_first_token",
    ...{ unit: "s", description: "Time from arrival of a request to its first token." },
    bounds: [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
  },
  nextToken: {
    name: "gen_ai.server.time_per_output_token",
    ...{ unit: "s", description: "Mean time of an answer's tokens after the first." },
    bounds: [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5],
  },
  tokens: {
    name: "gen_ai.client.token.usage",
    ...{ unit: "{token}", description: "Tokens of requests." },
    bounds: Array.from({ length: 14 }, (_, i) => 4 ** i),
  },
};

const loadApi = (): Promise<Api> =>
  import("@opentelemetry/api").catch((cause: unknown) => {
    const missing =
      "telemetry needs the package @opentelemetry/api, which is not installed; npm install @opentelemetry/api";
    throw new MosError("not_found", missing, { cause });
  });

/** @throws MosError `not_found` without the package `@opentelemetry/api`. */
export async function openTelemetry({
  now,
  ...options
}: Pick<MetricsOptions, "engine" | "modelName" | "now">): Promise<Telemetry> {
  const api = await loadApi();
  observeEngine(api, options);
  const measure = createMeasure(api, options);
  const trace = createTrace(api);
  return {
    ended(record, headers) {
      const to = now();
      if (record.answers.length > 0) measure(record, (to - record.startedAt) / 1000);
      return trace(record, headers, to);
    },
  };
}

/** What Prometheus reads of the engine, under the same names. */
function observeEngine({ metrics }: Api, { engine }: Pick<MetricsOptions, "engine">): void {
  const meter = metrics.getMeter(SCOPE);
  const observe = (kind: "Gauge" | "Counter", all: readonly Reading[]) =>
    all
      .filter(([name]) => !name.includes(":")) // names of vLLM's are none of OpenTelemetry's
      .map(
        ([name, description, read]) =>
          [meter[`createObservable${kind}`](name, { description }), read] as const,
      );
  const readings = [...observe("Gauge", GAUGES), ...observe("Counter", COUNTERS)];
  meter.addBatchObservableCallback(
    async (result) => {
      const stats = await engine.stats().catch(() => undefined); // of an engine that has ended
      if (stats === undefined) return;
      for (const [instrument, read] of readings) result.observe(instrument, read(stats));
    },
    readings.map(([instrument]) => instrument),
  );
}

/** Counts a request, its tokens and times. */
function createMeasure({ metrics }: Api, { modelName }: Pick<MetricsOptions, "modelName">) {
  const meter = metrics.getMeter(SCOPE);
  const histogram = ({ name, bounds, ...more }: (typeof HISTOGRAMS)[keyof typeof HISTOGRAMS]) =>
    meter.createHistogram(name, { ...more, advice: { explicitBucketBoundaries: bounds } });
  const [request, firstToken] = [histogram(HISTOGRAMS.request), histogram(HISTOGRAMS.firstToken)];
  const [nextToken, tokens] = [histogram(HISTOGRAMS.nextToken), histogram(HISTOGRAMS.tokens)];
  const labelModel = labels([modelName], MAX_MODEL_LABELS);
  return (record: RequestRecord, seconds: number): void => {
    const model = labelModel(record.model);
    const shared = {
      ...operationNames(record),
      "gen_ai.request.model": model,
      "gen_ai.response.model": model,
    };
    request.record(seconds, { ...shared, ...errorType(record) });
    if (record.error !== undefined) return;
    tokens.record(record.promptTokens, { ...shared, "gen_ai.token.type": "input" });
    tokens.record(record.completionTokens, { ...shared, "gen_ai.token.type": "output" });
    for (const { firstTokenAt, endedAt, usage } of record.answers) {
      if (firstTokenAt === undefined || endedAt === undefined) continue;
      firstToken.record((firstTokenAt - record.startedAt) / 1000, shared);
      const further = (usage?.completionTokens ?? 0) - 1;
      if (further > 0) nextToken.record((endedAt - firstTokenAt) / 1000 / further, shared);
    }
  };
}

/** A span that is over. Times in milliseconds since 1970. */
interface PastSpan {
  readonly from: number;
  readonly to: number;
  readonly attributes: Attributes;
  readonly isServer?: boolean;
  readonly hasFailed?: boolean;
}

/** Writes the spans of a request, and gives the id of its trace. */
function createTrace({ propagation, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace }: Api) {
  const tracer = trace.getTracer(SCOPE);
  /** Gives the context of spans within it. */
  const write = (name: string, parent: Context, span: PastSpan): Context => {
    const { from, to, attributes, isServer = false, hasFailed = false } = span;
    const kind = isServer ? SpanKind.SERVER : SpanKind.INTERNAL;
    const written = tracer.startSpan(name, { kind, startTime: from, attributes }, parent);
    if (hasFailed) written.setStatus({ code: SpanStatusCode.ERROR });
    written.end(to);
    return trace.setSpan(parent, written);
  };
  return (record: RequestRecord, headers: Headers, to: number): string => {
    const { method, route, startedAt: from, answers, calls } = record;
    const sender = propagation.extract(ROOT_CONTEXT, headers, {
      get: (carrier, name) => carrier.get(name) ?? undefined,
      keys: (carrier) => [...carrier.keys()],
    });
    const request = write(route === "none" ? method : `${method} ${route}`, sender, {
      ...{ from, to, attributes: requestAttributes(record), isServer: true },
      hasFailed: record.status >= 500,
    });
    const traceId = trace.getSpanContext(request)?.traceId ?? "";
    if (answers.length === 0) return traceId;
    const attributes = operationAttributes(record);
    const name = `${attributes["gen_ai.operation.name"]} ${record.model}`;
    const inside = write(name, request, { from, to, attributes, hasFailed: record.error !== undefined });
    for (const [choice, answer] of answers.entries())
      for (const [part, span] of answerSpans(answer, choice)) write(part, inside, span);
    for (const { id, name: tool, beganAt, endedAt = to } of calls) {
      const call = omitUndefined({ "gen_ai.tool.name": tool, "gen_ai.tool.call.id": id });
      write(`tool_call ${tool}`, inside, { from: beganAt, to: endedAt, attributes: call });
    }
    return traceId;
  };
}

/** The parts of an answer that has ended. */
function answerSpans(
  { submittedAt, firstTokenAt, endedAt, usage }: AnswerRecord,
  choice: number,
): readonly (readonly [name: string, span: PastSpan])[] {
  if (usage === undefined || endedAt === undefined) return [];
  const { queuedSeconds, firstTokenSeconds, firstTokenStep } = usage;
  const first = firstTokenAt ?? endedAt;
  // the engine's clock is that of another process, so that its durations count back from what was seen here
  const scheduledAt = Math.max(submittedAt, first - (firstTokenSeconds - queuedSeconds) * 1000);
  const shared = { "mos.choice.index": choice };
  const queue: PastSpan = { from: submittedAt, to: scheduledAt, attributes: shared };
  if (firstTokenStep === undefined) return [["queue", queue]];
  const prefill = {
    ...shared,
    "mos.engine.step": firstTokenStep,
    "gen_ai.usage.input_tokens": usage.promptTokens,
    "gen_ai.usage.cache_read.input_tokens": usage.cachedTokens,
  };
  const decode = { ...shared, "gen_ai.usage.output_tokens": usage.completionTokens };
  return [
    ["queue", queue],
    ["prefill", { from: scheduledAt, to: first, attributes: prefill }],
    ["decode", { from: first, to: endedAt, attributes: decode }],
  ];
}

// what broke off a stream is told by words, which are in the log: codes are few
const errorType = ({ error }: RequestRecord): Attributes =>
  error === undefined ? {} : { "error.type": /^\w{1,64}$/.test(error) ? error : "_OTHER" };

const requestAttributes = (record: RequestRecord): Attributes =>
  omitUndefined({
    "http.request.method": record.method,
    "http.route": record.route === "none" ? undefined : record.route,
    "http.response.status_code": record.status,
    "url.path": record.path.slice(0, 200),
    "mos.request.id": record.id,
    "mos.key.name": record.keyName,
    ...errorType(record),
  });

const operationNames = ({ route }: RequestRecord) => ({
  "gen_ai.operation.name": OPERATIONS[route] ?? "chat",
  "gen_ai.provider.name": SCOPE,
});

/** Neither prompts nor answers, as in the log. */
function operationAttributes(record: RequestRecord) {
  const { model, digest, answers, calls, isStream, startedAt, firstTokenAt } = record;
  const [first, second] = answers;
  const stopped = calls.length > 0 && second === undefined ? "tool_call" : "stop";
  const { maxTokens, sampling = {} } = first?.request ?? {};
  return omitUndefined({
    ...operationNames(record),
    "gen_ai.request.model": model,
    "gen_ai.response.model": model,
    "gen_ai.request.max_tokens": maxTokens,
    "gen_ai.request.temperature": sampling.temperature,
    "gen_ai.request.top_p": sampling.topP,
    "gen_ai.request.top_k": sampling.topK,
    "gen_ai.request.choice.count": answers.length === 1 ? undefined : answers.length,
    "gen_ai.request.stream": isStream,
    "gen_ai.usage.input_tokens": record.promptTokens,
    "gen_ai.usage.cache_read.input_tokens": record.cachedTokens,
    "gen_ai.usage.output_tokens": record.completionTokens,
    "gen_ai.response.finish_reasons": answers.map(({ finishReason = "error" }) =>
      finishReason === "end" || finishReason === "stop" ? stopped : finishReason,
    ),
    "gen_ai.response.time_to_first_chunk":
      isStream && firstTokenAt !== undefined ? (firstTokenAt - startedAt) / 1000 : undefined,
    "mos.adapter.name": digest === undefined ? undefined : model,
    "mos.adapter.digest": digest,
    ...errorType(record),
  });
}
