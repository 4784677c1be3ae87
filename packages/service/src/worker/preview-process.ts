// The process that makes one preview. It reads a file of any size, so the server does not.

import { setPriority } from "node:os";
import { MosError, previewRun } from "mixture-of-shards";
import { errorText, freeMemory } from "mixture-of-shards/cli";
import type { PreviewReport, PreviewRequest } from "./protocol.ts";

async function preview({ threads, validationData, ...order }: PreviewRequest): Promise<PreviewReport> {
  try {
    const { bytes, resident } = await freeMemory();
    const made = await previewRun({
      ...order,
      ...(validationData === undefined ? {} : { validationData }),
      session: { threads },
      // the base of a worker is in memory already, or on another machine: what is free here refuses nothing
      free: { bytes: Number.POSITIVE_INFINITY, resident: 0, limit: "machine" },
    });
    return { type: "preview", preview: { ...made, free: { bytes, resident, limit: "machine" } } };
  } catch (error) {
    const code = error instanceof MosError ? error.code : "unexpected";
    return { type: "failed", code, message: errorText(error) };
  }
}

setPriority(10); // requests come first
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
process.on("disconnect", () => process.exit(1));
process.once("message", async (order: PreviewRequest) => {
  const report = await preview(order);
  process.send?.(report, () => process.exit(0));
});
