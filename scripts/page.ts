// Puts a static page of examples/ together, so that any host of files can serve it, and serves it here.
// usage: npm run page -- --help
import { cp, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bundleWeb } from "./bundle-web.ts";
import { ISOLATION, serveFolder } from "./web-server.ts";

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
  const own = ["shared", example].map((name) => ["", `examples/${name}`] as const);
  for (const [name, source] of [...own, ...Object.entries(PARTS)]) {
    const target = join(folder, name);
    if (name !== "") await rm(target, { recursive: true, force: true });
    await mkdir(join(target, ".."), { recursive: true });
    // what only the checker of types reads stays here
    const filter = (path: string): boolean => !/\.d\.ts$|tsconfig\.json$/.test(path);
    await cp(join(ROOT, source), target, { recursive: true, filter });
  }
  await bundleWeb({ folder: join(folder, "mos") });
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
