// The package that this code belongs to.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The package's folder, from src/ as from dist/. */
export const PACKAGE = fileURLToPath(new URL("..", import.meta.url));

/** The version of the package; undefined where this code is in a bundle, which has no files beside it. */
export async function packageVersion(): Promise<string | undefined> {
  const text = await readFile(join(PACKAGE, "package.json"), "utf8").catch(() => "{}");
  const { name, version } = JSON.parse(text) as { readonly name?: string; readonly version?: string };
  return name === "mixture-of-shards-server" ? version : undefined;
}
