import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { MosError } from "#core";
import { storageError } from "./error.ts";
import { pathExists } from "./files.ts";

const UNITS = ["bytes", "kB", "MB", "GB", "TB"] as const;

/** Bytes for an error message, in decimal units as the Hub shows them: 270000000 is "270 MB". */
export function describeBytes(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.5 ? Math.round(value) : value.toPrecision(2)} ${UNITS[unit]}`;
}

/** The folder itself, or the nearest above it that exists. */
async function existing(path: string): Promise<string> {
  return (await pathExists(path)) || dirname(path) === path ? path : existing(dirname(path));
}

/** Some network file systems report no size; they are taken as large enough. */
async function freeBytesOf(folder: string): Promise<number> {
  const { bavail, blocks, bsize } = await statfs(folder).catch((error: unknown) => {
    throw storageError(error, folder);
  });
  return blocks === 0 ? Number.POSITIVE_INFINITY : bavail * bsize;
}

export interface ExpectSpaceOptions {
  /** What will be written, as the start of a sentence: "the merged model". */
  readonly what: string;
  readonly bytes: number;
  /** Bytes that a user may still write to the disk of a folder. */
  readonly freeBytes?: ((folder: string) => Promise<number>) | undefined;
}

/**
 * Checks that the disk of a folder, which need not exist yet, has room for so many bytes.
 *
 * @throws MosError "storage".
 */
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
