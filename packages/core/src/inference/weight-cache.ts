import { describeBytes } from "#common";
import {
  assertOwned,
  assertSpace,
  openAtomicFile,
  pathExists,
  removeLeftovers,
  SHARED,
  storageError,
} from "#files";
import { type BaseDtype, type ComputeDtype, folderBeside, type ModelFiles, sourceDigest } from "#models";
import { basename, chmod, join, mkdir, resolve, stat } from "#platform";
import { createPackedFile, openPackedFile, PACKED_FORMAT, removeEmpty, sha256 } from "./packed-file.ts";

interface WeightCacheOptions {
  readonly baseDtype: BaseDtype;
  readonly computeDtype: ComputeDtype;
  /** A folder for those of models whose own folder cannot be written. */
  readonly fallback: string | undefined;
  /** Bytes that the file will have at most. */
  readonly bytes: number;
  /** Tensors that it will have at most. */
  readonly tensors: number;
  /** Told what happens to the cache, in a line. */
  readonly onNote: (text: string) => void;
}

/** The packed weights of a model in one format. */
export type WeightCache = Awaited<ReturnType<typeof weightCache>>;

/** Where packed weights of a model may be, the best place first. */
function cacheFolders(files: ModelFiles, fallback: string | undefined): readonly string[] {
  const own = sha256(resolve(files.path)).slice(0, 16);
  return [
    folderBeside(files),
    ...(fallback === undefined ? [] : [join(fallback, `${basename(files.path)}-${own}`)]),
  ];
}

/** Removes what killed processes were writing for a model, which may be as large as the model. */
export async function removeUnfinished(files: ModelFiles, fallback: string | undefined): Promise<void> {
  for (const folder of cacheFolders(files, fallback)) {
    await removeLeftovers(folder);
    await removeEmpty(folder);
  }
}

/** Finds out where the packed weights of an open model are, or will be. */
export async function weightCache(
  files: ModelFiles,
  { baseDtype, computeDtype, fallback, bytes, tensors, onNote }: WeightCacheOptions,
) {
  const source = await sourceDigest(files);
  const key = `${PACKED_FORMAT} ${baseDtype} ${computeDtype} ${source}`;
  // part of the name: the runtime opens the file later, and must not meet one that another model has put there meanwhile
  const prefix = `${baseDtype}-${computeDtype}-`;
  const name = `${prefix}${sha256(key).slice(0, 16)}.safetensors`;
  const folders = cacheFolders(files, fallback);
  return {
    /** The cached weights; undefined where there are none that can be used. */
    async open() {
      const refused: string[] = [];
      for (const folder of folders) {
        const path = join(folder, name);
        if (!(await pathExists(path).catch(() => false))) continue;
        try {
          await assertOwned([folder, path], files.path);
          return await openPackedFile(path, key);
        } catch (cause) {
          refused.push(describeProblem(cause, path));
        }
      }
      if (refused.length > 0) onNote(unusableNote(refused.join("; ")));
      return undefined;
    },
    /** A place for new ones; undefined where there is none. */
    async create() {
      const refused: string[] = [];
      for (const folder of folders) {
        const path = join(folder, name);
        try {
          // first of all, since they may have the room that is needed
          await removeLeftovers(folder);
          await assertSpace(folder, { what: "the cache of packed weights", bytes });
          await makeFolder(folder, files.path);
          const file = await openAtomicFile(path, { mode: FILE_MODE });
          return createPackedFile(file, { path, prefix, key, tensors });
        } catch (cause) {
          await removeEmpty(folder);
          refused.push(describeProblem(cause, path));
        }
      }
      onNote(`packed weights are not cached: ${refused.join("; ")}`);
      return undefined;
    },
  };
}

export const unusableNote = (why: string): string =>
  `the cached weights cannot be used and are rebuilt: ${why}`;

/** Group and others may read. */
const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;

async function makeFolder(folder: string, model: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: FOLDER_MODE });
  const { mode } = await stat(folder);
  if ((mode & SHARED) !== 0) await chmod(folder, mode & ~SHARED);
  await assertOwned([folder], model);
}

const describeProblem = (cause: unknown, path: string): string => storageError(cause, path).message;

export const cachedNote = ({ folder, bytes }: ReturnType<typeof createPackedFile>): string =>
  `cached packed weights: ${describeBytes(bytes)} in ${folder}`;
