// Servers of files for pages: of a folder, as a host of static files is, and of what tests and measurements need.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";

const ROOT = join(import.meta.dirname, "..");

/** Only scripts of the server's own, and WebAssembly. */
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** With these WebAssembly has threads; a host that cannot send them serves a page as well. */
export const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

type Headers = Readonly<Record<string, string>>;

/** Sends a file; false where there is none. */
async function sendFile(response: ServerResponse, file: string, headers: Headers): Promise<boolean> {
  const found = await stat(file).catch(() => undefined);
  if (found?.isFile() !== true) return false;
  const type = TYPES[extname(file)] ?? "application/octet-stream";
  response.writeHead(200, { ...headers, "content-type": type, "content-length": found.size });
  createReadStream(file).pipe(response);
  return true;
}

/** Has a server listen on this machine, and returns its address. */
async function listen(server: Server, port = 0): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, "127.0.0.1", resolve);
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The path of a file in a folder, which no address leaves; that of none for what is no address. */
function pathOf(url: string): string {
  try {
    const path = normalize(decodeURIComponent(new URL(url, "http://localhost").pathname));
    return path.endsWith("/") ? `${path}index.html` : path;
  } catch {
    return "\0";
  }
}

/** Serves a folder on this machine, as a host of static files does. */
export async function serveFolder(
  folder: string,
  { port, headers = {} }: { readonly port?: number; readonly headers?: Headers } = {},
): Promise<{ readonly server: Server; readonly address: string }> {
  const server = createServer(async ({ url = "/" }, response) => {
    if (!(await sendFile(response, join(folder, pathOf(url)), headers)))
      response.writeHead(404).end("not found\n");
  });
  return { server, address: await listen(server, port) };
}

/** Options of a server. */
export interface WebServerOptions {
  /** The folder of the bundles, which are below /mos/. */
  readonly bundles: string;
  /** Isolated from other origins, so that WebAssembly has threads (true). */
  readonly isIsolated?: boolean;
  /** Other folders by the beginnings of their paths, such as "/models/". */
  readonly folders?: Readonly<Record<string, string>>;
  /** Answers what the server has no file for. */
  readonly answer?: (request: IncomingMessage, response: ServerResponse) => void;
}

/** The server. */
export interface WebServer extends Disposable {
  readonly address: string;
  /** Paths that were asked for. */
  readonly requests: readonly string[];
  /** The file of a path. */
  fileOf(path: string): string | undefined;
}

/** Starts a server of an empty page, the bundles, the runtime below /runtime/ and assets. */
export async function startWebServer({
  bundles,
  isIsolated = true,
  folders: given = {},
  answer = (_, response) => response.writeHead(404).end(),
}: WebServerOptions): Promise<WebServer> {
  const requests: string[] = [];
  const folders = {
    "/mos/": bundles,
    "/runtime/": join(ROOT, "node_modules/onnxruntime-web/dist"),
    "/assets/": join(ROOT, "assets"),
    ...given,
  };
  const fileOf = (path: string): string | undefined => {
    const [prefix, folder] = Object.entries(folders).find(([begin]) => path.startsWith(begin)) ?? [];
    return folder === undefined ? undefined : join(folder, path.slice(prefix?.length));
  };
  const headers = { "content-security-policy": POLICY, ...(isIsolated ? ISOLATION : {}) };
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    requests.push(path);
    response.setHeaders(new Map(Object.entries(headers)));
    if (path === "/") return void response.setHeader("content-type", "text/html").end("<!doctype html>");
    const file = fileOf(path);
    if (file === undefined || !(await sendFile(response, file, {}))) answer(request, response);
  });
  return {
    address: await listen(server),
    requests,
    fileOf,
    [Symbol.dispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}
