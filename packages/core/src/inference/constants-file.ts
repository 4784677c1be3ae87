// Constants of programs that are written to a temporary file while they are made, so that none stays in this process: the
// runtime maps the file when it opens a program, copies what it packs for its kernels, and reads the rest where it lies.

import {
  type DType,
  fileConstant,
  type TensorData,
  unwritten,
  type Value,
  writeAll,
} from "mixture-of-shards-graph";
import type { Shape } from "#common";
import { makeTemporaryFolder } from "#files";
import { join, open, rm } from "#platform";

const FILE = "weights.bin";

/** Alignment of constants: whole pages can be mapped. */
const ALIGNMENT = 4096;

/** Constants in one temporary file, which disposal removes: programs that are open by then keep what they mapped. */
export interface ConstantsFile extends AsyncDisposable {
  /** The bytes so far. */
  readonly bytes: number;
  /**
   * Appends a tensor, whose array is not needed afterwards.
   *
   * @throws MosError `storage` where the disk does not take it.
   */
  add(data: TensorData, shape: Shape, dtype: DType): Promise<Value>;
}

/**
 * Opens an empty file in a temporary folder of its own.
 *
 * @throws MosError `storage`.
 * @example
 * await using file = await openConstantsFile();
 * const w = await file.add(new Float32Array(64 * 64), [64, 64], "float32");
 * await using program = await compile({ y: matmul(leaf("x", ["n", 64]), w) });
 */
export async function openConstantsFile(): Promise<ConstantsFile> {
  const folder = await makeTemporaryFolder("mos-");
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  const file = await open(join(folder, FILE), "w").catch(async (cause: unknown) => {
    await remove();
    throw unwritten(folder, cause);
  });
  let end = 0;
  return {
    get bytes() {
      return end;
    },
    async add(data, shape, dtype) {
      const offset = Math.ceil(end / ALIGNMENT) * ALIGNMENT;
      const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
      const value = fileConstant({ folder, file: FILE, offset, length: bytes.byteLength }, shape, dtype);
      await writeAll(file, bytes, offset).catch((cause: unknown) => {
        throw unwritten(folder, cause);
      });
      end = offset + bytes.byteLength;
      return value;
    },
    async [Symbol.asyncDispose]() {
      await file.close();
      await remove();
    },
  };
}
