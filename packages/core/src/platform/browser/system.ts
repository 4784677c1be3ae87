// The worker as a process: its identity, its turns, and what stands for the numbers of a machine.
import type { Platform, Writer } from "../platform.ts";

/** Web Locks, as far as they are used. @internal */
interface LockManager {
  request<T>(name: string, held: () => Promise<T>): Promise<T>;
  query(): Promise<{ readonly held?: readonly { readonly name?: string }[] }>;
}

/** A worker's or a page's own facts; Node has them too, since tests run there. */
const { navigator } = globalThis as unknown as {
  readonly navigator?: { readonly hardwareConcurrency?: number; readonly locks?: LockManager };
};
const locks = navigator?.locks;

/** Runs something that one worker of the origin does at a time. */
export const exclusively = <T>(work: () => Promise<T>): Promise<T> =>
  locks === undefined ? work() : locks.request("mixture-of-shards files", work);

const lockName = ({ pid, start }: Pick<Writer, "pid" | "start">): string =>
  `mixture-of-shards ${pid} ${start}`;

const randomNumber = (): number => crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;

/** All workers of an origin share its files: their place is the same eight digits, which names of partial files end with. */
export const thisWriter: Writer = {
  pid: 1 + (randomNumber() >>> 1),
  start: randomNumber().toString(36),
  place: "00000000",
};

// held as long as the worker lives, which tells other tabs
void locks?.request(lockName(thisWriter), () => new Promise(() => undefined)).catch(() => undefined);

export async function hasWriterEnded({ pid, start, place }: Writer): Promise<boolean | undefined> {
  if (place !== thisWriter.place) return undefined;
  if (pid === thisWriter.pid && start === thisWriter.start) return false;
  const held = (await locks?.query())?.held ?? [];
  return !held.some(({ name }) => name === lockName({ pid, start }));
}

/** What 32-bit WebAssembly can address. */
const MAX_MEMORY = 2 ** 32;

export const freemem = (): number => MAX_MEMORY;

export const process: Platform["process"] = {
  pid: thisWriter.pid,
  platform: "browser",
  constrainedMemory: () => 0,
  memoryUsage: { rss: () => 0 },
};

export const hostname = (): string => "browser";

export const availableParallelism = (): number => navigator?.hardwareConcurrency ?? 1;

/** The ends of a channel; TypeScript knows those of Node. */
const { port1, port2 } = new MessageChannel() as unknown as {
  readonly port1: { onmessage: () => void };
  readonly port2: { postMessage(message: undefined): void };
};
const turns: (() => void)[] = [];
port1.onmessage = () => turns.shift()?.();

/** A message, since timers of a worker wait for milliseconds. */
export const nextTurn = (): Promise<void> =>
  new Promise((resolve) => {
    turns.push(resolve);
    port2.postMessage(undefined);
  });

export const sleep: Platform["sleep"] = (milliseconds, { signal } = {}) =>
  new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(new DOMException("The operation was aborted", { name: "AbortError", cause: signal?.reason }));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, milliseconds);
    if (signal?.aborted === true) abort();
    else signal?.addEventListener("abort", abort, { once: true });
  });

export const unref: Platform["unref"] = (timer) => timer;

export const runWithTimeout: Platform["runWithTimeout"] = (work) => {
  work();
  return true;
};

export const setMaxListeners: Platform["setMaxListeners"] = () => undefined;

export const randomUUID: Platform["randomUUID"] = () => crypto.randomUUID();

export const deserialize: Platform["deserialize"] = () => {
  throw new Error("a browser has no deserialize of node:v8");
};
