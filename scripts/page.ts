// Puts a static page of examples/ together, so that any host of files can serve it, and serves it here.
// usage: npm run page -- --help
import { createReadStream } from "node:fs";
import { cp, mkdir, rm, stat } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize } from "node:path";
import { parseArgs } from "node:util";
import { bundleWeb } from "./bundle-web.ts";

const HELP = `usage: npm run page -- [--example NAME] [--out FOLDER] [--port N]

Writes a page that fine-tunes a model in the visitor's browser, and serves it at http://127.0.0.1:8090.

  --example NAME page, or notes: a page whose chat learns notes in the background (page)
  --out FOLDER   writes it there, and ends: any host of static files can serve the folder
  --port N       of the server (8090)`;

const ROOT = join(import.meta.dirname, "..");

/** The pages, by their folders in examples/. */
const EXAMPLES = ["page", "notes"] as const;
type Example = (typeof EXAMPLES)[number];

/** Parts of the folder beside an example's own files, and where they come from. */
const PARTS: Readonly<Record<string, string>> = {
  "icon.svg": "packages/studio/public/icon.svg",
  "style/tokens.css": "packages/studio/src/styles/tokens.css",
  "style/base.css": "packages/studio/src/styles/base.css",
  "style/button.css": "packages/studio/src/ui/button.css",
  "style/field.css": "packages/studio/src/ui/field.css",
  "runtime/ort.wasm.min.mjs": "node_modules/onnxruntime-web/dist/ort.wasm.min.mjs",
  "runtime/ort-wasm-simd-threaded.mjs": "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.mjs",
  "runtime/ort-wasm-simd-threaded.wasm": "node_modules/onnxruntime-web/dist/ort-wasm-simd-threaded.wasm",
  model: "assets/tiny-english",
  "quickstart/train.jsonl": "assets/quickstart/train.jsonl",
};

/** Writes a page to a folder, in place of what an earlier call wrote. */
export async function writePage(folder: string, example: Example = "page"): Promise<void> {
  for (const [name, source] of Object.entries({ "": `examples/${example}`, ...PARTS })) {
    const target = join(folder, name);
    if (name !== "") await rm(target, { recursive: true, force: true });
    await mkdir(join(target, ".."), { recursive: true });
    // what only the checker of types reads stays here
    const filter = (path: string): boolean => !/\.d\.ts$|tsconfig\.json$/.test(path);
    await cp(join(ROOT, source), target, { recursive: true, filter });
  }
  await bundleWeb({ folder: join(folder, "mos") });
}

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".mjs": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

/** With these WebAssembly has threads; a host that cannot send them serves the page as well. */
const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/** The path of a file in the folder, which no address leaves; that of none for what is no address. */
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
  { port = 0, headers = {} }: { readonly port?: number; readonly headers?: Readonly<Record<string, string>> },
): Promise<{ readonly server: Server; readonly address: string }> {
  const server = createServer(async ({ url = "/" }, response) => {
    const file = join(folder, pathOf(url));
    const found = await stat(file).catch(() => undefined);
    if (found?.isFile() !== true) return void response.writeHead(404).end("not found\n");
    const type = TYPES[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { ...headers, "content-type": type, "content-length": found.size });
    createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(port, "127.0.0.1", resolve);
  });
  return { server, address: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** Reads the options; throws what is wrong with them. */
function readOptions() {
  const texts = { example: { type: "string" }, out: { type: "string" }, port: { type: "string" } } as const;
  const { values } = parseArgs({ options: { ...texts, help: { type: "boolean" } } });
  const example = EXAMPLES.find((name) => name === (values.example ?? "page"));
  if (example === undefined)
    throw new Error(`--example ${values.example}: give one of ${EXAMPLES.join(", ")}`);
  const port = Number(values.port ?? 8090);
  if (!Number.isInteger(port) || port < 0 || port > 65_535)
    throw new Error(`--port ${values.port}: give a number from 0 to 65535`);
  return { ...values, example, port };
}

async function main(): Promise<void> {
  const { example, out, port, help } = readOptions();
  if (help === true) return console.log(HELP);
  const folder = out ?? join(ROOT, ".mos", example);
  await writePage(folder, example);
  if (out !== undefined) return console.log(`The page is in ${out}.`);
  const { address } = await serveFolder(folder, { port, headers: ISOLATION });
  console.log(`The page is at ${address} (Ctrl-C ends).`);
}

if (process.argv[1] === import.meta.filename)
  await main().catch((error: Error) => {
    console.error(error.message);
    process.exitCode = 2;
  });
