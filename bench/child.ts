// A measured command as a process of its own, so that its peak memory is its own too.
import { spawn } from "node:child_process";
import { fail } from "./arguments.ts";

export type Result = Readonly<Record<string, unknown>>;

/** Runs a command line, and gives the JSON line that it ends with; `name` is what messages call it. */
export function runForJson(
  name: string,
  command: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<Result> {
  return new Promise((resolve) => {
    const child = spawn(command, {
      shell: true,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...environment },
    });
    let output = "";
    let errors = "";
    child.stdout.on("data", (part) => {
      output += part;
    });
    child.stderr.on("data", (part) => {
      errors += part;
    });
    child.on("close", (code) => {
      const line = output.trim().split("\n").at(-1) ?? "";
      if (code !== 0 || !line.startsWith("{"))
        fail(`${name}: exit code ${code}, no JSON line at the end\n${errors.slice(-2000)}`);
      resolve(JSON.parse(line));
    });
  });
}
