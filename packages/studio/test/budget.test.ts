// How much a browser loads before it shows the first view.
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build, type Manifest } from "vite";
import { afterAll, beforeAll, expect, test } from "vitest";

const FIRST_VIEW = "src/views/runs/index.tsx";
const MOST_BYTES = 100_000;

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "studio-"));
  await build({
    configFile: join(import.meta.dirname, "../vite.config.ts"),
    build: { outDir: folder, manifest: "manifest.json" },
  });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const read = (name: string) => readFile(join(folder, name), "utf8");

/** The files of a chunk and of all that it imports at once. */
function filesOf(manifest: Manifest, name: string): readonly string[] {
  const { file, css = [], imports = [] } = manifest[name]!;
  return [file, ...css, ...imports.flatMap((other) => filesOf(manifest, other))];
}

// to build it takes a second, and few changes concern it
const tags = "thorough";

test("the first view is at most 100 kB, zipped", { tags }, async () => {
  const manifest: Manifest = JSON.parse(await read("manifest.json"));
  const files = new Set([...filesOf(manifest, "index.html"), ...filesOf(manifest, FIRST_VIEW), "index.html"]);
  const sizes = await Promise.all([...files].map(async (name) => [name, gzipSync(await read(name)).length]));
  const total = sizes.reduce((sum, [, size]) => sum + Number(size), 0);
  expect(total, JSON.stringify(Object.fromEntries(sizes))).toBeLessThan(MOST_BYTES);
});

test("the page holds to the strict content security policy, and works below any path", { tags }, async () => {
  const index = await read("index.html");
  expect(index).not.toMatch(/<script(?![^>]* src=)|<style|\sstyle=|\son\w+=/);
  const urls = [...index.matchAll(/(?:src|href)="([^"]*)"/g)].map(([, url]) => url);
  expect(urls.length).toBeGreaterThan(2);
  for (const url of urls) expect(url).toMatch(/^\.\//);
  for (const name of await readdir(folder, { recursive: true })) {
    expect(name).not.toMatch(/\.map$/);
    if (!/\.(js|css)$/.test(name)) continue;
    expect(await read(name), name).not.toMatch(/\beval\(|new Function\(|@import|url\((?!["']?(data:|\.))/);
  }
});
