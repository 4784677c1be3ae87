// Forms of multipart/form-data, part by part as they arrive.
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { Busboy, type BusboyInstance } from "@fastify/busboy";
import { MosError } from "mixture-of-shards-core/common";
import { ApiError } from "./errors.ts";
import { bodyChunks } from "./request.ts";

/** A file in a form. */
export interface FormFile {
  readonly field: string;
  /** Clients choose it: never open a path of this name. */
  readonly filename: string | undefined;
  readonly body: Readable;
  /** Resolves when the whole form has arrived; rejects if it is invalid or cut off. */
  readonly formEnd: Promise<void>;
}

/** Options of reading a form. Both callbacks refuse a form by throwing. */
export interface MultipartOptions {
  /** Limit of the whole form. */
  readonly maxBytes: number;
  readonly maxParts: number;
  /** Takes the texts of the form; without it they arrive as files, so that a text that is not UTF-8 is noticed. */
  readonly fields?: {
    readonly maxBytes: number;
    readonly take: (field: string, text: string) => void;
  };
  readonly onFile: (file: FormFile) => Promise<void>;
  /** Reads a form that is refused to its end, so that a client that is still writing gets the answer (false). */
  readonly drains?: boolean;
}

/** The answer to a form that cannot be read: status 400, code `invalid_multipart`. */
export const invalidForm = (message: string, cause?: unknown): ApiError =>
  new ApiError(message, { status: 400, code: "invalid_multipart", cause });

function createParser(request: Request, { maxParts, fields }: MultipartOptions): BusboyInstance {
  try {
    return new Busboy({
      headers: { "content-type": request.headers.get("content-type") ?? "" },
      limits: {
        parts: maxParts,
        fields: maxParts,
        headerPairs: 16,
        headerSize: 8192,
        ...(fields === undefined ? {} : { fieldSize: fields.maxBytes }),
      },
      ...(fields === undefined ? { isPartAFile: () => true } : {}),
    });
  } catch (cause) {
    throw invalidForm("send multipart/form-data with a boundary in its content-type", cause);
  }
}

/**
 * Reads a form to its end.
 *
 * @throws ApiError 400, 413 or 415, and what a callback throws if it is a MosError.
 */
export async function readMultipart(request: Request, options: MultipartOptions): Promise<void> {
  const { maxBytes, maxParts, fields, onFile, drains = false } = options;
  const parser = createParser(request, options);
  const chunks = bodyChunks(request, maxBytes);
  // without "return" a parser that gives up does not end the body
  const body = Readable.from(
    drains ? { [Symbol.asyncIterator]: () => ({ next: () => chunks.next() }) } : chunks,
  );
  const files: { readonly part: Readable; readonly taken: Promise<void> }[] = [];
  const refuse = (error: unknown): void =>
    void parser.destroy(error instanceof Error ? error : new Error(String(error)));
  parser.on("partsLimit", () => refuse(invalidForm(`the form has more than ${maxParts} parts`)));
  parser.on("field", (field: string, text: string, ...[, isCut]: readonly boolean[]) => {
    try {
      if (isCut) throw invalidForm(`${field} is too long`);
      fields?.take(field, text);
    } catch (error) {
      refuse(error);
    }
  });
  const formEnd = new Promise<void>((resolve, reject) => {
    parser.on("file", (field, part, filename) => {
      // before somebody reads it: an error that nobody hears ends the process
      part.on("error", refuse);
      const taken = onFile({ field, filename, body: part, formEnd });
      taken.catch(refuse);
      files.push({ part, taken });
    });
    pipeline(body, parser).then(resolve, reject);
  });
  try {
    await formEnd;
    await Promise.all(files.map(({ taken }) => taken));
  } catch (cause) {
    // the parser does not end the file that it was in
    for (const { part } of files) part.destroy(cause instanceof Error ? cause : undefined);
    const invalid = invalidForm("the request body is not valid multipart/form-data", cause);
    const ends = await Promise.allSettled(files.map(({ taken }) => taken));
    if (drains) await discard(chunks).catch(() => undefined);
    const reasons = ends.flatMap((end) => (end.status === "rejected" ? [end.reason] : []));
    throw [cause, ...reasons].find((reason) => reason instanceof MosError) ?? invalid;
  }
}

async function discard(chunks: AsyncIterable<unknown>): Promise<void> {
  for await (const _chunk of chunks);
}
