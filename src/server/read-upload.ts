// The two files of an adapter out of a request's body: a form, or JSON. Both are large, and neither holds others up.
import { randomUUID } from "node:crypto";
import { z } from "@hono/zod-openapi";
import type { AdapterFiles } from "./adapter-store.ts";
import { decodeBase64 } from "./base64.ts";
import { checkJsonType, fieldsOf, readBody } from "./body.ts";
import { liftLongPart } from "./long-part.ts";
import { liftLongText } from "./long-text.ts";
import { parseRequest } from "./parse-request.ts";
import { Refusal } from "./refusal.ts";

/** The body of POST /v1/adapters as JSON. As multipart/form-data the two files are fields of the same names. */
export const uploadRequest = z
  .strictObject({
    name: z.string().describe("The model name by which it is called."),
    adapter_config: z.record(z.string(), z.unknown()).describe("adapter_config.json"),
    adapter_model: z
      .string()
      .openapi({ format: "byte" })
      .describe("adapter_model.safetensors, in base64 without line breaks and escapes"),
  })
  .openapi("AdapterUpload");

export interface Upload {
  readonly name: string;
  readonly files: AdapterFiles;
}

export interface UploadLimits {
  /** Of an upload's body. */
  readonly uploadBytes: number;
  /** Of a body of JSON without the tensors. */
  readonly bodyBytes: number;
}

const wrong = (message: string, reason: string, field?: string): Refusal =>
  new Refusal(message, { status: 400, reason, field });

const missing = (field: string, what: string): Refusal =>
  wrong(`${field} is missing; send ${what}`, "invalid_value", field);

const tooLarge = (bodyBytes: number, what: string): Refusal =>
  new Refusal(`beside ${what} the body is larger than the ${bodyBytes} bytes that are taken`, {
    status: 413,
    reason: "request_too_large",
  });

async function parseForm(form: Buffer, type: string): Promise<FormData> {
  const response = new Response(Uint8Array.from(form), { headers: { "content-type": type } });
  return response.formData().catch((cause) => {
    throw new Refusal("the request's body is no valid multipart/form-data", {
      status: 400,
      reason: "invalid_multipart",
      cause,
    });
  });
}

async function readForm(request: Request, { uploadBytes, bodyBytes }: UploadLimits): Promise<Upload> {
  const type = request.headers.get("content-type") ?? "";
  const body = await readBody(request, uploadBytes);
  const placeholder = randomUUID();
  const { rest, content } = await liftLongPart(Buffer.from(body.buffer), type, placeholder);
  if (rest.length > bodyBytes) throw tooLarge(bodyBytes, "adapter_model");
  const form = await parseForm(rest, type);
  const file = async (field: string, what: string): Promise<Buffer> => {
    const value = form.get(field);
    if (value === null) throw missing(field, what);
    return typeof value === "string" ? Buffer.from(value) : Buffer.from(await value.arrayBuffer());
  };
  const name = form.get("name");
  if (typeof name !== "string") throw missing("name", "the adapter's name");
  const config = await file("adapter_config", "adapter_config.json");
  const tensors = await file("adapter_model", "adapter_model.safetensors");
  if (content === undefined) return { name, files: { config, tensors } };
  if (tensors.toString() === placeholder) return { name, files: { config, tensors: content } };
  throw wrong(
    "a part of the form is longer than 64 kB; only adapter_model may be, and only once",
    "invalid_value",
  );
}

/** The tensors never become a text: to parse and check one of their length takes long, and all at once. */
async function readJson(request: Request, { uploadBytes, bodyBytes }: UploadLimits): Promise<Upload> {
  checkJsonType(request);
  const body = await readBody(request, uploadBytes);
  const placeholder = randomUUID();
  const { rest, text } = liftLongText(Buffer.from(body.buffer), placeholder);
  if (rest.length > bodyBytes) throw tooLarge(bodyBytes, "adapter_model in plain base64");
  const { name, adapter_config, adapter_model } = parseRequest(uploadRequest, fieldsOf(rest));
  if (text !== undefined && adapter_model !== placeholder)
    throw wrong(
      "a text of the body is longer than 64 kB; only adapter_model may be, in base64 without line breaks and escapes",
      "invalid_value",
    );
  const tensors = await decodeBase64(text ?? new TextEncoder().encode(adapter_model));
  if (tensors === undefined)
    throw wrong(
      "adapter_model is not base64 without line breaks and escapes",
      "invalid_value",
      "adapter_model",
    );
  return {
    name,
    files: { config: new TextEncoder().encode(`${JSON.stringify(adapter_config, null, 2)}\n`), tensors },
  };
}

/** @throws Refusal 400, 413, 415. */
export function readUpload(request: Request, limits: UploadLimits): Promise<Upload> {
  const isForm = request.headers.get("content-type")?.startsWith("multipart/form-data") === true;
  return isForm ? readForm(request, limits) : readJson(request, limits);
}
