import { type ChildProcess, fork } from "node:child_process";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** Node's heap, in MiB: Python's memory is not in it. */
const HEAP = 256;

/**
 * Starts the process in which programs run: with no environment, in `folder`, allowed by Node to read Pyodide and its own few
 * files, and neither to write any nor to start processes or threads. Its output is dropped.
 */
export function startJail(folder: string, memory: number): ChildProcess {
  const pyodide = dirname(createRequire(import.meta.url).resolve("pyodide/package.json"));
  // as it stands, whether this is the source or was built: a loader would need more permissions
  const jail = fileURLToPath(new URL("./jail", import.meta.url));
  const permission = process.allowedNodeEnvironmentFlags.has("--permission")
    ? "--permission"
    : "--experimental-permission";
  return fork(join(jail, "main.js"), [pyodide, String(memory)], {
    cwd: folder,
    env: {},
    execArgv: [
      permission,
      ...[pyodide, jail].map((readable) => `--allow-fs-read=${join(readable, "*")}`),
      "--disallow-code-generation-from-strings",
      `--max-old-space-size=${HEAP}`,
    ],
    stdio: ["ignore", "ignore", "ignore", "ipc"],
  });
}
