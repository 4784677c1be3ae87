// Constants of programs that are written to a temporary file while they are made, so that none stays in this process: the
// runtime maps the file when it opens a program, copies what it packs for its kernels, and reads the rest where it lies.
import { MosError, type Shape } from "#core";
import { isDiskFull, makeTemporaryFolder, systemCode } from "#files";
import { dirname, type FileHandle, join, open, rm } from "#platform";
import { type DType, fileConstant, type TensorData, type Value } from "../value.ts";

/** Bytes of one system call, which may write only a part of more than 2 GiB. */
const MAX_WRITE = 1 << 30;

/** Alignment of constants: whole pages can be mapped. */
const ALIGNMENT = 4096;

/** Writes all of `bytes` at an offset. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const length = Math.min(MAX_WRITE, bytes.byteLength - done);
    done += (await file.write(bytes, done, length, offset + done)).bytesWritten;
  }
}

/** The error for constants that the disk does not take. */
export function unwritten(folder: string, cause: unknown): MosError {
  if (cause instanceof MosError) return cause;
  const why = isDiskFull(cause)
    ? `the disk is full; while a base is opened, its weights need as much disk space as memory: free some space or set TMPDIR to another folder`
    : `the constants of a program cannot be written (${systemCode(cause) ?? String(cause)}); set TMPDIR to another folder`;
  return new MosError("storage", `${dirname(folder)}: ${why}`, { cause });
}

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
  const path = join(folder, "weights.bin");
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  const file = await open(path, "w").catch(async (cause: unknown) => {
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
      const value = fileConstant({ path, offset, length: bytes.byteLength }, shape, dtype);
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
