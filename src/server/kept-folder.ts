// Folders that go or are replaced, and can come back while it is not sure that all went well.
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { copyFile, link, lstat, mkdir, readdir, readlink, rename, rm, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { pathExists, replacedName, storageError } from "#formats";

/** A hidden name beside a path; what a killed process leaves under it goes when the path is written again. */
const hidden = (path: string): string =>
  join(dirname(path), `.${basename(path)}.${process.pid}-${randomBytes(4).toString("hex")}.partial`);

/** What stood at a path. Disposal forgets it. */
export interface KeptFolder extends AsyncDisposable {
  /** Puts it back, and nothing where nothing was. */
  restore(): Promise<void>;
}

async function guarded<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw storageError(error, path);
  }
}

/** Takes a folder away under a hidden name, so that nobody ever sees half of it. */
export async function takeFolder(path: string): Promise<KeptFolder> {
  const bin = hidden(path);
  await guarded(path, () => rename(path, bin));
  return {
    restore: () => guarded(path, () => rename(bin, path)),
    [Symbol.asyncDispose]: () => guarded(path, () => rm(bin, { recursive: true, force: true })),
  };
}

/** Links cost nothing; where a disk has none, files are copied. */
async function linkTree(from: string, to: string): Promise<void> {
  await mkdir(to);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) await linkTree(source, target);
    else if (entry.isSymbolicLink()) await symlink(await readlink(source), target);
    else if (entry.isFile())
      await link(source, target).catch(() => copyFile(source, target, constants.COPYFILE_FICLONE));
  }
}

async function copyOf(path: string, copy: string): Promise<void> {
  // a folder that is a link comes back as that link
  if ((await lstat(path)).isSymbolicLink()) await symlink(await readlink(path), copy);
  else await linkTree(path, copy);
}

/** Puts a copy in the place of what is there now, which other readers take for being replaced meanwhile. */
async function putBack(copy: string, path: string): Promise<void> {
  const replaced = replacedName(path);
  await rm(replaced, { recursive: true, force: true });
  if (await pathExists(path)) await rename(path, replaced);
  await rename(copy, path);
  await rm(replaced, { recursive: true, force: true });
}

async function remove(path: string): Promise<void> {
  if (!(await pathExists(path))) return;
  await using _taken = await takeFolder(path);
}

/** Keeps what stands at a path, which stays there until something else takes its place. */
export async function keepFolder(path: string): Promise<KeptFolder> {
  const copy = hidden(path);
  const discard = (): Promise<void> => rm(copy, { recursive: true, force: true });
  const isThere = await pathExists(path);
  return guarded(path, async () => {
    if (isThere) await copyOf(path, copy).catch((error) => discard().then(() => Promise.reject(error)));
    return {
      restore: () => (isThere ? guarded(path, () => putBack(copy, path)) : remove(path)),
      [Symbol.asyncDispose]: discard,
    };
  });
}
