// The main file of the engine's process, so that steps block only that process. worker-core.ts is the other side, and
// when it is gone this process ends.

import { rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename } from "node:path";
import { Worker } from "node:worker_threads";
import type { EngineCore } from "./engine-core.ts";
import type { CoreOptions } from "./engine-options.ts";
import { openCore } from "./open-core.ts";
import {
  type CoreCalls,
  type FromCore,
  HEARTBEAT_INTERVAL,
  sentError,
  TEMPORARY,
  type ToCore,
} from "./worker-core.ts";

const send = (message: FromCore): void => {
  // where the other side has just gone, "disconnect" is on its way
  if (process.connected) process.send?.(message, () => undefined);
};
const leave = (): void => {
  if (process.connected) process.disconnect();
};

// the other side removes the folder that it made, unless it was killed
process.once("exit", () => {
  if (basename(tmpdir()).startsWith(TEMPORARY)) rmSync(tmpdir(), { recursive: true, force: true });
});

/** A thread of its own: a step of a large model keeps this one for a minute. */
const BEATS = `
const { workerData: { fd, every } } = require("node:worker_threads");
const { writeSync } = require("node:fs");
const beat = () => {
  try {
    writeSync(fd, ".");
  } catch {} // nobody reads it now
};
setInterval(beat, every);`;

const every = Number(process.argv[2]) * 1000;
if (every > 0)
  new Worker(BEATS, { eval: true, execArgv: [], workerData: { fd: HEARTBEAT_INTERVAL, every } }).unref();

let core: EngineCore | undefined;
const opening = new AbortController();

async function open(settings: CoreOptions): Promise<void> {
  try {
    const opened = await openCore(settings, {
      onProgress: (progress) => send({ type: "progress", progress }),
      signal: opening.signal,
    });
    core = opened.core;
    core.start({
      onOutput: (updates) =>
        send({
          type: "output",
          updates: updates.map(({ error, ...update }) =>
            error === undefined ? update : { ...update, error: sentError(error) },
          ),
        }),
      onAdapters: (adapters, refused) => send({ type: "adapters", adapters, refused }),
    });
    const { model, limits, adapters, refused } = opened;
    send({ type: "open", model, limits, adapters, refused });
  } catch (cause) {
    send({ type: "notOpened", error: sentError(cause) });
    leave();
  }
}

const calls: { readonly [N in keyof CoreCalls]: (opened: EngineCore) => Promise<CoreCalls[N]> } = {
  stats: (opened) => opened.stats(),
  refresh: (opened) => opened.refreshAdapters(),
  close: async (opened) => {
    await opened[Symbol.asyncDispose]();
    return null;
  },
};

async function answer(opened: EngineCore, id: number, name: keyof CoreCalls): Promise<void> {
  try {
    send({ type: "result", id, value: await calls[name](opened) });
  } catch (cause) {
    send({ type: "failure", id, error: sentError(cause) });
  }
  if (name === "close") leave();
}

// Ctrl-C reaches the whole group of processes: the other side decides what it means
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
process.on("disconnect", () => process.exit());
process.on("message", (message: ToCore) => {
  if (message.type === "open") void open(message.settings);
  else if (message.type === "stop") opening.abort();
  // the other side sends nothing else before it knows that the core is open
  else if (core === undefined) return;
  else if (message.type === "submit") core.submit(message.id, message.request);
  else if (message.type === "cancel") core.cancel(message.id);
  else void answer(core, message.id, message.name);
});
