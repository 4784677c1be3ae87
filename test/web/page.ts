// A page with the library in Chromium, from a server of files: what goes wrong behind it fails the test.
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join } from "node:path";
import { type Browser, chromium } from "playwright-core";
import { inject } from "vitest";

const ROOT = join(import.meta.dirname, "../..");

/** Only scripts of the server's own, and WebAssembly. */
const POLICY =
  "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'";

const TYPES: Readonly<Record<string, string>> = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
  ".json": "application/json",
};

/** Options of a page. */
export interface PageOptions {
  /** Isolated from other origins, so that WebAssembly has threads (true). */
  readonly isIsolated?: boolean;
}

/** The page. */
export interface WebPage extends AsyncDisposable {
  /** Paths that were asked for. */
  readonly requests: readonly string[];
  /** Runs a function in the page, which has `openWeb` and `options` of it for this server. */
  run<Result>(body: string, argument?: unknown): Promise<Result>;
}

let browser: Promise<Browser> | undefined;

async function startServer({ isIsolated = true }: PageOptions) {
  const requests: string[] = [];
  const folders: Readonly<Record<string, string>> = {
    "/mos/": inject("bundles"),
    "/runtime/": join(ROOT, "node_modules/onnxruntime-web/dist"),
    "/assets/": join(ROOT, "assets"),
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
    const [prefix, folder] = Object.entries(folders).find(([begin]) => path.startsWith(begin)) ?? [];
    const file = join(folder ?? "", path.slice(prefix?.length));
    const size =
      folder === undefined
        ? undefined
        : await stat(file).then(
            (found) => found.size,
            () => undefined,
          );
    if (size === undefined) return void response.writeHead(404).end();
    response.writeHead(200, {
      "content-type": TYPES[extname(file)] ?? "application/octet-stream",
      "content-length": size,
    });
    createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return { server, requests, address: `http://127.0.0.1:${port}` };
}

/** Opens an empty page of a server with the bundles, the runtime and the bundled model. */
export async function openPage(options: PageOptions = {}): Promise<WebPage> {
  const { server, requests, address } = await startServer(options);
  browser ??= chromium.connect(inject("chromium"));
  const context = await (await browser).newContext();
  const page = await context.newPage();
  const problems: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error") problems.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => problems.push(`uncaught: ${error.stack ?? error.message}`));
  await page.goto(`${address}/`);
  return {
    requests,
    run: (body, argument) =>
      page.evaluate(
        `(async (argument) => {
          const { openWeb } = await import("/mos/index.js");
          const options = { runtime: "/runtime/" };
          ${body}
        })(${JSON.stringify(argument)})`,
      ),
    async [Symbol.asyncDispose]() {
      await context.close();
      server.closeAllConnections();
      server.close();
      if (problems.length > 0) throw new Error(`behind the page:\n${problems.join("\n")}`);
    },
  };
}
