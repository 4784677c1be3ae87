// Programs of tests as one file each: Node would read the sources that they import for half a second.
import { buildSync } from "esbuild";

/** Writes a module whose text is given as a bundle. It imports as a file of `folder` does. */
export function bundleProgram(contents: string, { folder, to }: { folder: string; to: string }): void {
  buildSync({
    stdin: { contents, resolveDir: folder, loader: "ts" },
    outfile: to,
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node20",
    // a module that is imported for what it does is not left out
    ignoreAnnotations: true,
    conditions: ["source"],
  });
}
