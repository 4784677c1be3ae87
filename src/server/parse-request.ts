import { z } from "zod";
import { MosError, parseWith } from "#core";
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

/**
 * The field of OpenAI's API on the way to a value that the schema knows only to refuse: it describes it so. `tools` of
 * `tools.0.type`, or `messages.0.audio`.
 */
function unsupportedOn(path: readonly string[], schema: z.ZodObject): string | undefined {
  let at: unknown = schema;
  for (const [i, key] of path.entries()) {
    if (at instanceof z.ZodObject) at = at.shape[key];
    else if (at instanceof z.ZodArray) at = at.element;
    else return undefined;
    if (at instanceof z.ZodType && at.description?.startsWith("Not supported") === true)
      return path.slice(0, i + 1).join(".");
  }
  return undefined;
}

function refusalOf(schema: z.ZodObject, error: MosError): Refusal {
  const issues = error.cause instanceof z.ZodError ? error.cause.issues : [];
  const pathOf = ({ path }: { readonly path: readonly PropertyKey[] }): readonly string[] => path.map(String);
  const refuse = (message: string, reason: string, field: string): Refusal =>
    new Refusal(message, { status: 400, reason, field: field === "" ? undefined : field, cause: error });
  // before others: a message that calls tools need not have a content
  const unsupported = issues
    .map((issue) => unsupportedOn(pathOf(issue), schema))
    .find((field) => field !== undefined);
  if (unsupported !== undefined)
    return refuse(
      `${unsupported} is not supported by this server; leave it out`,
      "unsupported_parameter",
      unsupported,
    );
  const [issue] = issues;
  const path = issue === undefined ? [] : pathOf(issue);
  if (issue?.code === "unrecognized_keys") {
    const field = [...path, issue.keys[0]].join(".");
    return refuse(`${field} is not a known field; leave it out`, "unknown_parameter", field);
  }
  const reason = issue?.code === "invalid_type" ? "invalid_type" : "invalid_value";
  return refuse(error.message, reason, path.join("."));
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
