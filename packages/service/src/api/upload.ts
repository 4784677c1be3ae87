// A file as it arrives in a form: its bytes go to the storage, everything else is small.
import { type FormFile, invalidForm, readMultipart } from "mixture-of-shards/server";
import { storable } from "#database";
import type { ObjectStore, StoredObject } from "#objects";
import type { Arrival } from "#store";

/** A form of `POST /v1/files`, with its fields as `readFields` reads them. */
export interface UploadedForm<T> {
  readonly fields: T;
  readonly filename: string;
  readonly file: StoredObject;
}

/** Options of reading a form. */
export interface UploadOptions<T> {
  readonly objects: ObjectStore;
  /** Maximum size of the file. */
  readonly maxBytes: number;
  /** Makes room for the bytes of the file, or ends the upload by throwing. */
  readonly arrival: Arrival;
  /** Throws where a field is wrong or missing. */
  readonly readFields: (fields: ReadonlyMap<string, string>) => T;
}

/** A form has few parts, and each but the file is short. */
const [MAX_PARTS, MAX_FIELD] = [16, 2000];
/** Maximum size of a form's fields. */
export const FORM_BYTES = 65_536;

/**
 * Reads a form to its end. The file is kept only where all of the form is right.
 *
 * @throws ApiError 400, 413 or 415; MosError `busy` where there is no room.
 */
export async function readUpload<T>(
  request: Request,
  { objects, maxBytes, arrival, readFields }: UploadOptions<T>,
): Promise<UploadedForm<T>> {
  const fields = new Map<string, string>();
  let filename = "";
  const files: StoredObject[] = [];
  let hasFile = false;
  async function* checked({ body, formEnd }: FormFile): AsyncGenerator<Uint8Array, void> {
    let bytes = 0;
    for await (const chunk of body) {
      bytes += chunk.length;
      await arrival.reserve(bytes);
      yield chunk;
    }
    await formEnd;
    readFields(fields);
  }
  await readMultipart(request, {
    // a little more than the file itself
    maxBytes: maxBytes + FORM_BYTES,
    maxParts: MAX_PARTS,
    fields: {
      maxBytes: MAX_FIELD,
      take(name, value) {
        if (fields.has(name)) throw invalidForm(`${name} occurs twice; send it once`);
        fields.set(name, value);
      },
    },
    async onFile(part) {
      if (part.field !== "file" || hasFile)
        throw invalidForm("the form must have exactly one file, named file");
      hasFile = true;
      filename = storable((part.filename ?? "").split(/[/\\]/).at(-1)?.slice(0, 255) ?? "");
      files.push(await objects.put(checked(part), arrival));
    },
    drains: true,
  });
  const [file] = files;
  if (file === undefined) throw invalidForm("the form has no file; send one named file");
  return { fields: readFields(fields), filename, file };
}
