// A file of the web in a file of ours: continued where an earlier download ended, and checked.
import { z } from "zod";
import { concatBytes, errorText, MosError } from "#common";
import { pathExists, readBytes, readJson, writeFileAtomic } from "#files";
import type { Digest } from "#hub";
import { createHash, open, rename, rm, stat } from "#platform";

/** Bytes that are read or hashed at a time. */
const PART = 1 << 22;

/** Options of one download. */
export interface DownloadOptions {
  /** The digest that the file must have. */
  readonly digest?: Digest | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  readonly signal: AbortSignal;
  /** Called with the bytes that are there, and those of the whole file where the server says. */
  readonly onBytes: (done: number, total: number | undefined) => void;
}

/** What is known of the content, so that two contents are never joined: its digest, or what the server said. */
const markSchema = z.object({ etag: z.string().nullable() });

/**
 * Downloads a file to a path; bytes of an interrupted download of the same content are kept. False where the server has no such
 * file.
 *
 * @throws MosError `network`, also where the digest is another one; `storage`; `cancelled`.
 */
export async function download(url: string, path: string, options: DownloadOptions): Promise<boolean> {
  const { digest, signal } = options;
  const partial = `${path}.part`;
  const isThere = await fetchTo(url, partial, options).catch((cause: unknown) => {
    if (signal.aborted) throw new MosError("cancelled", `${url}: the download was interrupted`, { cause });
    throw cause instanceof MosError
      ? cause
      : new MosError("network", `${url}: ${errorText(cause)}`, { cause });
  });
  if (!isThere) return false;
  if (digest !== undefined) {
    const { algorithm, hex } = digest;
    const found = await DIGESTS[algorithm](partial);
    if (found !== hex.toLowerCase()) {
      await rm(partial);
      throw new MosError(
        "network",
        `${url}: the file has the ${algorithm} ${found}, not ${hex}; it was removed`,
      );
    }
  }
  await rename(partial, path);
  await rm(markPath(partial), { force: true });
  return true;
}

const markPath = (partial: string): string => `${partial}.json`;

async function fetchTo(url: string, partial: string, options: DownloadOptions): Promise<boolean> {
  const { digest, onBytes } = options;
  const kept = await keptPart(partial, digest);
  const response = await request(url, kept, options);
  const { status, headers, body } = response;
  if (status === 404) return false;
  // nothing is missing
  if (status === 416) return true;
  if (!response.ok || body === null)
    throw new MosError("network", `${url}: the server answered ${status} ${response.statusText}`);
  const from = status === 206 ? kept.bytes : 0;
  await writeFileAtomic(markPath(partial), JSON.stringify({ etag: digest?.hex ?? headers.get("etag") }));
  const length = headers.get("content-length");
  // a length that was counted after compression is not that of the file
  const isPlain = headers.get("content-encoding") === null;
  const total = length === null || !isPlain ? undefined : from + Number(length);
  const done = await writeBody(body, partial, { from, onBytes: (bytes) => onBytes(bytes, total) });
  if (total === undefined || done === total) return true;
  throw new MosError("network", `${url}: ${done} of ${total} bytes arrived; the next attempt goes on there`);
}

/** What an earlier download has left. */
async function keptPart(partial: string, digest: Digest | undefined) {
  const mark = markPath(partial);
  if (!(await pathExists(partial)) || !(await pathExists(mark))) return { bytes: 0, etag: null };
  const { etag } = await readJson(mark, markSchema, { code: "storage" });
  const isKnown = digest === undefined ? etag !== null : etag === digest.hex;
  return { bytes: isKnown ? (await stat(partial)).size : 0, etag };
}

/**
 * Asks for what is missing, or for all where the content is another one now. 416 only where nothing is missing. A digest is
 * checked in the end, and servers of other origins often hide what they say of the content.
 */
async function request(
  url: string,
  { bytes, etag }: Awaited<ReturnType<typeof keptPart>>,
  { signal, headers: given = {}, digest }: DownloadOptions,
): Promise<Response> {
  if (bytes === 0) return fetch(url, { signal, headers: given });
  const response = await fetch(url, { signal, headers: { ...given, range: `bytes=${bytes}-` } });
  const { status, headers } = response;
  const isSame =
    digest !== undefined ||
    (status === 416 ? headers.get("content-range") === `bytes */${bytes}` : headers.get("etag") === etag);
  if ((status !== 206 && status !== 416) || isSame) return response;
  await response.body?.cancel();
  return fetch(url, { signal, headers: given });
}

async function writeBody(
  body: ReadableStream<Uint8Array>,
  partial: string,
  { from, onBytes }: { readonly from: number; readonly onBytes: (done: number) => void },
): Promise<number> {
  await using file = await open(partial, "a");
  await file.truncate(from);
  let done = from;
  onBytes(done);
  // Safari's streams are not iterable
  const reader = body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    await file.write(part.value, 0, part.value.length, null);
    done += part.value.length;
    onBytes(done);
  }
  return done;
}

/** Digests of a file in hexadecimal digits. Git's are of small files. */
const DIGESTS: Readonly<Record<Digest["algorithm"], (path: string) => Promise<string>>> = {
  sha256: hashFile,
  async "git-sha1"(path) {
    const bytes = await readBytes(path, { code: "storage" });
    const content = concatBytes([new TextEncoder().encode(`blob ${bytes.length}\0`), bytes]);
    const hash = new Uint8Array(await crypto.subtle.digest("SHA-1", content as Uint8Array<ArrayBuffer>));
    return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
  },
};

async function hashFile(path: string): Promise<string> {
  await using file = await open(path, "r");
  const hash = createHash("sha256");
  const buffer = new Uint8Array(PART);
  for (let at = 0; ; ) {
    const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return hash.digest("hex");
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}
