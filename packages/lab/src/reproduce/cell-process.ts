// The process of one cell. Its parent sends the cell, receives its progress, and may ask it to stop; when the parent is
// gone it stops, too. Ctrl-C reaches the whole group of processes: the parent decides what it means.

import { setMaxListeners } from "node:events";
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import { reasonOf, writeFileAtomic } from "mixture-of-shards/cli";
import { type CellEvent, type CellSpec, RESULT } from "./cell.ts";
import { runCell } from "./run-cell.ts";

/** What the parent sends. */
export type CellOrder = { readonly type: "run"; readonly spec: CellSpec } | { readonly type: "stop" };

const controller = new AbortController();
// every question listens to it
setMaxListeners(0, controller.signal);

const tell = (event: CellEvent): void => {
  if (process.connected) process.send?.(event);
};

async function work(spec: CellSpec): Promise<void> {
  try {
    const events = runCell(spec, {
      signal: controller.signal,
      now: () => performance.now(),
      date: () => Date.now(),
      peakMemory: () => process.resourceUsage().maxRSS * 1024,
    });
    for await (const event of events) tell(event);
  } catch (error) {
    await fail(spec, error);
  }
  if (process.connected) process.disconnect();
}

async function fail({ folder, identity }: CellSpec, error: unknown): Promise<void> {
  const code = error instanceof MosError ? error.code : "unexpected";
  const message = reasonOf(error);
  if (code === "cancelled") return tell({ type: "stopped" });
  // it would diverge again, so this is what came of the cell
  if (code === "diverged") {
    const stored = { format: 1, identity, failure: { code, message } };
    await writeFileAtomic(join(folder, RESULT), `${JSON.stringify(stored, null, 2)}\n`);
  }
  tell({ type: "failed", code, message });
}

process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => controller.abort());
process.on("disconnect", () => controller.abort());
process.on("message", (order: CellOrder) => {
  if (order.type === "stop") controller.abort();
  else void work(order.spec);
});
