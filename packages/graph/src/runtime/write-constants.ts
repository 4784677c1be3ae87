import { errorText, MosError } from "../error.ts";

/** Bytes of one system call, which may write only a part of more than 2 GiB. */
const MAX_WRITE = 1 << 30;

/** An open file. */
interface WritableFile {
  write(
    bytes: Uint8Array,
    at: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesWritten: number }>;
}

/** Writes all of `bytes` at an offset. */
export async function writeAll(file: WritableFile, bytes: Uint8Array, offset: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const length = Math.min(MAX_WRITE, bytes.byteLength - done);
    done += (await file.write(bytes, done, length, offset + done)).bytesWritten;
  }
}

/** The error for constants that the disk does not take. */
export const unwritten = (folder: string, cause: unknown): MosError =>
  new MosError(
    "storage",
    `${folder}: the constants of a program cannot be written (${errorText(cause)}); they need as much disk space as memory: free some, or set TMPDIR to another folder`,
    { cause },
  );
