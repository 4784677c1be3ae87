// A port for the server, and the patience that it has with connections.
import { createServer as createHttpServer, type Server, type ServerResponse } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { getRequestListener } from "@hono/node-server";
import { MosError } from "#core";
import type { ApiServer } from "./app.ts";
import type { ServerLimits } from "./limits.ts";
import { answerTo, Refusal } from "./refusal.ts";

export interface ListenOptions {
  readonly host: string;
  /** 0 takes any free port. */
  readonly port: number;
}

/** A server that takes requests. */
export interface Listening {
  readonly port: number;
  readonly address: string;
  /** Takes no more, lets what runs end for so many seconds, and then stops it. */
  close(options?: { readonly drainSeconds?: number }): Promise<void>;
}

/** How long answers that are written may take to reach their clients at the end, in milliseconds. */
const LAST_WORDS = 2000;

/**
 * Listens on a port.
 *
 * @throws MosError `bad_option` where the port is taken or not allowed.
 */
export async function listen(server: ApiServer, { host, port }: ListenOptions): Promise<Listening> {
  const { limits, app, activity } = server;
  const http = createHttpServer(
    {
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headerSeconds * 1000,
      requestTimeout: limits.requestSeconds * 1000,
      keepAliveTimeout: limits.idleSeconds * 1000,
      connectionsCheckingInterval: Math.min(5000, limits.headerSeconds * 500),
      keepAlive: true,
      keepAliveInitialDelay: 30_000,
    },
    getRequestListener(app.fetch, { overrideGlobalObjects: false, errorHandler: jsonAnswer }),
  );
  http.maxHeadersCount = limits.headerCount;
  http.maxConnections = limits.connections;
  http.maxRequestsPerSocket = limits.requestsPerConnection;
  const { closeIdle, answerOn } = watchConnections(http, limits);
  http.on("clientError", (error: NodeJS.ErrnoException, socket) =>
    // in the middle of an answer it would be taken for a part of it
    answerOn(socket)?.headersSent === true ? socket.destroy() : answerBrokenRequest(error, socket),
  );
  const bound = await bind(http, { host, port });
  const shownHost = host.includes(":") ? `[${host}]` : host;
  return {
    port: bound,
    address: `http://${shownHost}:${bound}`,
    async close({ drainSeconds = 30 } = {}) {
      const closed = new Promise<void>((resolve) => http.close(() => resolve()));
      await activity.drain(drainSeconds);
      closeIdle();
      const timer = setTimeout(() => http.closeAllConnections(), LAST_WORDS);
      await closed.finally(() => clearTimeout(timer));
    },
  };
}

function bind(http: Server, { host, port }: ListenOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    http.once("error", (cause: NodeJS.ErrnoException) => {
      const known: Readonly<Record<string, string>> = {
        EADDRINUSE: "another program listens there; choose another --port",
        EACCES: "it is not allowed; choose a port above 1023",
        EADDRNOTAVAIL: "this machine has no such address; choose another --host",
      };
      const reason = known[cause.code ?? ""] ?? cause.message;
      reject(new MosError("bad_option", `${host}:${port}: ${reason}`, { cause }));
    });
    http.listen({ host, port }, () => {
      const address = http.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

/** An answer outside of the app, for requests that never reach it. */
function jsonAnswer(): Response {
  const { status, body } = answerTo(
    new Refusal("the request's address or host is not valid", { status: 400, reason: "bad_request" }),
  );
  return Response.json(body, { status });
}

const BROKEN: Readonly<Record<string, RefusalAnswer>> = {
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "the headers are too large"],
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "the request did not come in time"],
};
type RefusalAnswer = readonly [status: string, message: string];

/** What is no HTTP gets an answer in the same form, and no further word. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, message] = BROKEN[error.code ?? ""] ?? ["400 Bad Request", "this is not valid HTTP"];
  const body = JSON.stringify({
    error: { message, type: "invalid_request_error", param: null, code: "bad_request" },
  });
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

interface WatchedConnections {
  /** The answer that is being written to a connection. */
  answerOn(socket: Duplex): ServerResponse | undefined;
  /** Closes the connections, those that an answer is written to when it is written. */
  closeIdle(): void;
}

/**
 * Drops connections whose client does not read what is written to it. A client that waits for its answer is silent,
 * too, and is left alone: nothing waits to be sent to it.
 */
function watchConnections(http: Server, { stalledSeconds }: ServerLimits): WatchedConnections {
  const sockets = new Set<Socket>();
  const answering = new Map<Duplex, ServerResponse>();
  let isClosing = false;
  http.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  http.on("request", ({ socket }, response) => {
    answering.set(socket, response);
    response.once("close", () => {
      if (answering.get(socket) === response) answering.delete(socket);
      if (isClosing) socket.destroySoon();
    });
  });
  http.setTimeout(stalledSeconds * 1000, (socket) => {
    if (answering.has(socket) && socket.writableLength === 0) socket.setTimeout(stalledSeconds * 1000);
    else socket.destroy();
  });
  return {
    answerOn: (socket) => answering.get(socket),
    closeIdle() {
      isClosing = true;
      for (const socket of sockets) if (!answering.has(socket)) socket.destroy();
    },
  };
}
