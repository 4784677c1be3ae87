/** Node's options for a child process that runs the module `entry`: from source it needs the loader of this process. */
export function childOptions(entry: string): readonly string[] {
  if (!/\.m?ts$/.test(entry)) return process.execArgv;
  return process.execArgv.some((option) => option.includes("tsx"))
    ? process.execArgv
    : ["--conditions=source", "--import", "tsx"];
}
