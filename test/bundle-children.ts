// Before all fast tests: what the package runs in processes and threads of its own is bundled, since reading TypeScript again
// in each of hundreds takes a second of each.
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { build, type Plugin } from "esbuild";
import { glob } from "tinyglobby";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  export interface ProvidedContext {
    /** Addresses of the bundles, by that of their source. */
    readonly childBundles: Readonly<Record<string, string>>;
  }
}

const ROOT = join(import.meta.dirname, "..");
/** Entries of processes and threads, and the side of them that Node loads first. */
const ENTRIES = "{src,packages/*/src}/**/{serve-parent,*-process,engine-worker,compile-worker}.ts";

/** What is native, or finds files beside its own. */
const EXTERNAL = /^(node:|onnxruntime|pyodide|@electric-sql\/)/;

/** Sources find their files as they do in their folder, and other entries among the bundles. */
const addresses: Plugin = {
  name: "addresses",
  setup(bundler) {
    bundler.onResolve({ filter: EXTERNAL }, ({ path }) => ({ path, external: true }));
    bundler.onLoad({ filter: /\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, "utf8");
      const address = JSON.stringify(pathToFileURL(path).href);
      const contents = path.endsWith("/compile-thread.ts")
        ? source
        : source.replace(/(?<!moduleBeside\()import\.meta\.url/g, address);
      return { loader: "ts", contents };
    });
  },
};

/** Called by vitest; what it returns removes the bundles. */
export async function setup(project: TestProject): Promise<() => Promise<void>> {
  await mkdir(join(ROOT, ".mos"), { recursive: true });
  // inside the package, whose dependencies they import
  const folder = await mkdtemp(join(ROOT, ".mos/children-"));
  const entryPoints = await glob(ENTRIES, { cwd: ROOT, absolute: true });
  await build({
    entryPoints,
    outdir: folder,
    entryNames: "[name]",
    bundle: true,
    splitting: true,
    format: "esm",
    platform: "node",
    target: "node20",
    conditions: ["source"],
    plugins: [addresses],
    logLevel: "warning",
  });
  const bundleOf = (path: string): string => join(folder, basename(path).replace(/ts$/, "js"));
  project.provide(
    "childBundles",
    Object.fromEntries(
      entryPoints.map((path) => [pathToFileURL(path).href, pathToFileURL(bundleOf(path)).href]),
    ),
  );
  return () => rm(folder, { recursive: true });
}
