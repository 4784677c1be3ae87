// The port of mos worker, for probes and Prometheus.
import { once } from "node:events";
import { createServer } from "node:http";
import { MosError } from "mixture-of-shards";

/** Options of probes: the address, and the contents of /metrics. */
export interface ProbeOptions {
  readonly host: string;
  readonly port: number;
  readonly metrics: () => Promise<string>;
  /** Problem of its storage, for anybody to read; undefined while there is none. */
  readonly problem: () => Promise<string | undefined>;
}

/**
 * Answers /health, /ready and /metrics until it is disposed.
 *
 * @throws MosError `bad_option` where the port is taken or not allowed.
 */
export async function listenForProbes({
  host,
  port,
  metrics,
  problem,
}: ProbeOptions): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createServer(async ({ method, url }, response) => {
    const answer = (status: number, type: string, text: string): void => {
      response.writeHead(status, { "content-type": type, connection: "close" }).end(text);
    };
    if (method !== "GET") answer(405, "text/plain", "only GET is allowed\n");
    else if (url === "/health") answer(200, "application/json", '{"status":"up"}');
    else if (url === "/ready") {
      const reason = await problem();
      const state = reason === undefined ? { status: "ready" } : { status: "storage_unavailable", reason };
      answer(reason === undefined ? 200 : 503, "application/json", JSON.stringify(state));
    } else if (url === "/metrics") answer(200, "text/plain; version=0.0.4; charset=utf-8", await metrics());
    else answer(404, "text/plain", "not found; use /health, /ready or /metrics\n");
  });
  server.maxConnections = 100;
  server.listen(port, host);
  try {
    await once(server, "listening");
  } catch (cause) {
    throw new MosError("bad_option", `port: cannot listen on ${host}:${port}: ${(cause as Error).message}`, {
      cause,
    });
  }
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : port,
    [Symbol.asyncDispose]: async () => {
      server.close();
      server.closeAllConnections();
    },
  };
}
