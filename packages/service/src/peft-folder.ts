// Published models for other servers: as plain LoRAs of PEFT, each in a folder of its name. vLLM's filesystem resolver reads
// such a tree.
import { rm } from "node:fs/promises";
import { MosError } from "mixture-of-shards";
import type { ServerLog } from "mixture-of-shards/server";
import { makeFolder, makeTemporaryFolder, repairFolder, toFileName } from "mixture-of-shards-core/files";
import type { ObjectStore } from "#objects";
import { isFinalModel, type ModelStore } from "#store";
import { startTasks, type TaskChild } from "#worker";
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
  /** The process of conversions, one after the other: on large models they take seconds, for which requests would wait. */
  let tasks: TaskChild | undefined;
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
        signal.throwIfAborted();
        if (tasks?.isAlive !== true)
          tasks = startTasks((how) => new MosError("busy", `the conversion process exited: ${how}`));
        await tasks.call("convert", { adapter, model, out, baseName }, { signal, killAfter: 0 });
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
      await publisher.sync().finally(() => tasks?.[Symbol.asyncDispose]());
    },
  };
}
