import { createContext, Script } from "node:vm";

/** By its code: the error need not be of this context. */
const isTimeout = (error: unknown): boolean =>
  typeof error === "object" &&
  error !== null &&
  "code" in error &&
  error.code === "ERR_SCRIPT_EXECUTION_TIMEOUT";

type Watch = (milliseconds: number) => void;

/** Function that the script calls: only the context of a script is watched. */
const shared: { work: () => void } = { work: () => undefined };
let watch: Watch | undefined;

function makeWatch(): Watch {
  const [script, context] = [new Script("work()"), createContext(shared)];
  return (timeout) => script.runInContext(context, { timeout });
}

/** Milliseconds of CPU that this process has taken. */
function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

export function runWithTimeout(work: () => void, milliseconds: number): boolean {
  shared.work = work;
  watch ??= makeWatch();
  const end = cpuMilliseconds() + milliseconds / 2;
  try {
    // V8's watch keeps the time of the wall, of which a busy machine gives this process a part
    while (!endsInTime(watch, milliseconds)) if (cpuMilliseconds() >= end) return false;
    return true;
  } finally {
    shared.work = () => undefined;
  }
}

function endsInTime(run: Watch, milliseconds: number): boolean {
  try {
    run(milliseconds);
    return true;
  } catch (error) {
    if (!isTimeout(error)) throw error;
    return false;
  }
}
