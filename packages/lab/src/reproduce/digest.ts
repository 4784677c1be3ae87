import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { canonicalJson } from "mixture-of-shards-core/common";
import { listFolder, storageFailure } from "mixture-of-shards-core/files";

/** Files up to this size are read whole; of larger ones, evenly spread blocks. */
const WHOLE = 16 << 20;
const BLOCKS = 256;
const BLOCK = 16_384;

async function addFile(hash: Hash, path: string): Promise<void> {
  await using file = await open(path);
  const { size } = await file.stat();
  hash.update(`${basename(path)} ${size}\n`);
  const count = size <= WHOLE ? 1 : BLOCKS;
  const length = size <= WHOLE ? size : BLOCK;
  const bytes = new Uint8Array(length);
  for (let i = 0; i < count; i++) {
    await file.read(bytes, 0, length, count === 1 ? 0 : Math.floor((i * (size - length)) / (count - 1)));
    hash.update(bytes);
  }
}

/**
 * A digest of a model file or folder by names, sizes and a sample of the content, so that a model of many gigabytes is
 * told apart from another in a moment. Its place and the times of its files do not count.
 */
export async function modelDigest(path: string): Promise<string> {
  const hash = createHash("sha256");
  const isFolder = (await stat(path).catch(storageFailure(path))).isDirectory();
  const files = isFolder
    ? (await listFolder(path)).filter((name) => /\.(json|safetensors|jinja|model)$/.test(name)).sort()
    : [""];
  for (const name of files) await addFile(hash, join(path, name)).catch(storageFailure(path));
  return `sha256:${hash.digest("hex")}`;
}

/** sha256 of a whole file. */
export async function fileDigest(path: string): Promise<string> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash).catch(storageFailure(path));
  return `sha256:${hash.digest("hex")}`;
}

/** sha256 over everything that decides a cell's result. */
export const hashParts = (parts: Readonly<Record<string, unknown>>): string =>
  `sha256:${createHash("sha256").update(canonicalJson(parts)).digest("hex")}`;
