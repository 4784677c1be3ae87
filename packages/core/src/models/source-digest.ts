// Digest that detects a change of a model's weights without reading them all.
import { countElements } from "#common";
import { fileBytes, storageFailure } from "#files";
import { basename, createHash, stat } from "#platform";
import type { ModelFiles } from "./load.ts";
import { weightShapes } from "./weights.ts";

const PAGE = 4096;
/** Pages of each weight that are read, the first and the last among them. */
const PAGES = 8;

/**
 * A hash that changes with the files of a model: its config, name, size and time of each file, type and shape of each
 * weight, and some pages of its bytes. Reads some megabytes of models of any size.
 *
 * @returns 64 hexadecimal digits.
 * @throws MosError as reading does.
 */
export async function sourceDigest(files: ModelFiles): Promise<string> {
  const { config, weightFiles } = files;
  const hash = createHash("sha256").update(JSON.stringify(config));
  for (const path of weightFiles) {
    const { size, mtimeMs } = await stat(path).catch(storageFailure(path));
    hash.update(JSON.stringify([basename(path), size, mtimeMs]));
  }
  const page = new Uint8Array(PAGE);
  for (const name of weightShapes(config).keys()) {
    const { type, shape, readInto } = files.storedRows(name);
    const total = fileBytes(type, countElements(shape));
    hash.update(JSON.stringify([name, type, shape]));
    const count = Math.min(PAGES, Math.ceil(total / PAGE));
    const part = page.subarray(0, Math.min(PAGE, total));
    for (let i = 0; i < count; i++) {
      await readInto(part, Math.floor(((total - part.length) * i) / Math.max(1, count - 1)));
      hash.update(part);
    }
  }
  return hash.digest("hex");
}
