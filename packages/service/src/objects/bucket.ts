// A bucket of S3 or of a compatible server: named contents that are written whole, and read with retries. The client is AWS's
// own, which is loaded with the first bucket: it knows every source of credentials and retries with backoff.
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import type { CompletedPart, ListMultipartUploadsCommandOutput, Part, S3Client } from "@aws-sdk/client-s3";
import { MosError } from "mixture-of-shards";
import { errorText, limitConcurrency, omitUndefined } from "mixture-of-shards-core/common";

/** Contents by their names below a prefix. All methods throw MosError `storage`. */
export type Bucket = Awaited<ReturnType<typeof openBucket>>;

/** Bytes of a part, of which some are in memory at a time; S3 takes 10,000 of at least 5 MiB. */
const [PART_BYTES, MAX_PARTS, PARALLEL_PARTS] = [8 << 20, 10_000, 4];
/** Attempts of a request, and connections that break without a byte until a download fails. */
const ATTEMPTS = 7;
/** Milliseconds of a connection attempt, and of silence in a transfer. */
const [CONNECT_TIMEOUT, SILENCE_TIMEOUT] = [5000, 15_000];

/** @throws MosError `bad_option`. */
function parseBucketUrl(url: string): { readonly bucket: string; readonly prefix: string } {
  const [, bucket, path = ""] = /^s3:\/\/([a-z0-9][a-z0-9._-]+[a-z0-9])(?:\/(.*))?$/.exec(url) ?? [];
  if (bucket === undefined)
    throw new MosError("bad_option", `--storage ${url} is not a bucket; expected s3://bucket/prefix`);
  const prefix = path.replaceAll(/^\/+|(?<!\/)\/+$/g, "");
  return { bucket, prefix: prefix === "" ? "" : `${prefix}/` };
}

/**
 * Opens a bucket that is there. Credentials and region come from AWS's environment variables, files or the machine's role.
 *
 * @throws MosError `bad_option` for the URL.
 */
export async function openBucket(url: string, given: string | undefined) {
  const { bucket, prefix } = parseBucketUrl(url);
  const sdk = await import("@aws-sdk/client-s3");
  const { AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL, AWS_REGION, AWS_DEFAULT_REGION } = process.env;
  const endpoint = given ?? AWS_ENDPOINT_URL_S3 ?? AWS_ENDPOINT_URL;
  const region = AWS_REGION ?? AWS_DEFAULT_REGION ?? (endpoint === undefined ? undefined : "us-east-1");
  const client = new sdk.S3Client({
    ...omitUndefined({ region }),
    // other servers know buckets by their path, and not all know checksums but Content-MD5
    ...(endpoint === undefined ? {} : { endpoint, forcePathStyle: true }),
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    maxAttempts: ATTEMPTS,
    requestHandler: { connectionTimeout: CONNECT_TIMEOUT, socketTimeout: SILENCE_TIMEOUT },
  });
  return createBucket({ sdk, client, bucket, prefix, url });
}

interface Place {
  readonly sdk: typeof import("@aws-sdk/client-s3");
  readonly client: S3Client;
  readonly bucket: string;
  readonly prefix: string;
  readonly url: string;
}

function createBucket(place: Place) {
  const { sdk, client, bucket, prefix, url } = place;
  const target = (name: string) => ({ Bucket: bucket, Key: `${prefix}${name}` });
  const failed = (error: unknown): never => {
    throw bucketError(error, url);
  };
  const put = (name: string, body: Buffer) => {
    const request = { ...target(name), Body: body, ContentLength: body.length };
    return client.send(new sdk.PutObjectCommand({ ...request, ContentMD5: md5(body).toString("base64") }));
  };
  const remove = async (name: string): Promise<void> => {
    await client.send(new sdk.DeleteObjectCommand(target(name))).catch(failed);
  };
  const has = (name: string): Promise<boolean> =>
    client.send(new sdk.HeadObjectCommand(target(name))).then(
      () => true,
      (error: unknown) => (errorStatus(error) === 404 ? false : failed(error)),
    );
  return {
    has,
    remove,
    /** Writes a file. Parts that an upload of the same name left are not sent again. */
    upload: async (name: string, { path, bytes }: { readonly path: string; readonly bytes: number }) => {
      await using file = await open(path);
      const isSent =
        bytes > PART_BYTES
          ? uploadParts(place, { target: target(name), file, bytes, isThere: () => has(name) })
          : put(name, await readPart(file, { position: 0, length: bytes }));
      await isSent.catch(failed);
    },
    /** The bytes of a content; `not_found` where there is none. */
    read: (name: string) => read(place, target(name)),
    /** Names below a folder, in pages, and when each was written. */
    list: async function* (folder: string) {
      const pages = sdk.paginateListObjectsV2({ client }, { Bucket: bucket, Prefix: `${prefix}${folder}/` });
      try {
        for await (const { Contents = [] } of pages)
          yield Contents.map(({ Key = "", LastModified }) => ({
            name: Key.slice(prefix.length),
            changedAt: LastModified?.getTime(),
          }));
      } catch (error) {
        failed(error);
      }
    },
    /** Ends uploads to which nothing was added for some seconds. */
    endUploads: (folder: string, olderThan: number) => endUploads(place, { folder, olderThan }).catch(failed),
    /** Looks whether it answers. */
    check: async (): Promise<void> => {
      const request = { Bucket: bucket, Prefix: prefix, MaxKeys: 1 };
      await client.send(new sdk.ListObjectsV2Command(request)).catch(failed);
    },
    /** Looks whether contents can be written and removed. */
    tryWriting: async (): Promise<void> => {
      await put("writable", Buffer.from("yes")).catch(failed);
      await remove("writable");
    },
  };
}

interface Upload {
  readonly target: { readonly Bucket: string; readonly Key: string };
  readonly file: FileHandle;
  readonly bytes: number;
  readonly isThere: () => Promise<boolean>;
}

/** Sends a file in parts, after those of an upload that ended in the middle. */
async function uploadParts(place: Place, upload: Upload): Promise<void> {
  const { sdk, client } = place;
  const { target, isThere } = upload;
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const id =
      (await findUpload(place, target)) ??
      (await client.send(new sdk.CreateMultipartUploadCommand(target))).UploadId;
    try {
      const parts = await sendParts(place, { ...upload, id });
      const request = { ...target, UploadId: id, MultipartUpload: { Parts: [...parts] } };
      await client.send(new sdk.CompleteMultipartUploadCommand(request));
      return;
    } catch (error) {
      // of two machines with the same content, the other was faster, or what was left is removed by now
      if (!(error instanceof Error) || !["NoSuchUpload", "InvalidPart"].includes(error.name)) throw error;
      if (await isThere()) return;
    }
  }
  throw new Error("its uploads are removed before they are complete");
}

/** The newest upload of a name that is not complete. */
async function findUpload({ sdk, client }: Place, target: Upload["target"]): Promise<string | undefined> {
  const request = { Bucket: target.Bucket, Prefix: target.Key };
  const { Uploads = [] } = await client.send(new sdk.ListMultipartUploadsCommand(request));
  const [newest] = Uploads.filter(({ Key }) => Key === target.Key).sort(
    (a, b) => (b.Initiated?.getTime() ?? 0) - (a.Initiated?.getTime() ?? 0),
  );
  return newest?.UploadId;
}

async function sendParts(
  place: Place,
  { target, file, bytes, id }: Upload & { readonly id: string | undefined },
): Promise<readonly CompletedPart[]> {
  const { sdk, client } = place;
  const partBytes = Math.max(PART_BYTES, Math.ceil(bytes / MAX_PARTS));
  const there = new Map((await listParts(place, target, id)).map((part) => [part.PartNumber, part]));
  const stopped = new AbortController();
  const limited = limitConcurrency(PARALLEL_PARTS);
  const send = async (index: number): Promise<CompletedPart> => {
    stopped.signal.throwIfAborted();
    const position = index * partBytes;
    const body = await readPart(file, { position, length: Math.min(partBytes, bytes - position) });
    const sum = md5(body);
    const [number, before] = [index + 1, there.get(index + 1)];
    if (before?.Size === body.length && before.ETag?.replaceAll('"', "") === sum.toString("hex"))
      return { PartNumber: number, ETag: before.ETag };
    const request = { ...target, UploadId: id, PartNumber: number, Body: body };
    const { ETag } = await client.send(
      new sdk.UploadPartCommand({ ...request, ContentMD5: sum.toString("base64") }),
      { abortSignal: stopped.signal },
    );
    return { PartNumber: number, ETag };
  };
  const sending = Array.from({ length: Math.ceil(bytes / partBytes) }, (_, index) =>
    limited(() => send(index)),
  );
  try {
    return await Promise.all(sending);
  } catch (error) {
    stopped.abort();
    await Promise.allSettled(sending); // they read the file
    throw error;
  }
}

async function listParts(
  { sdk, client }: Place,
  target: Upload["target"],
  id: string | undefined,
): Promise<readonly Part[]> {
  const parts: Part[] = [];
  // not every server leaves the marker out of the last page, on which the client's own loop relies
  for (let marker: string | undefined; ; ) {
    const page = await client.send(
      new sdk.ListPartsCommand({ ...target, UploadId: id, PartNumberMarker: marker }),
    );
    parts.push(...(page.Parts ?? []));
    if (page.IsTruncated !== true) return parts;
    marker = page.NextPartNumberMarker;
  }
}

async function endUploads(
  place: Place,
  { folder, olderThan }: { readonly folder: string; readonly olderThan: number },
): Promise<void> {
  const { sdk, client, bucket, prefix } = place;
  const isOld = (time: Date | undefined): boolean =>
    time !== undefined && Date.now() - time.getTime() >= olderThan * 1000;
  for (let after: Pick<ListMultipartUploadsCommandOutput, "NextKeyMarker" | "NextUploadIdMarker"> = {}; ; ) {
    const page: ListMultipartUploadsCommandOutput = await client.send(
      new sdk.ListMultipartUploadsCommand({
        Bucket: bucket,
        Prefix: `${prefix}${folder}/`,
        KeyMarker: after.NextKeyMarker,
        UploadIdMarker: after.NextUploadIdMarker,
      }),
    );
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (!isOld(Initiated)) continue;
      const target = { Bucket: bucket, Key: Key ?? "" };
      const parts = await listParts(place, target, UploadId);
      if (parts.every(({ LastModified }) => isOld(LastModified)))
        await client.send(new sdk.AbortMultipartUploadCommand({ ...target, UploadId }));
    }
    if (page.IsTruncated !== true) return;
    after = page;
  }
}

/** A connection that breaks is continued where it broke. */
async function* read(place: Place, target: Upload["target"]): AsyncGenerator<Uint8Array, void> {
  let [position, total, failures] = [0, Number.POSITIVE_INFINITY, 0];
  while (position < total) {
    const from = position;
    const { body, bytes } = await openRange(place, target, from);
    total = from + bytes;
    let reason: unknown = new Error("the connection ended early");
    try {
      for await (const chunk of body) {
        position += chunk.length;
        yield chunk;
      }
    } catch (error) {
      reason = error;
    }
    if (position >= total) return;
    failures = position === from ? failures + 1 : 0;
    if (failures === ATTEMPTS) throw bucketError(reason, place.url);
    await sleep(100 * 2 ** failures);
  }
}

async function openRange(
  { sdk, client, url }: Place,
  target: Upload["target"],
  from: number,
): Promise<{ readonly body: AsyncIterable<Uint8Array>; readonly bytes: number }> {
  const range = from === 0 ? {} : { Range: `bytes=${from}-` };
  try {
    const { Body, ContentLength = 0 } = await client.send(new sdk.GetObjectCommand({ ...target, ...range }));
    return { body: Body as Readable, bytes: ContentLength };
  } catch (error) {
    throw bucketError(error, url);
  }
}

async function readPart(
  file: FileHandle,
  { position, length }: { readonly position: number; readonly length: number },
): Promise<Buffer> {
  const body = Buffer.alloc(length);
  for (let done = 0; done < length; ) {
    const { bytesRead } = await file.read(body, done, length - done, position + done);
    if (bytesRead === 0) throw new Error(`the file ends after ${position + done} bytes`);
    done += bytesRead;
  }
  return body;
}

const md5 = (bytes: Uint8Array): Buffer => createHash("md5").update(bytes).digest();

/** The HTTP status of a failed request. */
function errorStatus(error: unknown): number | undefined {
  if (!(error instanceof Error) || !("$metadata" in error)) return undefined;
  return (error.$metadata as { readonly httpStatusCode?: number }).httpStatusCode;
}

const KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role";
const ACTIONS =
  "s3:ListBucket, s3:ListBucketMultipartUploads, s3:GetObject, s3:PutObject, s3:DeleteObject, s3:ListMultipartUploadParts and s3:AbortMultipartUpload";
const PROBLEMS: Readonly<Record<string, string>> = {
  NoSuchBucket: "the bucket does not exist; create it or correct --storage",
  CredentialsProviderError: `there are no credentials; ${KEYS}`,
  InvalidAccessKeyId: `the access key is unknown; ${KEYS}`,
  SignatureDoesNotMatch: "the secret key is wrong; correct AWS_SECRET_ACCESS_KEY",
  ExpiredToken: "the credentials have expired; renew them",
  PermanentRedirect: "the bucket is in another region; set AWS_REGION",
  AuthorizationHeaderMalformed: "the bucket is in another region; set AWS_REGION",
  RequestTimeTooSkewed: "the clock of this machine is wrong; set it",
};

function bucketError(error: unknown, url: string): MosError {
  if (error instanceof MosError) return error;
  const name = error instanceof Error ? error.name : "";
  if (name === "NoSuchKey")
    return new MosError("not_found", `${url}: there is no such content`, { cause: error });
  const text = errorText(error);
  const status = errorStatus(error);
  const problem =
    PROBLEMS[name] ??
    (status === 403 ? `access is denied; the credentials need ${ACTIONS}` : undefined) ??
    (text === "Region is missing"
      ? "the region of the bucket is missing; set AWS_REGION"
      : `the bucket cannot be used now: ${status === undefined ? text : `the server answered ${status} (${text})`}`);
  return new MosError("storage", `${url}: ${problem}`, { cause: error });
}
