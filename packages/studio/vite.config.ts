import { readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";

/** Browsers that know `light-dark()`, `oklch()` and nested rules, so that style sheets stay as they are written. */
const BROWSERS = ["chrome123", "firefox121", "safari17.5"];

/** Where the built page goes: into the package whose server serves it. */
export const PAGE_FOLDER = join(import.meta.dirname, "../server/dist/studio");

const EXAMPLES = join(import.meta.dirname, "../mos/assets/quickstart");

/** The data that a newcomer is offered, beside the page. */
const examples: Plugin = {
  name: "examples",
  generateBundle() {
    for (const name of ["train.jsonl", "validation.jsonl"])
      this.emitFile({
        type: "asset",
        fileName: `example/${name}`,
        source: readFileSync(join(EXAMPLES, name)),
      });
  },
};

export default defineConfig({
  root: import.meta.dirname,
  base: "./",
  publicDir: "public",
  plugins: [examples],
  logLevel: "warn",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: PAGE_FOLDER,
    emptyOutDir: true,
    target: BROWSERS,
    sourcemap: false,
    // a strict content security policy: no script and no picture within the page
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    reportCompressedSize: false,
    // a busy machine is no news
    rolldownOptions: { checks: { pluginTimings: false } },
  },
  // npm run studio:dev, beside a mos serve on its usual port
  server: {
    proxy: Object.fromEntries(
      ["/v1", "/health", "/studio/config.json", "/studio/session", "/studio/example"].map((path) => [
        path,
        "http://127.0.0.1:8000",
      ]),
    ),
  },
});
