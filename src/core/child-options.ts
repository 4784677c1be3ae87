/** Options of Node for a child process that can read the same files as this one: the module `entry`, and what it imports. */
export function childOptions(entry: string): readonly string[] {
  if (!/\.m?ts$/.test(entry)) return process.execArgv;
  return process.execArgv.some((option) => option.includes("tsx"))
    ? process.execArgv
    : ["--conditions=source", "--import", "tsx"];
}
