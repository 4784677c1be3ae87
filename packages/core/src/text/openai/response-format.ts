// The form of an answer as OpenAI's APIs write it. Chat nests the fields of a schema; the Responses API has them flat.
import { z } from "zod";
import { omitUndefined, parseWith } from "#common";
import type { ResponseFormat } from "../messages.ts";
import { openaiName } from "./tools.ts";

/** A JSON Schema. */
export const jsonSchema = z
  .union([z.record(z.string(), z.unknown()), z.boolean()])
  .describe("JSON Schema (2020-12). A keyword that cannot be enforced is refused.");

/** Fields of a form by a schema. */
export const jsonSchemaFields = {
  name: openaiName,
  description: z.string().nullish(),
  schema: jsonSchema.optional(),
  strict: z
    .boolean()
    .nullish()
    .describe("The schema must be in OpenAI's strict subset. It is enforced in any case. Default: false."),
};

/** The form by a schema, as chat has it. */
export const jsonSchemaFormat = z.strictObject({
  type: z.literal("json_schema"),
  json_schema: z.strictObject(jsonSchemaFields),
});

/** `response_format` of a chat. */
export const responseFormat = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text") }),
  z.strictObject({
    type: z.literal("json_object"),
    schema: jsonSchema.optional().describe("llama.cpp extension."),
  }),
  jsonSchemaFormat,
]);

/** A form by a schema, as data. */
export const toSchemaFormat = ({
  name,
  description,
  schema = {},
  strict,
}: z.output<z.ZodObject<typeof jsonSchemaFields>>): ResponseFormat => ({
  type: "json_schema",
  name,
  schema,
  ...omitUndefined({ description: description ?? undefined, strict: strict ?? undefined }),
});

/** A chat's form, as data. */
export function toResponseFormat(format: z.output<typeof responseFormat>): ResponseFormat {
  if (format.type === "json_schema") return toSchemaFormat(format.json_schema);
  if (format.type === "text" || format.schema === undefined) return { type: format.type };
  return { type: "json_schema", schema: format.schema };
}

/** @throws MosError `bad_option` naming the field */
export const parseResponseFormat = (value: unknown, where = "responseFormat"): ResponseFormat =>
  toResponseFormat(parseWith(responseFormat, value, { code: "bad_option", where }));
