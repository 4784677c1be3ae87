// Published models as folders that servers watch: as they are, and for other servers as plain LoRAs of PEFT. What the table of models
// says is right; the folders follow it.
import { randomUUID } from "node:crypto";
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import type { ServerLog } from "mixture-of-shards/server";
import { abortAfter } from "mixture-of-shards-core/common";
import { describeExport, type ManifestEntry, plainName, writeManifest } from "mixture-of-shards-core/convert";
import {
  assertWritable,
  fromFileName,
  makeFolder,
  makeTemporaryFolder,
  pathExists,
  repairFolder,
  toFileName,
} from "mixture-of-shards-core/files";
import type { Files, ObjectStore } from "#objects";
import { isFinalModel, type ModelStore, modelTenant } from "#store";
import { startTasks, type TaskChild } from "#worker";

/** Keeps the folders of models as the table has them. */
export type Publisher = Awaited<ReturnType<typeof openPublisher>>;

interface PublisherOptions {
  readonly models: Pick<ModelStore, "published" | "files">;
  /** Filter of published models for the folder (all). */
  readonly isWanted?: (name: string) => boolean;
  /**
   * Leaves models where they are until they are fetched. Where they do not fit, those that were not used for a while are removed,
   * the least recently used one first.
   */
  readonly onDemand?: { readonly fits: () => Promise<boolean> } | undefined;
  /** The name of a model's folder (`toFileName`), and whether a folder has been one's. */
  readonly folderName?: (name: string) => string;
  readonly isOwn?: (folder: string) => boolean;
  /** Told of folders that were removed. */
  readonly onRemoved?: (folder: string) => void;
  /** Writes a model's folder, which is complete or absent. */
  readonly write: (files: Files, path: string) => Promise<void>;
  /** A model whose folder cannot be made is tried again; others do not wait for it. */
  readonly onError: (name: string, error: unknown) => void;
}

/** Seconds in which a request has read its model's folder. */
const IN_USE_SECONDS = 600;

/** The folders of fine-tuned models in `folder`, beside which there may be others. */
export async function openPublisher(
  folder: string,
  {
    models,
    isWanted = () => true,
    folderName = toFileName,
    onDemand,
    write,
    onError,
    ...more
  }: PublisherOptions,
) {
  const { isOwn = (name) => modelTenant(fromFileName(name)) !== undefined, onRemoved } = more;
  await makeFolder(folder);
  /** Looks whether models can be added. @throws MosError `storage`. */
  const check = async (): Promise<void> => {
    await assertWritable(folder).catch((cause: unknown) => {
      if (!(cause instanceof MosError) || cause.code !== "not_found") throw cause;
      throw new MosError("storage", `${folder}: the folder of models is missing; remount or restore it`, {
        cause,
      });
    });
  };
  const add = async (name: string, files: Files): Promise<void> => {
    const path = join(folder, folderName(name));
    if (await pathExists(path)) return;
    await check();
    await write(files, path);
  };
  const addAll = async (published: ReadonlyMap<string, Files>): Promise<void> => {
    for (const [name, files] of published)
      if (isWanted(name)) await add(name, files).catch((error: unknown) => onError(name, error));
  };
  const usedAt = new Map<string, number>();
  /** A request needs the folder of a model. */
  const use = (name: string): void => void usedAt.set(folderName(name), performance.now());
  const makeRoom = async (folders: readonly string[]): Promise<void> => {
    const idle = (name: string): number => performance.now() - (usedAt.get(name) ?? Number.NEGATIVE_INFINITY);
    for (const name of [...folders].sort((a, b) => idle(b) - idle(a)))
      if (idle(name) < IN_USE_SECONDS * 1000 || (await onDemand?.fits()) !== false) return;
      else await removeFolder(name);
  };
  const removeFolder = async (name: string): Promise<void> => {
    // hidden at once, so that nobody sees half of it
    usedAt.delete(name);
    const hidden = join(folder, `.${randomUUID()}.removed`);
    await rename(join(folder, name), hidden).catch(() => undefined);
    await rm(hidden, { recursive: true, force: true });
    onRemoved?.(name);
  };
  return {
    check,
    use,
    /** Removes the folder of a model. */
    remove: (name: string): Promise<void> => removeFolder(folderName(name)),
    /** Adds what is missing and removes what is gone. */
    sync: async (): Promise<void> => {
      // what is there first: a model that is published meanwhile is not in the way
      const folders = await readdir(folder);
      const published = await models.published();
      if (onDemand === undefined) await addAll(published);
      // others are no longer published, or were named by another version
      const current = new Set([...published.keys()].map(folderName));
      for (const name of folders)
        if (name.endsWith(".removed")) await rm(join(folder, name), { recursive: true, force: true });
        else if (isOwn(name) && !current.has(name)) await removeFolder(name);
      await makeRoom(folders.filter((name) => current.has(name)));
    },
    /** Publishes this model if needed; false if there is none. */
    fetch: async (name: string): Promise<boolean> => {
      if (modelTenant(name) === undefined || name.includes("\0")) return false;
      const files = await models.files(name);
      if (files === undefined) return false;
      use(name);
      await add(name, files);
      return true;
    },
  };
}

/** Options of the PEFT folder. */
interface PeftFolderOptions {
  readonly folder: string;
  /** Name of the base in other servers. */
  readonly baseName: string;
  /** Base URLs of vLLM servers that may have loaded a model which is deleted. */
  readonly servers: readonly string[];
  readonly fetch?: typeof fetch;
  /** The folder or file of the base, and its name in this service. */
  readonly model: string;
  readonly modelName: string;
  readonly models: Pick<ModelStore, "published" | "files">;
  readonly objects: Pick<ObjectStore, "restore">;
  /** Ends a conversion in the middle, and requests to servers. */
  readonly signal: AbortSignal;
  readonly log: Pick<ServerLog, "warn">;
}

/** Tests for the plain name of a fine-tuned model. */
function isPlain(name: string): boolean {
  const parts = name.split("--");
  return parts.length >= 4 && parts[0] === "ft" && /^[^-]+$/.test(parts.at(-1) ?? "");
}

/** A model that cannot be converted is tried again at every 2nd, 4th, … sync, up to this power of two. */
const MAX_INTERVAL = 10;

/** The list of the folder's adapters, for other engines. */
const MANIFEST = "manifest.json";

/** Has servers unload deleted adapters, again until each has answered. */
function openUnloading({
  servers,
  signal,
  log,
  fetch: send = fetch,
}: Pick<PeftFolderOptions, "servers" | "signal" | "log" | "fetch">) {
  const left = new Map(servers.map((url) => [url, new Set<string>()]));
  const flushServer = async (url: string, names: Set<string>): Promise<void> => {
    for (const name of names) {
      using limit = abortAfter(10_000, signal);
      try {
        const { status } = await send(`${url.replace(/(?<!\/)\/+$/, "")}/v1/unload_lora_adapter`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ lora_name: name }),
          signal: limit.signal,
        });
        if (status < 500) names.delete(name); // a server that has not loaded it refuses
      } catch (error) {
        // it is not there for the others either
        if (!signal.aborted)
          log.warn({ model: name, url, reason: String(error) }, "unloading a model failed; retrying");
        return;
      }
    }
  };
  return {
    add: (name: string): void => {
      for (const names of left.values()) names.add(name);
    },
    flush: async (): Promise<void> => {
      await Promise.all([...left].map(([url, names]) => flushServer(url, names)));
    },
  };
}

/**
 * Opens a folder with published models as plain LoRAs of PEFT, each in a folder of its name without colons, as vLLM's filesystem
 * resolver reads them, and a manifest of them. Puts in order what a killed server left. Of the base's models the finished ones are
 * written, not their checkpoints.
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
  const unloading = openUnloading(options);
  /** What the manifest says of each folder; one that an earlier process left may be old. */
  let described: ReadonlyMap<string, ManifestEntry> | undefined;
  const describe = async (): Promise<void> => {
    const names = (await readdir(folder)).filter(isPlain);
    if (names.length === described?.size && names.every((name) => described?.has(name))) return;
    const entries = names.map(
      async (name) => [name, described?.get(name) ?? (await describeExport(join(folder, name)))] as const,
    );
    const next = new Map(await Promise.all(entries));
    await writeManifest(join(folder, MANIFEST), [...next.values()]);
    described = next;
  };
  const publisher = await openPublisher(folder, {
    models,
    isWanted: (name) => isFinalModel(name, modelName) && isDue(name),
    // vLLM's resolver looks for a folder that has the name of the model; the end of a name is its own
    folderName: plainName,
    isOwn: isPlain,
    onRemoved: unloading.add,
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
      await describe();
      await unloading.flush();
    },
  };
}
