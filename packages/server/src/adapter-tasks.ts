// Reads of an adapter's content that a request waits for, in a process of their own: the picture of its layers, and exports.
import { createReadStream } from "node:fs";
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { ADAPTER_CONFIG, ADAPTER_TENSORS, type AdapterLayers } from "mixture-of-shards-core/adapters";
import { closeWhenIdle, limitConcurrency, MosError } from "mixture-of-shards-core/common";
import { makeTemporaryFolder } from "mixture-of-shards-core/files";
import { moduleBeside, startChild } from "mixture-of-shards-core/process";
import type { AdapterMethods } from "./adapter-process.ts";

/** Formats of an export with the names of their files. Clients choose among these, and give no paths. */
export const EXPORT_FILES = {
  mos: [ADAPTER_CONFIG, ADAPTER_TENSORS],
  peft: [ADAPTER_CONFIG, ADAPTER_TENSORS],
  gguf: ["adapter.gguf"],
} as const;

/** An export, and the folder that it is written to. */
export interface ExportOrder {
  readonly adapter: string;
  readonly model: string;
  readonly format: keyof typeof EXPORT_FILES;
  readonly out: string;
}

/** Tasks that wait. */
const MAX_WAITING = 8;
/** Seconds of a task, and of one whose client has left. */
const LIMITS = { timeout: 300, killAfter: 0 };
/** Seconds after which a process without work ends. */
const IDLE_SECONDS = 20;
/** Descriptions of layers that are kept. */
const MAX_KEPT = 8;

const tooMuch = (how: string): MosError =>
  new MosError("memory", `reading the adapter took too much time or memory (${how}); use mos export`);

/** A read of an adapter's folder on behalf of a request, whose signal ends the work. */
export interface AdapterRead {
  readonly path: string;
  readonly signal: AbortSignal;
}

type AdapterChild = ReturnType<typeof startChild<AdapterMethods>>;

/** Runs one task at a time. Its methods throw MosError `busy` where too many wait, and what loading an adapter throws. */
export function createAdapterTasks(model: string) {
  const limited = limitConcurrency(1);
  const known = new Map<string, AdapterLayers>();
  let count = 0;
  let child: AdapterChild | undefined;
  /** The process stays for a while: who downloads one file of an adapter wants the next one, too. */
  const whileUsed = closeWhenIdle(IDLE_SECONDS, () => child?.kill());
  const start = (): AdapterChild =>
    startChild<AdapterMethods>(moduleBeside(import.meta.url, "adapter-process"), {
      exitError: tooMuch,
      isBackground: true, // requests come first
    });

  async function inChild<T>(signal: AbortSignal, task: (child: AdapterChild) => Promise<T>): Promise<T> {
    if (count > MAX_WAITING)
      throw new MosError("busy", `${count} adapters are being read or exported; retry later`, {
        retryAfter: 5,
      });
    count++;
    try {
      return await limited(() => {
        if (child?.isAlive !== true) child = start();
        const used = child;
        return whileUsed(() => task(used));
      }, signal);
    } finally {
      count--;
    }
  }

  return {
    /** The layers of the adapter with this digest, from memory where it was asked for before. */
    layers: async (digest: string, { path, signal }: AdapterRead): Promise<AdapterLayers> => {
      const found =
        known.get(digest) ??
        (await inChild(signal, (used) =>
          used.call("layers", { adapter: path, model }, { ...LIMITS, signal }),
        ));
      known.delete(digest);
      known.set(digest, found);
      for (const oldest of [...known.keys()].slice(0, Math.max(0, known.size - MAX_KEPT)))
        known.delete(oldest);
      return found;
    },
    /** One file of an export, which is gone from the disk when it was sent. */
    export: async (
      { format, file }: { readonly format: ExportOrder["format"]; readonly file: string },
      { path, signal }: AdapterRead,
    ) => {
      const folder = await makeTemporaryFolder("mos-export-");
      const remove = (): void => void rm(folder, { recursive: true, force: true }).catch(() => undefined);
      const order: ExportOrder = { adapter: path, model, format, out: join(folder, "export") };
      try {
        const digest = await inChild(signal, (used) => used.call("export", order, { ...LIMITS, signal }));
        const written = join(order.out, file);
        const { size } = await stat(written);
        const bytes = createReadStream(written).once("close", remove);
        // the digest is that of the adapter that was exported
        return { digest, bytes: size, body: Readable.toWeb(bytes) as ReadableStream };
      } catch (error) {
        remove();
        throw error;
      }
    },
  };
}
