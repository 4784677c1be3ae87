// The package that this code belongs to, and the files of the studio's page, read once at the start: no path that a client writes
// is ever opened.
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { extname, join, relative, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

/** The package's folder, from src/ as from dist/. */
const PACKAGE = fileURLToPath(new URL("..", import.meta.url));

/** The version of the package; undefined where this code is in a bundle, which has no files beside it. */
export async function packageVersion(): Promise<string | undefined> {
  const text = await readFile(join(PACKAGE, "package.json"), "utf8").catch(() => "{}");
  const { name, version } = JSON.parse(text) as { readonly name?: string; readonly version?: string };
  return name === "mixture-of-shards-server" ? version : undefined;
}

/** The studio's page, and the version of the package that it belongs to. */
export type Studio = NonNullable<Awaited<ReturnType<typeof readStudio>>>;

const TYPES: Readonly<Record<string, string>> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".jsonl": "text/plain; charset=utf-8",
};
/** Names that Vite gives to files: name-hash.js. */
const HASHED = /^assets\/.+-[\w-]{8}\.\w+$/;

async function readStudioFile(path: string, file: string) {
  const contents = await readFile(file);
  const zipped = gzipSync(contents, { level: 9 });
  return {
    body: new Uint8Array(contents),
    /** Left out where it would not be smaller. */
    zipped: zipped.length < contents.length ? new Uint8Array(zipped) : undefined,
    type: TYPES[extname(file)] ?? "application/octet-stream",
    etag: `"${createHash("sha256").update(contents).digest("base64url").slice(0, 16)}"`,
    /** True where its name changes with its contents, so that browsers need not ask for it again. */
    isLasting: HASHED.test(path),
  };
}

/** The built page with its example data; undefined in a bundle. Without a build there are no files. */
export async function readStudio(page = join(PACKAGE, "dist/studio")) {
  const version = await packageVersion();
  if (version === undefined) return undefined;
  const entries = await readdir(page, { recursive: true, withFileTypes: true }).catch(() => []);
  const places = entries
    .filter((entry) => entry.isFile() && Object.hasOwn(TYPES, extname(entry.name)))
    .map(({ parentPath, name }) => join(parentPath, name))
    .map((file) => [relative(page, file).split(sep).join("/"), file] as const);
  const files = await Promise.all(
    places.map(async ([path, file]) => [path, await readStudioFile(path, file)] as const),
  );
  return { version, /** By their path below /studio/. */ files: new Map(files) };
}
