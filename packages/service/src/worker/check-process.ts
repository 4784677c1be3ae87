// The process that checks uploaded files, one after the other. What they hold may take seconds and hundreds of megabytes.
import { createReadStream } from "node:fs";
import { setPriority } from "node:os";
import { checkDataset, MosError } from "mixture-of-shards";
import { errorText } from "mixture-of-shards/cli";
import type { CheckReport } from "./protocol.ts";

async function check(path: string): Promise<CheckReport> {
  try {
    await firstBytes(path);
    await checkDataset(path);
    return { type: "checked", wrong: undefined };
  } catch (error) {
    if (!(error instanceof MosError) || error.code !== "bad_data")
      return { type: "failed", message: errorText(error) };
    const wrong = error.message.replaceAll(`${path}:`, "line ").replaceAll(path, "the file");
    return { type: "checked", wrong };
  }
}

/** @throws MosError `bad_data` for compressed files, which look like broken JSON. */
async function firstBytes(path: string): Promise<void> {
  for await (const chunk of createReadStream(path, { end: 1 }))
    if (Buffer.compare(chunk as Buffer, Buffer.of(0x1f, 0x8b)) === 0)
      throw new MosError("bad_data", `${path} is compressed with gzip; send it uncompressed`);
}

setPriority(10); // requests come first
process.on("SIGINT", () => undefined);
process.on("SIGTERM", () => undefined);
process.on("disconnect", () => process.exit(1));
process.on("message", async (path: string) => process.send?.(await check(path)));
