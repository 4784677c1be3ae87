import { createHash, type Hash } from "node:crypto";
import { constants, type FileHandle, open, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { describeBytes, MosError } from "#common";
import { closeOnFailure } from "#files";
import { type Answer, type Connection, pause, pauseSeconds, request } from "./connection.ts";
import { cancelled, type Failure, type Resource, responseFailure, toFailure } from "./failure.ts";
import type { HubFile } from "./listing.ts";

/** One file to fetch: from where, to where, and what it has to be. */
interface Download {
  readonly url: string;
  /** The final path; until it is complete, the bytes are in `<path>.partial`. */
  readonly target: string;
  readonly file: HubFile;
  readonly resource: Resource;
}

type DownloadEvent =
  /** Bytes of the file so far. */
  | { readonly type: "received"; readonly bytes: number }
  | { readonly type: "retry"; readonly attempt: number; readonly seconds: number; readonly message: string };

const REPORT_BYTES = 2 ** 20;

/**
 * Fetches one file: resumes an earlier run, retries after a break, checks size and digest, and renames the file to its
 * final name only when it is complete.
 *
 * @throws MosError `network`, `not_found`, `storage`, or `cancelled` (the bytes so far are kept).
 */
export async function* download(connection: Connection, job: Download): AsyncGenerator<DownloadEvent, void> {
  await using partial = await PartialFile.open(job.target, job.file);
  yield { type: "received", bytes: partial.position };
  let attempt = 0;
  let best = partial.position;
  for (;;) {
    const failure = (yield* receive(connection, job, partial)) ?? (await verify(job, partial));
    if (failure === undefined) return;
    // progress beyond all earlier attempts resets the count
    attempt = partial.position > best ? 1 : attempt + 1;
    best = Math.max(best, partial.position);
    if (!failure.transient || attempt > connection.retries) throw failure.error;
    const seconds = pauseSeconds(attempt, failure);
    yield { type: "retry", attempt, seconds, message: failure.error.message };
    await pause(connection, job.resource, seconds);
  }
}

async function* receive(
  connection: Connection,
  job: Download,
  partial: PartialFile,
): AsyncGenerator<DownloadEvent, Failure | undefined> {
  if (connection.signal?.aborted)
    return { error: cancelled(job.resource, connection.signal.reason), transient: false };
  if (partial.position === job.file.size) return undefined;
  const stall = new AbortController();
  const timer = setTimeout(() => stall.abort(new Error("no data")), connection.stallMilliseconds);
  const signal = AbortSignal.any([stall.signal, ...(connection.signal ? [connection.signal] : [])]);
  try {
    const opened = await openAt(connection, { job, partial }, signal);
    if ("error" in opened) return opened;
    let reported = partial.position;
    for await (const chunk of opened.response.body ?? []) {
      timer.refresh();
      if (partial.position + chunk.byteLength > job.file.size) return tooLong(job);
      await partial.append(chunk);
      if (partial.position - reported < REPORT_BYTES && partial.position < job.file.size) continue;
      reported = partial.position;
      yield { type: "received", bytes: reported };
    }
    return partial.position === job.file.size ? undefined : cutOff(job, partial.position);
  } catch (error) {
    return toFailure(error, job.resource, connection.signal);
  } finally {
    clearTimeout(timer);
    stall.abort();
  }
}

/** Opens the stream at the position of the partial file, or at its beginning where the server has other bytes now. */
async function openAt(
  connection: Connection,
  { job, partial }: { readonly job: Download; readonly partial: PartialFile },
  signal: AbortSignal,
): Promise<Answer | Failure> {
  // a compressed answer has no ranges
  const plain = { "accept-encoding": "identity" };
  const known = await partial.etag();
  if (partial.position > 0) {
    const headers = { ...plain, range: `bytes=${partial.position}-` };
    const answer = await request(connection, job.url, { headers, signal });
    const { status } = answer.response;
    const same = known === undefined || answer.etag === undefined || answer.etag === known;
    if (status === 206 && same && continuesAt(answer.response, partial.position, job.file.size))
      return answer;
    if (status === 200) {
      await partial.restart(answer.etag);
      return answer;
    }
    await answer.response.body?.cancel();
    if (status !== 206 && status !== 416) return responseFailure(answer.response, job.resource);
  }
  const answer = await request(connection, job.url, { headers: plain, signal });
  if (answer.response.status !== 200) {
    await answer.response.body?.cancel();
    return responseFailure(answer.response, job.resource);
  }
  await partial.restart(answer.etag);
  return answer;
}

/** Tests whether "Content-Range: bytes 100-199/200" continues at the position, in a file of this size. */
function continuesAt(response: Response, position: number, size: number): boolean {
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.headers.get("content-range") ?? "");
  return Number(range?.[1] ?? -1) === position && (range?.[2] === "*" || Number(range?.[2]) === size);
}

async function verify({ file, resource }: Download, partial: PartialFile): Promise<Failure | undefined> {
  const found = partial.digest();
  const { algorithm, hex } = file.digest;
  // the bytes of an earlier run may be at fault: then it is worth starting over once
  const transient = partial.inherited;
  try {
    if (found === hex) {
      await partial.finish();
      return undefined;
    }
    await partial.restart(undefined);
    if (!transient) await partial.discard();
  } catch (error) {
    return toFailure(error, resource);
  }
  const error = new MosError(
    "network",
    `${file.path}: the downloaded file has the ${algorithm} ${found}, but ${resource.endpoint} announced ${hex}; ` +
      "it was discarded. Run again; if this recurs, a proxy or mirror alters the file",
  );
  return { error, transient };
}

function cutOff({ file, resource }: Download, position: number): Failure {
  const found = `${describeBytes(position)} of ${describeBytes(file.size)}`;
  const message = `${resource.endpoint} closed the connection after ${found} of ${file.path}; the same command resumes from there`;
  return { error: new MosError("network", message), transient: true };
}

function tooLong({ file, resource }: Download): Failure {
  const message = `${resource.endpoint} sends more than the ${describeBytes(file.size)} that it announced for ${file.path}`;
  return { error: new MosError("network", message), transient: false };
}

const READ_BYTES = 4 * 2 ** 20;

/**
 * A file that is being downloaded: `<final>.partial`, and beside it the ETag of its bytes. Bytes are written by position
 * and hashed as they arrive, so two processes may fetch the same file at once.
 */
class PartialFile {
  readonly #final: string;
  readonly #file: HubFile;
  readonly #handle: FileHandle;
  #hash: Hash;
  /** Bytes so far. */
  position = 0;
  /** True if some of the bytes come from an earlier run. */
  inherited = false;

  private constructor(final: string, file: HubFile, handle: FileHandle) {
    this.#final = final;
    this.#file = file;
    this.#handle = handle;
    this.#hash = startHash(file);
  }

  /** Opens what an earlier run left, or starts a file. The bytes that exist are hashed again. */
  static async open(final: string, file: HubFile): Promise<PartialFile> {
    // one call, as another process may rename the file between two; "a+" would ignore positions, "w+" what is there
    const handle = await open(`${final}.partial`, constants.O_RDWR | constants.O_CREAT);
    const partial = new PartialFile(final, file, handle);
    await closeOnFailure(partial, () => partial.#readBack());
    partial.inherited = partial.position > 0;
    return partial;
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
    this.position = 0;
    this.inherited = false;
    this.#hash = startHash(this.#file);
    if (etag === undefined) await rm(`${this.#final}.partial.etag`, { force: true });
    else await writeFile(`${this.#final}.partial.etag`, etag.slice(0, 1024));
  }

  async append(bytes: Uint8Array): Promise<void> {
    let written = 0;
    while (written < bytes.byteLength) {
      const length = bytes.byteLength - written;
      written += (await this.#handle.write(bytes, written, length, this.position + written)).bytesWritten;
    }
    this.#hash.update(bytes);
    this.position += bytes.byteLength;
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
      if (finished?.size !== this.#file.size) throw error;
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
    if (size > this.#file.size) {
      await this.#handle.truncate(this.#file.size);
      return;
    }
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, Math.max(size, 1)));
    while (this.position < size) {
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.byteLength, this.position);
      if (bytesRead === 0) return;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.position += bytesRead;
    }
  }
}

function startHash({ size, digest }: HubFile): Hash {
  if (digest.algorithm === "sha256") return createHash("sha256");
  return createHash("sha1").update(`blob ${size}\0`); // how git names the content of a file
}
