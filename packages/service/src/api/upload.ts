// A file as it arrives in a form: its bytes go to the storage, everything else is small.
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Busboy, type BusboyInstance } from "@fastify/busboy";
import { MosError } from "mixture-of-shards";
import { ApiError, bodyChunks } from "mixture-of-shards/server";
import { storable } from "#database";
import type { Arrival } from "#jobs";
import type { ObjectStore, StoredObject } from "#objects";

/** A form of `POST /v1/files`, with its fields as `fieldsOf` reads them. */
export interface UploadedForm<T> {
  readonly fields: T;
  readonly filename: string;
  readonly file: StoredObject;
}

/** How a form is read. */
export interface UploadOptions<T> {
  readonly objects: ObjectStore;
  /** Of the file. */
  readonly maxBytes: number;
  /** Makes room for the bytes of the file, or ends the upload by throwing. */
  readonly arrival: Arrival;
  /** Throws where a field is wrong or missing. */
  readonly fieldsOf: (fields: ReadonlyMap<string, string>) => T;
}

const invalidForm = (message: string, cause?: unknown): ApiError =>
  new ApiError(message, { status: 400, code: "invalid_multipart", cause });

/** A form has few parts, and each but the file is short. */
const [MAX_PARTS, MAX_FIELD] = [16, 2000];
/** What a form has beside its file, at most. */
export const FORM_BYTES = 65_536;

function parserOf(request: Request): BusboyInstance {
  try {
    return new Busboy({
      headers: { "content-type": request.headers.get("content-type") ?? "" },
      limits: {
        parts: MAX_PARTS,
        headerPairs: 16,
        headerSize: 8192,
        fieldSize: MAX_FIELD,
        fields: MAX_PARTS,
      },
    });
  } catch (cause) {
    throw invalidForm("send the file as multipart/form-data", cause);
  }
}

/**
 * Reads a form to its end. The file is kept only where all of the form is right.
 *
 * @throws ApiError 400, 413 or 415; MosError `busy` where there is no room.
 */
export async function readUpload<T>(
  request: Request,
  { objects, maxBytes, arrival, fieldsOf }: UploadOptions<T>,
): Promise<UploadedForm<T>> {
  const parser = parserOf(request);
  // a little more than the file itself
  const chunks = bodyChunks(request, maxBytes + FORM_BYTES);
  // without "return": a parser that gives up does not end it
  const body = Readable.from({ [Symbol.asyncIterator]: () => ({ next: () => chunks.next() }) });
  const fields = new Map<string, string>();
  let file: Promise<StoredObject> | undefined;
  let filename = "";
  let sent: Readable | undefined;
  let arrived: Promise<void> | undefined;
  async function* checked(part: Readable): AsyncGenerator<Uint8Array, void> {
    let bytes = 0;
    for await (const chunk of part) {
      bytes += chunk.length;
      await arrival.reserve(bytes);
      yield chunk;
    }
    await arrived;
    fieldsOf(fields);
  }
  parser.on("field", (name: string, value: string, ...[, isCut]: readonly boolean[]) => {
    if (isCut) parser.destroy(invalidForm(`${name} is too long`));
    else if (fields.has(name)) parser.destroy(invalidForm(`${name} occurs twice; send it once`));
    else fields.set(name, value);
  });
  parser.on("partsLimit", () => parser.destroy(invalidForm(`the form has more than ${MAX_PARTS} parts`)));
  parser.on("file", (name, part, given) => {
    // before somebody reads it: an error that nobody hears ends the process
    part.on("error", (error) => parser.destroy(error));
    if (name !== "file" || file !== undefined) {
      parser.destroy(invalidForm("the form must have exactly one file, named file"));
      return;
    }
    // a name only: no path of a client is ever opened
    filename = storable((given ?? "").split(/[/\\]/).at(-1)?.slice(0, 255) ?? "");
    sent = part;
    file = objects.put(checked(part), arrival);
    file.catch((error: unknown) => parser.destroy(error instanceof Error ? error : undefined));
  });
  try {
    arrived = pipeline(body, parser);
    await arrived;
  } catch (cause) {
    // the parser does not end the file that it was in
    sent?.destroy(cause instanceof Error ? cause : undefined);
    const failure = await file?.then(
      () => undefined,
      (error: unknown) => error,
    );
    // a connection that is closed while the client still writes would lose the answer
    await discard(chunks).catch(() => undefined);
    for (const error of [cause, failure]) if (error instanceof MosError) throw error;
    throw invalidForm("the request's body is not valid multipart/form-data", cause);
  }
  if (file === undefined) throw invalidForm("the form has no file; send one named file");
  return { fields: fieldsOf(fields), filename, file: await file };
}

async function discard(chunks: AsyncIterable<unknown>): Promise<void> {
  for await (const _chunk of chunks);
}
