// The child's side of child.ts, which has Node load this file before the entry of a child: the parent hears of it, and is
// watched, while the entry is still loading.
import { rmSync } from "node:fs";
import { isMainThread, Worker } from "node:worker_threads";
import { type Channel, type Methods, serveCalls } from "#common";

/** Begins the argument of a child's command line that has its `Watch`. */
export const WATCH = "--child=";

/** Limits and heartbeats of a child. */
export interface Watch {
  /** Seconds between two beats (1). */
  readonly heartbeatSeconds: number;
  /** Seconds that running calls have to end in when the parent is gone (0). */
  readonly orphanSeconds: number;
  /** Ends the process when it takes more resident memory, or more processor time without a message. */
  readonly limits: { readonly bytes: number; readonly seconds: number };
  /** Folder of its temporary files, which is removed when it has ended. */
  readonly temporaryFolder: string;
}

/**
 * A thread of its own, since a step of a large model keeps the main one for minutes. It writes to a pipe whether the process
 * has computed: an idle one takes 0.5 ms of a second, one that loads a base from a slow network more than 5 ms. A pipe that
 * nobody reads means that the parent is gone. Limits count processor time: a machine may be busy.
 */
const THREAD = `
const { workerData } = require("node:worker_threads");
const { rmSync, writeSync } = require("node:fs");
const { heartbeatSeconds = 1, orphanSeconds = 0, limits, temporaryFolder, sent } = workerData;
const used = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};
const kill = () => {
  if (temporaryFolder !== undefined) rmSync(temporaryFolder, { recursive: true, force: true });
  process.kill(process.pid, "SIGKILL");
};
let before = used();
const beats = setInterval(() => {
  const now = used();
  const beat = now - before >= 0.005 * heartbeatSeconds ? "+" : "-";
  before = now;
  try {
    writeSync(4, beat);
  } catch (error) {
    if (error.code === "EAGAIN") return;
    clearInterval(beats);
    setTimeout(kill, orphanSeconds * 1000);
  }
}, heartbeatSeconds * 1000);
if (limits !== undefined) {
  let [count, start] = [0, used()];
  setInterval(() => {
    const now = Atomics.load(sent, 0);
    if (now !== count) [count, start] = [now, used()];
    if (used() - start > limits.seconds || process.memoryUsage.rss() > limits.bytes) kill();
  }, 50);
}`;

/** Number of messages to the parent. */
const sent = new Int32Array(new SharedArrayBuffer(4));

const [, , argument = ""] = process.argv;
const watch: Partial<Watch> | undefined =
  isMainThread && argument.startsWith(WATCH) ? JSON.parse(argument.slice(WATCH.length)) : undefined;
if (watch !== undefined)
  new Worker(THREAD, { eval: true, execArgv: [], workerData: { ...watch, sent } }).unref();

/** The message that ends a child, besides calls. */
export const EXIT = "exit";

const channel: Channel = {
  send(message) {
    // where the parent has just gone, "disconnect" is on its way
    if (process.connected) process.send?.(message, () => undefined);
    Atomics.add(sent, 0, 1);
  },
  receive: (listener) => void process.on("message", listener),
};

/**
 * Serves the methods that the parent calls. Signals to the group of processes are ignored, since the parent decides what they
 * mean. When the parent is gone, this process ends: at once, or where `orphanSeconds` were given, when its calls have.
 */
export function serveParent(methods: Methods): void {
  const calls = serveCalls(
    channel,
    (method, argument, context) => methods[method]?.(argument, context as never),
    () => {
      if (!process.connected && calls.size === 0) process.exit();
    },
  );
  const folder = watch?.temporaryFolder;
  if (folder !== undefined) process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  process.on("SIGINT", () => undefined);
  process.on("SIGTERM", () => undefined);
  process.on("disconnect", () => {
    calls.abort();
    if (calls.size === 0 || !watch?.orphanSeconds) process.exit();
  });
  process.on("message", (message) => {
    if (message === EXIT) process.exit();
  });
}
