import { fileURLToPath } from "node:url";

/** The file of a module beside this one, for a child process: a source where this is a source, else what was built. */
export const moduleBeside = (url: string, name: string): string =>
  fileURLToPath(new URL(`./${name}${url.endsWith(".ts") ? ".ts" : ".js"}`, url));

const SCRIPT = /^(-e|-p|-pe|--eval|--print|--input-type)(=|$)/;

/** This process's options without a script of its command line, which a child would run instead of its module. */
const inherited = (): readonly string[] =>
  process.execArgv.filter((option, i, all) => {
    const isScript = SCRIPT.test(all[i - 1] ?? "") && !option.startsWith("-") && !all[i - 1]?.includes("=");
    return !isScript && !SCRIPT.test(option);
  });

/** Node's options for a child process that runs the module `entry`: from source it needs the loader of this process. */
export function childOptions(entry: string): readonly string[] {
  const options = inherited();
  if (!/\.m?ts$/.test(entry)) return options;
  return options.some((option) => option.includes("tsx"))
    ? options
    : ["--conditions=source", "--import", "tsx"];
}
