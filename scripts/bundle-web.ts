// The bundles of packages/core/src/web for browsers: the module of a page, and its worker with the library. `npm run web:build` writes packages/mos/dist/web.
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { build, type Metafile, type Plugin } from "esbuild";

const HUB = join(import.meta.dirname, "../node_modules/@huggingface/hub/dist/browser/index.mjs");
/** What the built package has for pages. */
const FOLDER = join(import.meta.dirname, "../packages/mos/dist/web");
const SOURCES = join(import.meta.dirname, "../packages/core/src/web");

/** zod's messages are in English alone: those of all other languages are half of it. */
const oneLanguage: Plugin = {
  name: "one-language",
  setup(bundler) {
    bundler.onLoad({ filter: /zod\/v4\/locales\/index\.js$/ }, () => ({
      contents: 'export { default as en } from "./en.js";',
    }));
  },
};

/** What its uploads need is no part of a page, though the package does not say that it has no effects of its own. */
const noUploads: Plugin = {
  name: "no-uploads",
  setup(bundler) {
    bundler.onResolve({ filter: /^@huggingface\/xetchunk-wasm$/ }, ({ path }) => ({
      path,
      external: true,
      sideEffects: false,
    }));
  },
};

/** Options of a bundle. */
interface BundleOptions {
  readonly folder?: string;
  /** Entry points by the names of their files. */
  readonly entries?: Readonly<Record<string, string>>;
}

/** Writes the bundles, and says what is in them. */
export async function bundleWeb({ folder = FOLDER, entries }: BundleOptions = {}): Promise<Metafile> {
  const entryPoints = entries ?? { index: join(SOURCES, "index.ts"), worker: join(SOURCES, "worker.ts") };
  const { metafile } = await build({
    entryPoints,
    outdir: folder,
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: ["chrome122", "firefox121", "safari17.4"],
    conditions: ["browser", "source"],
    external: ["onnxruntime-web/*"],
    // their own builds for browsers, which have no condition for it
    alias: { "csv-parse": "csv-parse/browser/esm", "@huggingface/hub": HUB },
    plugins: [oneLanguage, noUploads],
    metafile: true,
    logLevel: "warning",
  });
  return metafile;
}

if (process.argv[1] === import.meta.filename) {
  // what tsc made of the sources; its declarations stay
  for (const name of await readdir(FOLDER)) if (/\.js(\.map)?$/.test(name)) await rm(join(FOLDER, name));
  await bundleWeb();
}
