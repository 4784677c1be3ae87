import { createContext, Script } from "node:vm";

/** Function that the script calls: only the context of a script is watched. */
const shared: { work: () => void } = { work: () => undefined };
let watch: ((milliseconds: number) => void) | undefined;

function makeWatch(): (milliseconds: number) => void {
  const [script, context] = [new Script("work()"), createContext(shared)];
  return (timeout) => script.runInContext(context, { timeout });
}

export function runWithTimeout(work: () => void, milliseconds: number): void {
  shared.work = work;
  watch ??= makeWatch();
  try {
    watch(milliseconds);
  } finally {
    shared.work = () => undefined;
  }
}
