// mos eval in a process of its own, which can be killed.
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { text } from "node:stream/consumers";

export function start(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): ChildProcess {
  const main = ["--conditions=source", "--import", "tsx", "src/cli/main.ts"];
  return spawn(process.execPath, [...main, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...environment },
  });
}

/** Waits for the end of a process; `signal` is sent to it after so many answers. */
export async function ended(
  child: ChildProcess,
  stop?: { readonly signal: NodeJS.Signals; readonly after: number },
) {
  const closed = new Promise<readonly [number | null, NodeJS.Signals | null]>((resolve) =>
    child.on("close", (code, signal) => resolve([code, signal])),
  );
  const stderr = text(child.stderr!);
  let answers = 0;
  for await (const line of createInterface(child.stdout!))
    if (line.includes('"type":"progress"') && ++answers === stop?.after) child.kill(stop.signal);
  const [code, signal] = await closed;
  return { code, signal, answers, stderr: await stderr };
}
