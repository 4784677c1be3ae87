// The form of sampled answers, as OpenAI's API writes it.
import { z } from "zod";
import { omitUndefined, parseWith } from "#core";
import type { ResponseFormat } from "#text";

const responseFormatSchema = z.discriminatedUnion("type", [
  z.strictObject({ type: z.literal("text") }),
  z.strictObject({ type: z.literal("json_object") }),
  z.strictObject({
    type: z.literal("json_schema"),
    json_schema: z.strictObject({
      name: z.string().min(1).max(64),
      description: z.string().optional(),
      schema: z.record(z.string(), z.unknown()),
      strict: z.boolean().nullish(),
    }),
  }),
]);

/** @throws MosError `bad_option` naming the field */
export function parseResponseFormat(value: unknown, where = "responseFormat"): ResponseFormat {
  const format = parseWith(responseFormatSchema, value, { code: "bad_option", where });
  if (format.type !== "json_schema") return format;
  const { name, description, schema } = format.json_schema;
  return { type: "json_schema", name, schema, ...omitUndefined({ description }) };
}
