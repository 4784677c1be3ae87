// The engine's process: steps block it, and nothing else. open-engine.ts is its other end; without it this one ends.
import { MosError } from "#core";
import { openLocalEngine } from "./local-engine.ts";
import type { FromEngine, Questions, SentError, SentRequest, ToEngine } from "./messages.ts";
import type { EngineSettings } from "./settings.ts";
import type { Engine } from "./types.ts";

const tell = (message: FromEngine): void => {
  // where the other end has just gone, "disconnect" is on its way
  if (process.connected) process.send?.(message, () => undefined);
};
const leave = (): void => {
  if (process.connected) process.disconnect();
};

const sent = (cause: unknown): SentError =>
  cause instanceof MosError
    ? { code: cause.code, message: cause.message }
    : {
        code: "device",
        message: `the engine failed: ${cause instanceof Error ? cause.stack : String(cause)}`,
      };

let engine: Engine | undefined;
const running = new Map<number, AbortController>();

async function open(settings: EngineSettings): Promise<void> {
  try {
    engine = await openLocalEngine(settings, {
      onProgress: (progress) => tell({ type: "progress", progress }),
      onAdapters: (adapters) => tell({ type: "adapters", adapters }),
      now: () => performance.now(),
    });
    tell({ type: "open", model: engine.model, adapters: engine.adapters() });
  } catch (cause) {
    tell({ type: "refused", error: sent(cause) });
    leave();
  }
}

async function submit(id: number, request: SentRequest): Promise<void> {
  const controller = new AbortController();
  running.set(id, controller);
  try {
    if (engine === undefined) throw new MosError("busy", "the engine is not open yet");
    for await (const event of engine.submit({ ...request, signal: controller.signal }))
      tell({ type: "events", id, events: [event] });
    tell({ type: "ended", id });
  } catch (cause) {
    tell({ type: "ended", id, error: sent(cause) });
  } finally {
    running.delete(id);
  }
}

const answers: { readonly [Q in keyof Questions]: (engine: Engine) => Promise<Questions[Q]> } = {
  stats: (opened) => opened.stats(),
  refresh: (opened) => opened.refreshAdapters(),
  drain: async (opened) => {
    await opened.drain();
    return null;
  },
  close: async (opened) => {
    await opened[Symbol.asyncDispose]();
    return null;
  },
};

async function answer(id: number, question: keyof Questions): Promise<void> {
  try {
    if (engine === undefined) throw new MosError("busy", "the engine is not open yet");
    tell({ type: "answer", id, value: await answers[question](engine) });
  } catch (cause) {
    tell({ type: "noAnswer", id, error: sent(cause) });
  }
  if (question === "close") leave();
}

// Ctrl-C reaches the whole group of processes: the other end decides what it means
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
process.on("disconnect", () => process.exit());
process.on("message", (message: ToEngine) => {
  if (message.type === "open") void open(message.settings);
  else if (message.type === "submit") void submit(message.id, message.request);
  else if (message.type === "cancel") running.get(message.id)?.abort();
  else void answer(message.id, message.question);
});
