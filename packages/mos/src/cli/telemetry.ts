// OpenTelemetry's SDK, which reads its own variables of the environment. It is loaded where they name an exporter.
import type { ServerLog } from "mixture-of-shards-server";

/** Tests whether the environment names where traces or metrics go. */
function isExported(signal: "TRACES" | "METRICS", env: NodeJS.ProcessEnv): boolean {
  const exporter = env[`OTEL_${signal}_EXPORTER`] || undefined;
  const endpoint = env["OTEL_EXPORTER_OTLP_ENDPOINT"] || env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`];
  return exporter === undefined ? Boolean(endpoint) : exporter !== "none";
}

const NOT_SENT =
  "neither traces nor metrics are sent, as OpenTelemetry's SDK cannot be loaded; npm install @opentelemetry/api @opentelemetry/sdk-node";

/**
 * Starts the SDK with what the environment says; undefined where that names no exporter. Without its package there is a warning,
 * since such variables are often set for all programs of a machine. Disposing it sends what is left.
 */
export async function startTelemetry(
  log: ServerLog,
  env: NodeJS.ProcessEnv = process.env,
): Promise<AsyncDisposable | undefined> {
  const [traces, metrics] = [isExported("TRACES", env), isExported("METRICS", env)];
  if (env["OTEL_SDK_DISABLED"] === "true" || !(traces || metrics)) return undefined;
  const load = () => Promise.all([import("@opentelemetry/api"), import("@opentelemetry/sdk-node")]);
  const loaded = await load().catch((error: unknown) => void log.warn({ reason: String(error) }, NOT_SENT));
  if (loaded === undefined) return undefined;
  const [{ diag, DiagLogLevel }, { NodeSDK }] = loaded;
  const warn = (message: string, ...details: unknown[]): void =>
    log.warn({ details }, `OpenTelemetry: ${message}`);
  const ignore = (): void => undefined;
  const logger = { error: warn, warn, info: ignore, debug: ignore, verbose: ignore };
  if (env["OTEL_LOG_LEVEL"] === undefined) diag.setLogger(logger, DiagLogLevel.WARN);
  // that of the process would send the command line, which may have a password in it
  env["OTEL_NODE_RESOURCE_DETECTORS"] ||= "env,host";
  if (!/\bservice\.name=/.test(env["OTEL_RESOURCE_ATTRIBUTES"] ?? "")) env["OTEL_SERVICE_NAME"] ||= "mos";
  const sdk = new NodeSDK({
    ...(traces ? {} : { spanProcessors: [] }),
    ...(metrics ? {} : { metricReaders: [] }),
    logRecordProcessors: [],
  });
  sdk.start();
  return { [Symbol.asyncDispose]: () => sdk.shutdown().catch((error: unknown) => warn(String(error))) };
}
