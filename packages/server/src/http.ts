// Connections: the port, timeouts for clients that are slow or silent, and closing it when running requests have ended.

import { readdirSync } from "node:fs";
import { createServer as createHttpServer, type Server, type ServerResponse } from "node:http";
import { createServer as createHttpsServer, Server as HttpsServer } from "node:https";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import { getRequestListener, RequestError } from "@hono/node-server";
import { MosError } from "mixture-of-shards-core/common";
import { createInFlight, defaultLimits, GRACE, type InFlight, type ServerLimits } from "./limits.ts";
import type { OpenCertificate } from "./tls.ts";

/** Members of a server that listening needs. */
export interface ListeningServer {
  readonly app: { readonly fetch: Parameters<typeof getRequestListener>[0] };
  readonly inFlight?: InFlight;
  readonly limits?: ServerLimits;
}

/** An address or name of this machine, and a port; 0 takes any free one. */
interface Place {
  readonly host: string;
  readonly port: number;
}

/**
 * Listens on a port, with a certificate for HTTPS.
 *
 * @throws MosError `bad_option` where the port is taken or not allowed.
 */
export async function listen(
  { app, inFlight = createInFlight(), limits: given = defaultLimits }: ListeningServer,
  { host, port, tls }: Place & { readonly tls?: OpenCertificate | undefined },
) {
  const limits = withinFiles(given);
  const options = {
    maxHeaderSize: limits.headerBytes,
    headersTimeout: limits.headerSeconds * 1000,
    handshakeTimeout: limits.headerSeconds * 1000,
    requestTimeout: limits.uploadSeconds * 1000,
    keepAliveTimeout: limits.idleSeconds * 1000,
    connectionsCheckingInterval: Math.min(5000, limits.headerSeconds * 500),
    keepAlive: true,
    keepAliveInitialDelay: 30_000,
  };
  const errorHandler = (error: unknown) =>
    error instanceof RequestError
      ? Response.json(badRequest("invalid request URL or host"), { status: 400 })
      : new Response("internal error\n", { status: 500 });
  const listener = getRequestListener(app.fetch, { overrideGlobalObjects: false, errorHandler });
  const http = tls
    ? createHttpsServer({ ...options, ...tls.pair }, listener)
    : createHttpServer(options, listener);
  http.maxHeadersCount = limits.headerCount;
  http.maxRequestsPerSocket = limits.requestsPerConnection;
  const { closeIdle, answerOn, isOpen } = watchConnections(http, limits);
  http.on("clientError", (error: NodeJS.ErrnoException, socket) =>
    // in the middle of an answer, the client would take an error for a part of it; without TLS it could not read one
    answerOn(socket)?.headersSent === true || !isOpen(socket)
      ? socket.destroy()
      : answerBrokenRequest(error, socket),
  );
  // connections that wait to be accepted, in a burst of more than there may be
  const bound = await bind(http, { host, port, backlog: 4 * limits.connections });
  if (tls !== undefined && http instanceof HttpsServer) http.once("close", tls.watch(http));
  const shownHost = host.includes(":") ? `[${host}]` : host;
  /** Accepts no more requests, gives running ones this long to end (30 seconds), then cancels them and closes the port. */
  const close = async ({ drainSeconds = 30 } = {}): Promise<void> => {
    const closed = new Promise<void>((resolve) => http.close(() => resolve()));
    await inFlight.drain(drainSeconds);
    closeIdle();
    const timer = setTimeout(() => http.closeAllConnections(), GRACE);
    await closed.finally(() => clearTimeout(timer));
  };
  return {
    port: bound,
    close,
    [Symbol.asyncDispose]: () => close({ drainSeconds: 0 }),
    /** Connections accepted at a time: fewer than the server's limit where the process may open few files. */
    connections: limits.connections,
    address: `${tls === undefined ? "http" : "https"}://${shownHost}:${bound}`,
  };
}

/**
 * Opens a port and closes it again, so that one which is taken is known before anything is loaded.
 *
 * @throws MosError as `listen`.
 */
export async function assertFreePort(place: Place): Promise<void> {
  const http = createHttpServer();
  await bind(http, { ...place, backlog: 1 });
  await new Promise<void>((resolve) => http.close(() => resolve()));
}

function bind(http: Server, options: Place & { readonly backlog: number }): Promise<number> {
  const { host, port } = options;
  return new Promise((resolve, reject) => {
    http.once("error", (cause: NodeJS.ErrnoException) => {
      const known: Readonly<Record<string, string>> = {
        EADDRINUSE: "the port is in use; choose another --port",
        EACCES: "permission denied; choose a port above 1023",
        EADDRNOTAVAIL: "this machine does not have that address; choose another --host",
      };
      const reason = known[cause.code ?? ""] ?? cause.message;
      reject(new MosError("bad_option", `${host}:${port}: ${reason}`, { cause }));
    });
    http.listen(options, () => {
      const address = http.address();
      resolve(typeof address === "object" && address !== null ? address.port : port);
    });
  });
}

/** To requests that never reach the app. */
const badRequest = (message: string) => ({
  error: { message, type: "invalid_request_error", param: null, code: "bad_request" },
});

const BROKEN: Readonly<Record<string, readonly [status: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: ["431 Request Header Fields Too Large", "the headers are too large"],
  ERR_HTTP_REQUEST_TIMEOUT: ["408 Request Timeout", "the request timed out"],
};

/** Bytes that are not HTTP get an answer in the same format, and the connection is closed. */
function answerBrokenRequest(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (!socket.writable || error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const [status, message] = BROKEN[error.code ?? ""] ?? ["400 Bad Request", "invalid HTTP"];
  const body = JSON.stringify(badRequest(message));
  socket.end(
    `HTTP/1.1 ${status}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
  // a client that goes on sending would keep its half open
  setTimeout(() => socket.destroy(), GRACE).unref();
}

/**
 * Drops connections whose client does not read its answer. A client that waits for a slow answer is silent, too, but
 * nothing is buffered for it, so it stays. Where there are as many connections as may be, a new one takes the place of the
 * oldest one that has not sent a whole request: clients that send slowly cannot keep others out.
 */
function watchConnections(http: Server, limits: ServerLimits) {
  const { stalledSeconds } = limits;
  /** The address of each, the oldest first; and those of each address. */
  const sockets = new Map<Socket, string>();
  const byAddress = new Map<string, Set<Socket>>();
  const answering = new Map<Duplex, ServerResponse>();
  let isClosing = false;
  const remember = (socket: Socket): void => {
    const { remoteAddress: address = "" } = socket;
    byAddress.set(address, (byAddress.get(address) ?? new Set()).add(socket));
    sockets.set(socket, address);
    socket.once("close", () => forget(socket));
  };
  const forget = (socket: Socket): void => {
    const address = sockets.get(socket) ?? "";
    sockets.delete(socket);
    const same = byAddress.get(address);
    same?.delete(socket);
    if (same?.size === 0) byAddress.delete(address);
  };
  /** Tests whether there is room among them; the oldest that has not sent a whole request is dropped for it. */
  const hasRoom = (among: Pick<ReadonlySet<Socket>, "size" | "keys">, limit: number): boolean => {
    if (among.size < limit) return true;
    for (const socket of among.keys())
      if (answering.get(socket)?.req.complete !== true) {
        socket.destroy();
        forget(socket);
        return true;
      }
    return false;
  };
  http.on("connection", (socket: Socket) => {
    const same = byAddress.get(socket.remoteAddress ?? "") ?? new Set();
    if (hasRoom(same, limits.connectionsPerAddress) && hasRoom(sockets, limits.connections)) remember(socket);
    else socket.destroy();
  });
  // from here on the connection below is part of this one
  http.on("secureConnection", (socket: TLSSocket) => {
    const { remoteAddress = "", remotePort } = socket;
    const below = [...(byAddress.get(remoteAddress) ?? [])].find((one) => one.remotePort === remotePort);
    if (below !== undefined) forget(below);
    remember(socket);
  });
  http.on("request", (request, response) => {
    const { socket } = request;
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
    /** The answer that is being written to a connection. */
    answerOn: (socket: Duplex): ServerResponse | undefined => answering.get(socket),
    /** Tests whether a connection can carry requests: with TLS, after its handshake. */
    isOpen: (socket: Duplex): boolean =>
      !(http instanceof HttpsServer) || (socket instanceof TLSSocket && sockets.has(socket)),
    /** Closes idle connections now, and each other one once its answer is written. */
    closeIdle(): void {
      isClosing = true;
      for (const socket of sockets.keys()) if (!answering.has(socket)) socket.destroy();
    },
  };
}

/** Files for adapters, logs, keys, the database and webhooks while all connections are taken. */
const RESERVE = 32;
/** Below these a server would serve nobody. */
const MIN_CONNECTIONS = 8;

/** The files that this process may have open, and those that it has; undefined where the system has no such limit, as on Windows. */
export function processFiles() {
  const report: unknown = process.report.getReport();
  const { userLimits } = report as { readonly userLimits?: Readonly<Record<string, { soft?: unknown }>> };
  const limit = userLimits?.["open_files"]?.soft;
  if (typeof limit !== "number") return undefined;
  try {
    return { limit, open: readdirSync("/dev/fd").length };
  } catch {
    return { limit, open: RESERVE };
  }
}

/**
 * The limits with no more connections than there can be. Of the files that are left, half are for connections: each may send a
 * file or use an adapter that is opened for it. One address may have half of all connections, as it may by default.
 */
export function withinFiles(
  limits: ServerLimits,
  files: ReturnType<typeof processFiles> = processFiles(),
): ServerLimits {
  if (files === undefined) return limits;
  const room = Math.floor((files.limit - files.open - RESERVE) / 2);
  const connections = Math.max(MIN_CONNECTIONS, room);
  if (connections >= limits.connections) return limits;
  const connectionsPerAddress = Math.min(limits.connectionsPerAddress, Math.ceil(connections / 2));
  return { ...limits, connections, connectionsPerAddress };
}
