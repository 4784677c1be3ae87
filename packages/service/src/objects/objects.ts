// The store of a service's contents: one interface for a folder that all machines share and for an S3-compatible bucket.
import { createReadStream } from "node:fs";
import { copyFile, link, readdir } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { makeFolder, storageError } from "mixture-of-shards-core/files";
import { openFolder } from "./folder.ts";
import { type BucketOptions, type Contents, type Files, NO_OWNER, type Putter } from "./stored-object.ts";

/** Store of objects: contents, and folders of them. */
export interface ObjectStore extends Contents {
  /** Keeps all files of a folder, but those whose path `skip` names. */
  putFolder(folder: string, skip?: (path: string) => boolean, putter?: Putter): Promise<Files>;
  /** Writes copies, which may be changed, into a folder; with `link`, files that share their content and may not. */
  restore(files: Files, folder: string, options?: { readonly link?: boolean }): Promise<void>;
}

/** Tests whether a storage is a bucket: `s3://bucket/prefix`. */
export const isBucket = (storage: string): boolean => /^s3:/i.test(storage);

/**
 * The store in a folder, which is made where it is not there.
 *
 * @throws MosError "storage".
 * @example
 * const objects = await openObjects("state/storage");
 * const { digest } = await objects.put(Readable.from(["{}"]));
 */
export async function openObjects(folder: string): Promise<ObjectStore> {
  return withFolders(await openFolder(folder));
}

/**
 * The store in an S3-compatible bucket that is there.
 *
 * @throws MosError "bad_option", "storage".
 */
export async function openBucketObjects(url: string, options: BucketOptions): Promise<ObjectStore> {
  const { openBucketContents } = await import("./bucket-contents.ts");
  return withFolders(await openBucketContents(url, options));
}

function withFolders(contents: Contents): ObjectStore {
  return {
    ...contents,
    putFolder: async (from, skip = () => false, putter = NO_OWNER) => {
      const files: Record<string, string> = {};
      for (const path of await filesIn(from)) {
        const name = relative(from, path).split(sep).join("/");
        if (!skip(name)) files[name] = (await contents.put(createReadStream(path), putter)).digest;
      }
      return files;
    },
    restore: async (files, to, { link: isLinked = false } = {}) => {
      for (const [name, digest] of Object.entries(files)) {
        const target = join(to, ...name.split("/"));
        await makeFolder(dirname(target));
        using place = await contents.locate(digest);
        await (isLinked ? linkOrCopy(place.path, target) : copyFile(place.path, target)).catch(
          (error: unknown) => {
            throw storageError(error, target);
          },
        );
      }
    },
  };
}

async function filesIn(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

/** Other file systems have no links between them. */
async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST" || code === "ENOSPC") throw error;
    await copyFile(from, to);
  }
}
