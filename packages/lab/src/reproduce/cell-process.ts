// The process of one cell. Its parent sends the cell, receives its progress, and may ask it to stop; when the parent is
// gone it stops, too. Ctrl-C reaches the whole group of processes: the parent decides what it means.

import { setMaxListeners } from "node:events";
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import { errorText, writeFileAtomic } from "mixture-of-shards/cli";
import { RESULT, type TrialEvent, type TrialSpec } from "./cell.ts";
import { runTrial } from "./run-cell.ts";

/** Message from the parent. */
export type TrialRequest = { readonly type: "run"; readonly spec: TrialSpec } | { readonly type: "stop" };

const controller = new AbortController();
// every question listens to it
setMaxListeners(0, controller.signal);

const send = (event: TrialEvent): void => {
  if (process.connected) process.send?.(event);
};

async function work(spec: TrialSpec): Promise<void> {
  try {
    const events = runTrial(spec, {
      signal: controller.signal,
      now: () => performance.now(),
      date: () => Date.now(),
      peakMemory: () => process.resourceUsage().maxRSS * 1024,
    });
    for await (const event of events) send(event);
  } catch (error) {
    await fail(spec, error);
  }
  if (process.connected) process.disconnect();
}

async function fail({ folder, identity }: TrialSpec, error: unknown): Promise<void> {
  const code = error instanceof MosError ? error.code : "unexpected";
  const message = errorText(error);
  if (code === "cancelled") return send({ type: "stopped" });
  // it would diverge again, so this is what came of the cell
  if (code === "diverged") {
    const stored = { format: 1, identity, failure: { code, message } };
    await writeFileAtomic(join(folder, RESULT), `${JSON.stringify(stored, null, 2)}\n`);
  }
  send({ type: "failed", code, message });
}

process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => controller.abort());
process.on("disconnect", () => controller.abort());
process.on("message", (order: TrialRequest) => {
  if (order.type === "stop") controller.abort();
  else void work(order.spec);
});
