import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { MosError } from "#core";
import { pathExists, storageError } from "#formats";

const UNITS = ["bytes", "kB", "MB", "GB", "TB"] as const;

/** Bytes in three digits, in decimal units. */
function describeBytes(bytes: number): string {
  const unit = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)));
  return `${Number((bytes / 1000 ** unit).toPrecision(3))} ${UNITS[unit]}`;
}

/** The folder itself, or the nearest above it that exists. */
async function existing(path: string): Promise<string> {
  return (await pathExists(path)) || dirname(path) === path ? path : existing(dirname(path));
}

/** Some file systems over a network have no size to tell; they are taken as large enough. */
async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, blocks, bsize } = await statfs(folder).catch((error: unknown) => {
    throw storageError(error, folder);
  });
  return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize;
}

export interface ExpectSpaceOptions {
  /** What is going to be written, as a sentence begins: "the merged model". */
  readonly what: string;
  readonly bytes: number;
  /** Bytes that a user may still write to the disk of a folder. */
  readonly freeBytes?: (folder: string) => Promise<number>;
}

/** Throws `storage` where the disk of a folder, which need not exist yet, has no room for so many bytes. */
export async function expectSpace(
  folder: string,
  { what, bytes, freeBytes = freeBytesOf }: ExpectSpaceOptions,
): Promise<void> {
  const free = await freeBytes(await existing(resolve(folder)));
  if (free >= bytes) return;
  throw new MosError(
    "storage",
    `${folder}: ${what} takes ${describeBytes(bytes)}, but its disk has ${describeBytes(free)} free; make room, or choose another folder`,
  );
}
