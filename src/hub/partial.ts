import { createHash, type Hash } from "node:crypto";
import { type FileHandle, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import type { Digest } from "./listing.ts";

const READ_BYTES = 4 * 2 ** 20;

export interface PartialOptions {
  /** The size of the whole file in bytes. */
  readonly size: number;
  readonly digest: Digest;
}

/**
 * A file that is being downloaded: `<final>.partial`, and beside it the ETag of its bytes. Bytes are written by position
 * and hashed as they arrive, so two processes may fetch the same file at once.
 */
export class PartialFile {
  readonly #final: string;
  readonly #options: PartialOptions;
  readonly #handle: FileHandle;
  #hash: Hash;
  #position = 0;
  #inherited = false;

  private constructor(final: string, options: PartialOptions, handle: FileHandle) {
    this.#final = final;
    this.#options = options;
    this.#handle = handle;
    this.#hash = startHash(options);
  }

  /** Opens what an earlier run left, or starts a file. The bytes that exist are hashed again. */
  static async open(final: string, options: PartialOptions): Promise<PartialFile> {
    const handle = await open(`${final}.partial`, "a+").then(async (created) => {
      await created.close(); // "a+" only makes sure that it exists: appending would ignore positions
      return open(`${final}.partial`, "r+");
    });
    const partial = new PartialFile(final, options, handle);
    try {
      await partial.#readBack();
      partial.#inherited = partial.#position > 0;
    } catch (error) {
      await handle.close();
      throw error;
    }
    return partial;
  }

  /** Bytes so far. */
  get position(): number {
    return this.#position;
  }

  /** Whether some of the bytes come from an earlier run. */
  get inherited(): boolean {
    return this.#inherited;
  }

  /** The ETag of the first bytes, where it is known. */
  async etag(): Promise<string | undefined> {
    return readFile(`${this.#final}.partial.etag`, "utf8").catch(() => undefined);
  }

  /**
   * Starts again at byte 0: what follows, under this ETag, overwrites what is here. The file is not truncated, because
   * another process may have written it and be about to rename it.
   */
  async restart(etag: string | undefined): Promise<void> {
    this.#position = 0;
    this.#inherited = false;
    this.#hash = startHash(this.#options);
    if (etag === undefined) await rm(`${this.#final}.partial.etag`, { force: true });
    else await writeFile(`${this.#final}.partial.etag`, etag.slice(0, 1024));
  }

  async append(bytes: Uint8Array): Promise<void> {
    let written = 0;
    while (written < bytes.byteLength) {
      const { bytesWritten } = await this.#handle.write(
        bytes,
        written,
        bytes.byteLength - written,
        this.#position + written,
      );
      written += bytesWritten;
    }
    this.#hash.update(bytes);
    this.#position += bytes.byteLength;
  }

  /** The digest of the bytes so far, in hexadecimal digits; more can be appended. */
  digest(): string {
    return this.#hash.copy().digest("hex");
  }

  /** Flushes the bytes to the disk, then renames the file to its final name. */
  async finish(): Promise<void> {
    await this.#handle.sync();
    await rename(`${this.#final}.partial`, this.#final).catch(async (error: unknown) => {
      // Another process has just finished the same file.
      const finished = await stat(this.#final).catch(() => undefined);
      if (finished?.size !== this.#options.size) throw error;
    });
    await rm(`${this.#final}.partial.etag`, { force: true });
  }

  /** Removes the partial file. */
  async discard(): Promise<void> {
    await rm(`${this.#final}.partial`, { force: true });
    await rm(`${this.#final}.partial.etag`, { force: true });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#handle.close();
  }

  async #readBack(): Promise<void> {
    const { size } = await this.#handle.stat();
    if (size > this.#options.size) {
      await this.#handle.truncate(this.#options.size);
      return;
    }
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, Math.max(size, 1)));
    while (this.#position < size) {
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.byteLength, this.#position);
      if (bytesRead === 0) return;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#position += bytesRead;
    }
  }
}

function startHash({ size, digest }: PartialOptions): Hash {
  if (digest.algorithm === "sha256") return createHash("sha256");
  return createHash("sha1").update(`blob ${size}\0`); // how git names the content of a file
}
