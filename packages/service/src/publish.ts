// Published models as folders that servers watch. What the table of models says is right; the folders follow it.
import { randomUUID } from "node:crypto";
import { readdir, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder, pathExists, writeFolderAtomic } from "mixture-of-shards/storage";
import { type Jobs, tenantOfModel } from "#jobs";
import type { Files, ObjectStore } from "#objects";

/** Keeps the folders of models as the table has them. */
export interface Publisher {
  /** Adds what is missing and removes what is gone. */
  sync(): Promise<void>;
  /** Whether there is a folder of this model now. */
  fetch(name: string): Promise<boolean>;
  /** Removes the folder of a model. */
  remove(name: string): Promise<void>;
}

/** The folders of fine-tuned models in `folder`, beside which there may be others. */
export async function openPublisher(
  folder: string,
  { jobs, objects }: { readonly jobs: Jobs; readonly objects: ObjectStore },
): Promise<Publisher> {
  await makeFolder(folder);
  const add = async (name: string, files: Files): Promise<void> => {
    if (await pathExists(join(folder, name))) return;
    await writeFolderAtomic(join(folder, name), (to) => objects.restore(files, to, { link: true }));
  };
  const remove = async (name: string): Promise<void> => {
    // hidden at once, so that nobody sees half of it
    const hidden = join(folder, `.${randomUUID()}.removed`);
    await rename(join(folder, name), hidden).catch(() => undefined);
    await rm(hidden, { recursive: true, force: true });
  };
  return {
    remove,
    sync: async () => {
      const published = await jobs.published();
      for (const [name, files] of published) await add(name, files);
      for (const name of await readdir(folder))
        if (tenantOfModel(name) !== undefined && !published.has(name)) await remove(name);
    },
    fetch: async (name) => {
      if (tenantOfModel(name) === undefined) return false;
      const files = await jobs.filesOfModel(name);
      if (files === undefined) return false;
      await add(name, files);
      return true;
    },
  };
}
