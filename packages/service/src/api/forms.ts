// Forms with files, which go to the storage as they arrive: data to train on, and adapters.
import { z } from "@hono/zod-openapi";
import { MosError } from "mixture-of-shards";
import { ApiError, apiRoute, invalidForm, readMultipart, type ServerApp } from "mixture-of-shards/server";
import { describeIssues } from "mixture-of-shards-core/common";
import { storable } from "#database";
import type { StoredObject } from "#objects";
import { toLimits } from "#store";
import { type Context, invalid, type ServiceEnv, withHttpErrors } from "./routes.ts";

/** The tenant's files take too much. `param` is the field of the request. */
export const tooLarge =
  (param: string) =>
  (error: unknown): never => {
    if (!(error instanceof MosError) || error instanceof ApiError || error.code !== "busy") throw error;
    throw new ApiError(error.message, { status: 413, code: "storage_limit_exceeded", param, cause: error });
  };

/** A form has few parts, and each but the files is short. */
const [MAX_PARTS, MAX_FIELD] = [16, 2000];
/** Maximum size of a form's fields. */
const FORM_BYTES = 65_536;
/** Bytes of a form that is read to its end also where it cannot fit: a client that is still writing hears no answer. */
const READ_BYTES = 64e6;

/** A form that has arrived. */
interface Form<Name extends string, Fields> {
  readonly files: Readonly<Record<Name, StoredObject & { readonly filename: string }>>;
  readonly fields: Fields;
  /** Bytes of all files. */
  readonly bytes: number;
  /** Keeps the files until rows name them. */
  readonly arrival: string;
}

/** A route that takes a form. */
interface FormRoute<Name extends string, Fields extends z.ZodObject, Answer extends z.ZodType> {
  readonly path: string;
  readonly summary: string;
  /** Names of the files, each of which has to be there, with their descriptions. */
  readonly files: Readonly<Record<Name, string>>;
  /** Name of the form in the API's document. */
  readonly name: string;
  readonly fields: Fields;
  readonly ok: readonly [schema: Answer, description: string];
  readonly answer: (
    form: Form<Name, z.output<Fields>>,
    variables: Context["var"],
  ) => Promise<z.output<Answer>>;
}

type Receiver = Pick<ServiceEnv, "contents" | "objects" | "maxFileBytes">;

/** Adds a route that takes a form. What is wrong with it leaves nothing in the storage. */
export function addForm<Name extends string, Fields extends z.ZodObject, Answer extends z.ZodType>(
  app: ServerApp,
  service: Receiver,
  route: FormRoute<Name, Fields, Answer>,
): void {
  const { path, summary, files, name, fields } = route;
  const [schema, description] = route.ok;
  const entries = Object.entries<string>(files);
  const binary = z.string().openapi({ format: "binary" });
  const parts = Object.fromEntries(entries.map(([file, about]) => [file, binary.describe(about)]));
  const [[param = ""] = []] = entries;
  // the document has the form, which is not read by its schema but as it arrives
  app.openAPIRegistry.registerPath(
    apiRoute({
      ...{ method: "post", path, summary },
      request: {
        body: { content: { "multipart/form-data": { schema: fields.extend(parts).openapi(name) } } },
      },
      responses: { 200: { description, content: { "application/json": { schema } } } },
    }),
  );
  app.post(path, async (context) => {
    const received = receiveForm(service, route, context).catch(tooLarge(param));
    return context.json(await withHttpErrors(received, param), 200);
  });
}

/** Reads a form to its end while it may be kept, and uses it. Throws ApiError 400 or 415; MosError `busy` where there is no room. */
async function receiveForm<Name extends string, Fields extends z.ZodObject, Answer extends z.ZodType>(
  { contents, objects, maxFileBytes }: Receiver,
  { files: wanted, fields: schema, answer }: FormRoute<Name, Fields, Answer>,
  { req: { raw: request }, var: variables }: Context,
): Promise<z.output<Answer>> {
  const { key } = variables;
  const length = Number(request.headers.get("content-length") ?? 0);
  const arrival = contents.arrive(key.name, {
    maxStorageBytes: toLimits(key).max_storage_bytes,
    mostBytes: length > 0 ? length : undefined,
  });
  const names = Object.keys(wanted);
  const texts: Record<string, string> = {};
  const files: Record<string, StoredObject & { readonly filename: string }> = {};
  const taken = new Set<string>();
  let bytes = 0;
  async function* checked(body: AsyncIterable<Uint8Array>, formEnd: Promise<void>) {
    for await (const chunk of body) {
      bytes += chunk.length;
      await arrival.reserve(bytes);
      yield chunk;
    }
    await formEnd;
    readFields(schema, texts);
  }
  try {
    if (length > READ_BYTES) await arrival.reserve(length - FORM_BYTES);
    await readMultipart(request, {
      // a little more than the file itself
      maxBytes: maxFileBytes + FORM_BYTES,
      maxParts: MAX_PARTS,
      fields: {
        maxBytes: MAX_FIELD,
        take(name, value) {
          if (Object.hasOwn(texts, name)) throw invalidForm(`${name} occurs twice; send it once`);
          texts[name] = value;
        },
      },
      async onFile(part) {
        if (!names.includes(part.field) || taken.has(part.field))
          throw invalidForm(`the form must have one file named ${names.join(", and one named ")}`);
        taken.add(part.field);
        const filename = storable((part.filename ?? "").split(/[/\\]/).at(-1)?.slice(0, 255) ?? "");
        files[part.field] = { filename, ...(await objects.put(checked(part.body, part.formEnd), arrival)) };
      },
      drains: true,
    });
    const absent = names.find((name) => !taken.has(name));
    if (absent !== undefined) throw invalidForm(`the form has no file named ${absent}; send one`);
    const form = { files: files as Form<Name, never>["files"], fields: readFields(schema, texts) };
    return await answer({ ...form, bytes, arrival: arrival.id }, variables);
  } finally {
    await arrival.end().catch(() => undefined); // of a database that is away: it is forgotten after a while
  }
}

/** @throws ApiError 400 for fields that are wrong or missing. */
function readFields<Fields extends z.ZodObject>(schema: Fields, texts: Readonly<Record<string, string>>) {
  const { data, error } = schema.safeParse(texts);
  if (error === undefined) return data;
  const [field = ""] = error.issues[0]?.path ?? [];
  throw invalid(`the form: ${describeIssues(error, texts)}`, String(field).replace(/\[.*/, ""));
}
