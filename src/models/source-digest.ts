// Whether the weights of a model are still those that something was derived from, without reading them all.
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import { blockFormats } from "#formats";
import { sizeOf } from "#graph";
import { storageError } from "#storage";
import type { ModelFiles } from "./load.ts";
import { weightShapes } from "./weights.ts";

const PAGE = 4096;

/**
 * A hash that changes with the files of a model: its config, name, size and time of each file, type and shape of each
 * weight, and a page of its bytes. Reads some hundred kilobytes of models of any size.
 *
 * @returns 64 hexadecimal digits.
 * @throws MosError as reading does.
 */
export async function sourceDigest(files: ModelFiles): Promise<string> {
  const { config, weightFiles } = files;
  const hash = createHash("sha256").update(JSON.stringify(config));
  for (const path of weightFiles) {
    const { size, mtimeMs } = await stat(path).catch((error: unknown) => {
      throw storageError(error, path);
    });
    hash.update(JSON.stringify([basename(path), size, mtimeMs]));
  }
  const page = new Uint8Array(PAGE);
  for (const name of weightShapes(config).keys()) {
    const { type, shape, readInto } = files.storedRows(name);
    const { blockSize, bytes } = blockFormats[type];
    const total = (sizeOf(shape) / blockSize) * bytes;
    const part = page.subarray(0, Math.min(PAGE, total));
    await readInto(part, Math.floor((total - part.length) / 2));
    hash.update(JSON.stringify([name, type, shape])).update(part);
  }
  return hash.digest("hex");
}
