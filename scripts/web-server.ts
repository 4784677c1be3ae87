// A server of files for pages of tests and measurements.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";

const ROOT = join(import.meta.dirname, "..");

/** Only scripts of the server's own, and WebAssembly. */
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";

const TYPES: Readonly<Record<string, string>> = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

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
  const server = createServer(async (request, response) => {
    const path = new URL(request.url ?? "/", "http://localhost").pathname;
    requests.push(path);
    response.setHeader("content-security-policy", POLICY);
    if (isIsolated) {
      response.setHeader("cross-origin-opener-policy", "same-origin");
      response.setHeader("cross-origin-embedder-policy", "require-corp");
    }
    if (path === "/") return void response.setHeader("content-type", "text/html").end("<!doctype html>");
    const file = fileOf(path);
    const found = file === undefined ? undefined : await stat(file).catch(() => undefined);
    if (file === undefined || found === undefined) return answer(request, response);
    response.writeHead(200, {
      "content-type": TYPES[extname(file)] ?? "application/octet-stream",
      "content-length": found.size,
    });
    createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    address: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    fileOf,
    [Symbol.dispose]() {
      server.closeAllConnections();
      server.close();
    },
  };
}
