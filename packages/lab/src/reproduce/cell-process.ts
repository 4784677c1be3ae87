// The process of one cell. When its parent is gone, or SIGTERM asks for it, it saves and stops.
import { setMaxListeners } from "node:events";
import { MosError } from "mixture-of-shards";
import type { CallContext } from "mixture-of-shards-core/common";
import { serveParent } from "mixture-of-shards-core/process";
import { type TrialEvent, type TrialSpec, writeFailure } from "./cell.ts";
import { runTrial } from "./run-cell.ts";

const terminated = new AbortController();
process.on("SIGTERM", () => terminated.abort());

const methods = {
  run: async (spec: TrialSpec, context: CallContext<TrialEvent>): Promise<void> => {
    const signal = AbortSignal.any([context.signal, terminated.signal]);
    // every question listens to it
    setMaxListeners(0, signal);
    try {
      const events = runTrial(spec, {
        signal,
        now: () => performance.now(),
        date: () => Date.now(),
        peakMemory: () => process.resourceUsage().maxRSS * 1024,
      });
      for await (const event of events) context.emit(event);
    } catch (error) {
      // it would diverge again, so this is what came of the cell
      if (error instanceof MosError && error.code === "diverged") await writeFailure(spec, error);
      throw error;
    }
  },
};

export type CellMethods = typeof methods;
serveParent(methods);
