// Published models for other servers: as plain LoRAs of PEFT, each in a folder of its name. vLLM's filesystem resolver reads
// such a tree.
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { MosError } from "mixture-of-shards";
import {
  makeFolder,
  makeTemporaryFolder,
  moduleBeside,
  repairFolder,
  toFileName,
} from "mixture-of-shards/cli";
import type { ServerLog } from "mixture-of-shards/server";
import type { ObjectStore } from "#objects";
import { isFinalModel, type ModelStore } from "#store";
import { startChild } from "#worker";
import type { Conversion, Converted } from "./peft-process.ts";
import { openPublisher, type Publisher } from "./publish.ts";

/** Options of the PEFT folder. */
export interface PeftFolderOptions {
  readonly folder: string;
  /** Name of the base in other servers. */
  readonly baseName: string;
  /** The folder or file of the base, and its name in this service. */
  readonly model: string;
  readonly modelName: string;
  readonly models: Pick<ModelStore, "published" | "files">;
  readonly objects: Pick<ObjectStore, "restore">;
  /** Ends a conversion in the middle. */
  readonly signal: AbortSignal;
  readonly log: Pick<ServerLog, "warn">;
}

const ENTRY = moduleBeside(import.meta.url, "peft-process");

/** A model that cannot be converted is tried again at every 2nd, 4th, … sync, up to this power of two. */
const MAX_INTERVAL = 10;

/**
 * Opens the folder and puts in order what a killed server left. Of the base's models the finished ones are written, not their
 * checkpoints.
 *
 * @throws MosError `storage`.
 * @example
 * const others = await openPeftFolder({ folder: "/mnt/peft", baseName: "org/name", ...rest });
 * await others.sync();
 */
export async function openPeftFolder(
  options: PeftFolderOptions,
): Promise<Pick<Publisher, "sync" | "remove">> {
  const { folder, baseName, model, modelName, models, objects, signal, log } = options;
  await makeFolder(folder);
  await repairFolder(folder);
  const converter = createConverter(signal);
  const failures = new Map<string, number>();
  let syncs = 0;
  const isDue = (name: string): boolean =>
    !signal.aborted && syncs % 2 ** Math.min(failures.get(name) ?? 0, MAX_INTERVAL) === 0;
  const publisher = await openPublisher(folder, {
    models,
    isWanted: (name) => isFinalModel(name, modelName) && isDue(name),
    // vLLM's resolver looks for a folder that has the name of the model
    folderName: process.platform === "win32" ? toFileName : (name) => name,
    write: async (files, out) => {
      const adapter = await makeTemporaryFolder("mos-peft-");
      try {
        await objects.restore(files, adapter);
        await converter.convert({ adapter, model, out, baseName });
      } finally {
        await rm(adapter, { recursive: true, force: true });
      }
    },
    onError: (name, error) => {
      if (signal.aborted) return;
      failures.set(name, (failures.get(name) ?? 0) + 1);
      log.warn({ model: name, reason: String(error) }, "exporting a model failed; retrying later");
    },
  });
  return {
    remove: publisher.remove,
    sync: async () => {
      syncs++;
      await publisher.sync().finally(converter.end);
    },
  };
}

interface Converter {
  /** @throws MosError what the conversion throws; also where its process dies, whose next one is a new one. */
  convert(conversion: Conversion): Promise<void>;
  /** Ends the process, until the next conversion. */
  end(): void;
}

/** Conversions one after the other in a process of their own: on large models they take seconds, for which requests would wait. */
function createConverter(signal: AbortSignal): Converter {
  let running: { readonly child: ChildProcess; readonly ended: Promise<Converted> } | undefined;
  const start = (): NonNullable<typeof running> => {
    const child = startChild(ENTRY, { signal });
    const ended = new Promise<Converted>((resolve) => {
      const end = (why: unknown): void =>
        resolve({ error: { code: "busy", message: `the conversion process exited: ${why}` } });
      child.on("error", ({ message }) => end(message)).on("exit", (code, killed) => end(code ?? killed));
    });
    return { child, ended };
  };
  return {
    convert: async (conversion) => {
      signal.throwIfAborted();
      if (running?.child.connected !== true) running = start();
      const { child, ended } = running;
      const answered = once(child, "message").then(([answer]): Converted => answer);
      child.send(conversion, () => undefined);
      const { error } = await Promise.race([answered, ended]);
      if (error !== undefined) throw new MosError(error.code, error.message);
    },
    end: () => {
      if (running?.child.connected === true) running.child.disconnect();
      running = undefined;
    },
  };
}
