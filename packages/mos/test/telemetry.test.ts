// Traces and metrics as a collector gets them by OTLP over HTTP, from the SDK that the environment configures.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";
import * as api from "@opentelemetry/api";
import { openApp, type ServedApp } from "mixture-of-shards-server";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { openTelemetry } from "../../server/src/telemetry.ts";
import { makeServer } from "../../server/test/harness.ts";
import { startTelemetry } from "../src/cli/telemetry.ts";

// biome-ignore lint/suspicious/noExplicitAny: documents of OTLP
const received: { readonly path: string; readonly body: any }[] = [];
const log = { info: () => undefined, warn: () => undefined };
let collector: Server;
let sdk: AsyncDisposable | undefined;
let app: ServedApp;

beforeAll(async () => {
  collector = createServer(async (request, response) => {
    received.push({ path: request.url ?? "", body: await json(request) });
    response.setHeader("content-type", "application/json").end("{}");
  });
  await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve));
  const { port } = collector.address() as AddressInfo;
  vi.stubEnv("OTEL_EXPORTER_OTLP_ENDPOINT", `http://127.0.0.1:${port}`);
  vi.stubEnv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json");
  vi.stubEnv("OTEL_BSP_SCHEDULE_DELAY", "20");
  vi.stubEnv("OTEL_METRIC_EXPORT_INTERVAL", "300");
  vi.stubEnv("OTEL_METRIC_EXPORT_TIMEOUT", "300");
  // what it sets itself is taken back, too
  for (const name of ["OTEL_SERVICE_NAME", "OTEL_NODE_RESOURCE_DETECTORS"]) vi.stubEnv(name, undefined);
  sdk = await startTelemetry({ ...log, error: log.warn });
  app = await openApp({ model: "assets/tiny-english", threads: 1, telemetry: true });
}, 30_000);
afterAll(async () => {
  await app[Symbol.asyncDispose]();
  await sdk?.[Symbol.asyncDispose]();
  collector.closeAllConnections();
  collector.close();
  for (const global of [api.trace, api.metrics, api.propagation, api.context, api.diag]) global.disable();
  vi.unstubAllEnvs();
});

/** Attributes, numbers and times as they are in the program. */
const plain = (list: readonly { key: string; value: Record<string, unknown> }[] = []) =>
  Object.fromEntries(list.map(({ key, value }) => [key, toValue(value)]));
const toValue = (value: Record<string, unknown>): unknown => {
  const [[kind, one] = ["", undefined]] = Object.entries(value);
  if (kind === "arrayValue") return (one as { values: Record<string, unknown>[] }).values.map(toValue);
  return kind === "intValue" ? Number(one) : one;
};

interface Span {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly kind: number;
  readonly status: { readonly code?: number };
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: Record<string, unknown>;
}

const spansOf = (traceId: string): readonly Span[] =>
  received
    .filter(({ path }) => path === "/v1/traces")
    .flatMap(({ body }) => body.resourceSpans)
    .flatMap(({ scopeSpans }) => scopeSpans)
    .flatMap(({ spans }) => spans)
    .map((span) => ({ ...span, attributes: plain(span.attributes) }))
    .filter((span) => span.traceId === traceId);

/** The spans of a trace by their names, when the span that has no parent among them is there. */
const trace = (traceId: string): Promise<Readonly<Record<string, Span>>> =>
  vi.waitFor(
    () => {
      const spans = spansOf(traceId);
      expect(spans.some(({ kind }) => kind === SERVER)).toBe(true);
      return Object.fromEntries(spans.map((span) => [span.name, span]));
    },
    { timeout: 10_000 },
  );

const [INTERNAL, SERVER] = [1, 2];
const SENDER = "b7ad6b7169203331";
let nextTrace = 1;
/** Another id for each request. */
const newTraceId = (): string => (nextTrace++).toString(16).padStart(32, "a");
const headers = (traceId: string) => ({
  "content-type": "application/json",
  traceparent: `00-${traceId}-${SENDER}-01`,
});

async function chat(more: object) {
  const traceId = newTraceId();
  const body = { model: "tiny-english", messages: [{ role: "user", content: "Hello" }], ...more };
  const init = { method: "POST", headers: headers(traceId), body: JSON.stringify(body) };
  const answer = await app.fetch(new Request("http://localhost/v1/chat/completions", init));
  return { text: await answer.text(), spans: await trace(traceId) };
}

const stepOf = (spans: Readonly<Record<string, Span>>): number =>
  Number(spans["prefill"]?.attributes["mos.engine.step"]);

test("a trace leads from its sender over queue and prefill to the step of the first token", async () => {
  const { text, spans } = await chat({ max_tokens: 5, temperature: 0.5, stream: true });
  const { queue, prefill, decode } = spans;
  const request = spans["POST /v1/chat/completions"];
  const operation = spans["chat tiny-english"];
  expect(text).toContain("[DONE]");
  expect(request).toMatchObject({ parentSpanId: SENDER, kind: SERVER });
  expect(request?.attributes).toMatchObject({
    "http.route": "/v1/chat/completions",
    "http.response.status_code": 200,
  });
  expect(operation).toMatchObject({ parentSpanId: request?.spanId, kind: INTERNAL });
  expect(operation?.attributes).toMatchObject({
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "tiny-english",
    "gen_ai.request.max_tokens": 5,
    "gen_ai.request.temperature": 0.5,
    "gen_ai.request.stream": true,
    "gen_ai.usage.output_tokens": 5,
    "gen_ai.response.finish_reasons": ["length"],
    "gen_ai.response.time_to_first_chunk": expect.closeTo(
      (Number(prefill?.endTimeUnixNano) - Number(request?.startTimeUnixNano)) / 1e9,
      3,
    ),
  });
  for (const part of [queue, prefill, decode]) expect(part?.parentSpanId).toBe(operation?.spanId);
  const [begin, end] = ["startTimeUnixNano", "endTimeUnixNano"] as const;
  expect(prefill?.[begin]).toBe(queue?.[end]);
  expect(decode?.[begin]).toBe(prefill?.[end]);
  const times = [
    request?.[begin],
    queue?.[begin],
    prefill?.[begin],
    decode?.[begin],
    decode?.[end],
    request?.[end],
  ];
  const numbers = times.map(Number);
  expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
  expect(prefill?.attributes["gen_ai.usage.input_tokens"]).toBe(
    operation?.attributes["gen_ai.usage.input_tokens"],
  );

  // a request after it has a later step
  const events = app.engine.complete("Once", { maxTokens: 1 });
  let next: number | undefined;
  for await (const event of events) if (event.type === "finish") next = event.usage.firstTokenStep;
  expect(stepOf(spans)).toBeGreaterThan(0);
  expect(next).toBeGreaterThan(stepOf(spans));
}, 30_000);

test("calls of tools are spans with the ids by which clients answer them", async () => {
  const rain = {
    type: "function",
    function: { name: "rain", parameters: { type: "object", properties: {} } },
  };
  const { text, spans } = await chat({ tools: [rain], tool_choice: "required", max_tokens: 60 });
  const [call] = JSON.parse(text).choices[0].message.tool_calls;
  expect(spans["chat tiny-english"]?.attributes["gen_ai.response.finish_reasons"]).toEqual(["tool_call"]);
  expect(spans["tool_call rain"]).toMatchObject({
    parentSpanId: spans["chat tiny-english"]?.spanId,
    attributes: { "gen_ai.tool.name": "rain", "gen_ai.tool.call.id": call.id },
  });
}, 30_000);

describe("metrics and traces of a server", () => {
  const serve = async () => {
    const [modelName, now] = ["base", Date.now];
    const parts = await makeServer({ engine: { adapters: ["acme"], capacity: 1 } });
    const telemetry = await openTelemetry({ engine: parts.engine, modelName, now });
    return await makeServer({ engine: { adapters: ["acme"], capacity: 1 }, server: { telemetry } });
  };

  test("name the adapter by its digest, and what went wrong", async () => {
    await using server = await serve();
    const [good, bad] = [newTraceId(), newTraceId()];
    const body = { model: "acme", prompt: "Hi", max_tokens: 4 };
    await server.send("/v1/completions", body, headers(good));
    await server.send("/v1/completions", { ...body, n: 3 }, headers(bad));
    const { "text_completion acme": answered } = await trace(good);
    expect(answered?.attributes).toMatchObject({
      "mos.adapter.name": "acme",
      "mos.adapter.digest": "sha256:acme",
    });
    const { "POST /v1/completions": refused, ...others } = await trace(bad);
    expect(refused?.attributes).toMatchObject({ "http.response.status_code": 429 });
    expect(refused?.attributes["error.type"]).toMatch(/./);
    expect(others).toEqual({});
    const lines = server.log.filter(({ message }) => message === "request");
    expect(lines.map(({ fields }) => fields["trace"])).toEqual([good, bad]);
  });

  test("have a class for what broke off a stream, and not its words", async () => {
    await using server = await serve();
    const id = newTraceId();
    server.engine.hold(1);
    const answer = server.send(
      "/v1/completions",
      { ...{ model: "acme", prompt: "Hi" }, stream: true },
      headers(id),
    );
    await vi.waitFor(() => expect(server.engine.running).toBe(1));
    server.engine.break();
    await answer;
    const { "POST /v1/completions": broken } = await trace(id);
    expect(broken?.attributes["error.type"]).toBe("_OTHER");
  });

  test("count requests, tokens and times", async () => {
    await using server = await serve();
    const usage: { prompt_tokens: number; completion_tokens: number }[] = [];
    for (let i = 0; i < 3; i++) {
      const { json } = await server.send("/v1/completions", {
        model: "acme",
        prompt: "Hello",
        max_tokens: 3,
      });
      usage.push(json.usage);
    }
    const sum = (field: keyof (typeof usage)[number]) => usage.reduce((total, one) => total + one[field], 0);
    await vi.waitFor(
      () => {
        const points = metricPoints({ "gen_ai.request.model": "acme" });
        const [duration] = points("gen_ai.server.request.duration");
        expect(duration?.count).toBe(4); // and that of the test before
        expect(points("gen_ai.server.time_to_first_token")[0]?.count).toBe(4);
        expect(points("gen_ai.server.time_per_output_token")[0]?.count).toBe(4);
        const [output] = points("gen_ai.client.token.usage", { "gen_ai.token.type": "output" });
        expect(output).toMatchObject({ count: 4, sum: sum("completion_tokens") + 4 });
      },
      { timeout: 10_000 },
    );
    expect(metricPoints({})("mos_batch_rows").length).toBeGreaterThan(0);
    // nothing of the command line, which may have a password in it
    const resources = received.flatMap(({ body }) => body.resourceMetrics ?? body.resourceSpans);
    const names = resources.flatMap(({ resource }) => Object.keys(plain(resource.attributes)));
    expect(names.filter((name) => name.startsWith("process."))).toEqual([]);
    expect(plain(resources[0]?.resource.attributes)["service.name"]).toBe("mos");
  });
});

/** The latest points of a metric with these attributes. */
const metricPoints =
  (shared: object) =>
  (name: string, more: object = {}) =>
    received
      .filter(({ path }) => path === "/v1/metrics")
      .slice(-1)
      .flatMap(({ body }) => body.resourceMetrics)
      .flatMap(({ scopeMetrics }) => scopeMetrics)
      .flatMap(({ metrics }) => metrics)
      .filter((metric) => metric.name === name)
      .flatMap(({ histogram, gauge }) => (histogram ?? gauge).dataPoints)
      .map((point) => ({ ...point, count: Number(point.count), attributes: plain(point.attributes) }))
      .filter(({ attributes }) =>
        Object.entries({ ...shared, ...more }).every(([key, value]) => attributes[key] === value),
      );

test.each([
  {},
  { OTEL_EXPORTER_OTLP_ENDPOINT: "" },
  { OTEL_EXPORTER_OTLP_ENDPOINT: "http://localhost:1", OTEL_SDK_DISABLED: "true" },
  {
    OTEL_EXPORTER_OTLP_ENDPOINT: "http://localhost:1",
    OTEL_TRACES_EXPORTER: "none",
    OTEL_METRICS_EXPORTER: "none",
  },
])("nothing is sent where the environment names no exporter: %o", async (env) => {
  expect(await startTelemetry({ ...log, error: log.warn }, env)).toBeUndefined();
});
