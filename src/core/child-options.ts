import { fileURLToPath } from "node:url";

/** The file of a module beside this one, for a child process: a source where this is a source, else what was built. */
export const moduleBeside = (url: string, name: string): string =>
  fileURLToPath(new URL(`./${name}${url.endsWith(".ts") ? ".ts" : ".js"}`, url));

/** Node's options for a child process that runs the module `entry`: from source it needs the loader of this process. */
export function childOptions(entry: string): readonly string[] {
  if (!/\.m?ts$/.test(entry)) return process.execArgv;
  return process.execArgv.some((option) => option.includes("tsx"))
    ? process.execArgv
    : ["--conditions=source", "--import", "tsx"];
}
