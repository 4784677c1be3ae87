// Published models as folders that servers watch. What the table of models says is right; the folders follow it.
import { randomUUID } from "node:crypto";
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import {
  assertWritable,
  fromFileName,
  makeFolder,
  pathExists,
  toFileName,
} from "mixture-of-shards-core/files";
import type { Files } from "#objects";
import { type ModelStore, modelTenant } from "#store";

/** Keeps the folders of models as the table has them. */
export interface Publisher {
  /** Adds what is missing and removes what is gone. */
  sync(): Promise<void>;
  /** Publishes this model if needed; false if there is none. */
  fetch(name: string): Promise<boolean>;
  /** A request needs the folder of a model. */
  use(name: string): void;
  /** Removes the folder of a model. */
  remove(name: string): Promise<void>;
  /** Looks whether models can be added. @throws MosError `storage`. */
  check(): Promise<void>;
}

/** Options of a publisher. */
export interface PublisherOptions {
  readonly models: Pick<ModelStore, "published" | "files">;
  /** Filter of published models for the folder (all). */
  readonly isWanted?: (name: string) => boolean;
  /**
   * Leaves models where they are until they are fetched. Where they do not fit, those that were not used for a while are removed,
   * the least recently used one first.
   */
  readonly onDemand?: { readonly fits: () => Promise<boolean> } | undefined;
  /** The name of a model's folder (`toFileName`). */
  readonly folderName?: (name: string) => string;
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
  { models, isWanted = () => true, folderName = toFileName, onDemand, write, onError }: PublisherOptions,
): Promise<Publisher> {
  await makeFolder(folder);
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
  };
  return {
    check,
    use,
    remove: (name) => removeFolder(folderName(name)),
    sync: async () => {
      // what is there first: a model that is published meanwhile is not in the way
      const folders = await readdir(folder);
      const published = await models.published();
      if (onDemand === undefined) await addAll(published);
      // others are no longer published, or were named by another version
      const current = new Set([...published.keys()].map(folderName));
      for (const name of folders)
        if (name.endsWith(".removed")) await rm(join(folder, name), { recursive: true, force: true });
        else if (modelTenant(fromFileName(name)) !== undefined && !current.has(name))
          await removeFolder(name);
      await makeRoom(folders.filter((name) => current.has(name)));
    },
    fetch: async (name) => {
      if (modelTenant(name) === undefined || name.includes("\0")) return false;
      const files = await models.files(name);
      if (files === undefined) return false;
      use(name);
      await add(name, files);
      return true;
    },
  };
}
