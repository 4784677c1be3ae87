import { z } from "zod";
import { MosError } from "#core";
import { parseWith } from "#formats";
import { Refusal } from "./refusal.ts";

/** Far more than any real request holds, and few enough that a schema's complaints about each stay cheap. */
const MOST_VALUES = 50_000;

/** Counts what a schema would walk through; prompts have a check of their own. */
function checkExtent({ prompt: _prompt, ...fields }: Readonly<Record<string, unknown>>): void {
  const pending: unknown[] = [fields];
  for (let count = 0; pending.length > 0; count++) {
    const value = pending.pop();
    if (typeof value !== "object" || value === null) continue;
    const parts = Object.values(value);
    if (count + pending.length + parts.length > MOST_VALUES)
      throw new Refusal(`the request holds more than ${MOST_VALUES} values; send fewer messages`, {
        status: 400,
        reason: "invalid_value",
      });
    for (const part of parts) pending.push(part);
  }
}

/** Fields of OpenAI's API that the schema knows only to refuse: it describes them so. */
const isUnsupported = (schema: z.ZodObject, field: string): boolean =>
  schema.shape[field] instanceof z.ZodType &&
  schema.shape[field].description?.startsWith("Not supported") === true;

function refusalOf(schema: z.ZodObject, error: MosError): Refusal {
  const issue = error.cause instanceof z.ZodError ? error.cause.issues[0] : undefined;
  const path = issue?.path.map(String) ?? [];
  const refuse = (message: string, reason: string, field = path.join(".")): Refusal =>
    new Refusal(message, { status: 400, reason, field: field === "" ? undefined : field, cause: error });
  const [first = ""] = path;
  if (isUnsupported(schema, first))
    return refuse(`${first} is not supported by this server; leave it out`, "unsupported_parameter", first);
  if (issue?.code === "unrecognized_keys") {
    const field = [...path, issue.keys[0]].join(".");
    return refuse(`${field} is not a known field; leave it out`, "unknown_parameter", field);
  }
  return refuse(error.message, issue?.code === "invalid_type" ? "invalid_type" : "invalid_value");
}

/**
 * The fields of a request by its schema.
 *
 * @throws Refusal 400 that names the field.
 */
export function parseRequest<S extends z.ZodObject>(
  schema: S,
  fields: Readonly<Record<string, unknown>>,
): z.output<S> {
  checkExtent(fields);
  try {
    return parseWith(schema, fields, { code: "bad_option", where: "the request" });
  } catch (error) {
    if (!(error instanceof MosError)) throw error;
    throw refusalOf(schema, error);
  }
}
