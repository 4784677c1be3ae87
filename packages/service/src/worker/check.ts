// Checks of uploaded files, in processes of their own: a line of megabytes takes seconds to parse, and would hold all requests.
import type { ChildProcess } from "node:child_process";
import { moduleBeside } from "mixture-of-shards/cli";
import { startChild } from "./child.ts";
import type { CheckReport } from "./protocol.ts";
import { createTurns, type TurnClient } from "./turns.ts";

/** Limits of checks. */
export interface CheckLimits {
  /** Checks that run at a time, each of another tenant. */
  readonly running: number;
  /** Seconds of one check. */
  readonly seconds: number;
  /** Megabytes of a process's heap. */
  readonly megabytes: number;
  /** Seconds after which a process without work ends. */
  readonly idleSeconds: number;
}

/** Default limits of checks. */
export const defaultCheckLimits: CheckLimits = { running: 2, seconds: 300, megabytes: 768, idleSeconds: 60 };

/** Says what is wrong with a training file, with its line; undefined for a good one. Ends when the client leaves. */
export type CheckFile = (path: string, client: TurnClient) => Promise<string | undefined>;

/** Checks files, in turn for each tenant. */
export function createFileChecker(limits: CheckLimits = defaultCheckLimits): CheckFile {
  const { running } = limits;
  const none = Number.POSITIVE_INFINITY; // uploads are limited before
  const takeTurn = createTurns({ running, runningPerTenant: 1, perTenant: none, waiting: none });
  /** Processes without work, and what ends each after a while. */
  const idle = new Map<ChildProcess, NodeJS.Timeout>();
  const start = (): ChildProcess => {
    const child = startChild(ENTRY, { execArgv: [`--max-old-space-size=${limits.megabytes}`] });
    child.on("error", () => undefined); // its exit says it
    child.on("exit", () => forget(child));
    return child;
  };
  const forget = (child: ChildProcess): void => {
    clearTimeout(idle.get(child));
    idle.delete(child);
  };
  const keep = (child: ChildProcess): void => {
    // neither the process nor its channel keeps the server
    child.unref();
    child.channel?.unref();
    idle.set(child, setTimeout(() => child.kill("SIGKILL"), limits.idleSeconds * 1000).unref());
  };
  const take = (): ChildProcess => {
    const [child = start()] = idle.keys();
    forget(child);
    child.ref();
    child.channel?.ref();
    return child;
  };
  return (path, client) =>
    takeTurn(async () => {
      const child = take();
      const wrong = await ask(child, path, { ...limits, ...client });
      if (child.connected) keep(child);
      return wrong;
    }, client);
}

const ENTRY = moduleBeside(import.meta.url, "check-process");

function ask(
  child: ChildProcess,
  path: string,
  { seconds, megabytes, signal }: CheckLimits & TurnClient,
): Promise<string | undefined> {
  const tooMuch = `validating the file exceeded ${seconds} s or ${megabytes} MB; split it`;
  return new Promise((resolve, reject) => {
    const kill = (): void => void child.kill("SIGKILL");
    const timer = setTimeout(kill, seconds * 1000);
    const onEnd = (): void => {
      over();
      if (signal.aborted) reject(signal.reason);
      else resolve(tooMuch);
    };
    const onReport = (report: CheckReport): void => {
      over();
      if (report.type === "checked") resolve(report.wrong);
      else reject(new Error(report.message));
    };
    const over = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", kill);
      child.off("exit", onEnd).off("message", onReport);
    };
    child.once("exit", onEnd).once("message", onReport);
    signal.addEventListener("abort", kill);
    if (signal.aborted) kill();
    else child.send(path, () => undefined);
  });
}
