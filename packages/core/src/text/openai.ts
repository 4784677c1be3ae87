// Messages, tools and forms of an answer as OpenAI's APIs write them, and the same as data. Chat nests the fields of a tool or a schema;
// the Responses API and the former `functions` have them flat.
import { z } from "zod";
import { errorText, isRecord, omitUndefined, parseJson, parseWith } from "#common";
import type { CustomTool, FunctionTool, ResponseFormat, Tool, ToolCall } from "./messages.ts";

/** Roles of messages; `developer` and `function` are names of `system` and `tool`. */
export const openaiRole = z.enum(
  ["system", "developer", "user", "assistant", "tool", "function"],
  '"system", "user", "assistant" or "tool"',
);

/** A role as data. */
export function toRole(role: z.output<typeof openaiRole>): "system" | "user" | "assistant" | "tool" {
  if (role === "developer") return "system";
  return role === "function" ? "tool" : role;
}

/** Arguments of a call as JSON text: text of an object, the object itself, or "" for none. */
export const callArguments = z.unknown().transform((given, context): string => {
  if (isRecord(given)) return JSON.stringify(given);
  const reason = typeof given === "string" ? findProblem(given) : "";
  if (typeof given === "string" && reason === undefined) return given.trim() === "" ? "{}" : given;
  context.issues.push({ code: "custom", message: `an object as JSON${reason}`, input: given });
  return z.NEVER;
});

function findProblem(text: string): string | undefined {
  if (text.trim() === "") return undefined;
  try {
    return isRecord(parseJson(text, { code: "bad_data", where: "arguments" })) ? undefined : "";
  } catch (error) {
    return ` (${errorText(error)})`;
  }
}

/** Writes a call as OpenAI does. */
export const writeCall = ({ type, id, ...call }: ToolCall) =>
  "input" in call
    ? { id, type: "custom" as const, custom: call }
    : { id, type: "function" as const, function: call };

/** Tools of a request, or of a line of data. OpenAI takes 128. */
export const MAX_TOOLS = 1000;

/** Name of a function, a custom tool or a schema. */
export const openaiName = z
  .string("a string")
  .regex(/^[a-zA-Z0-9_-]{1,64}$/, "a name of 1 to 64 letters, digits, underscores and hyphens");

const description = z.string("a string").nullish();

/** Fields of a function. */
export const functionFields = {
  name: openaiName,
  description,
  parameters: z
    .record(z.string(), z.unknown(), "a JSON Schema, which is an object")
    .nullish()
    .describe("JSON Schema of the arguments, an object. Default: no arguments."),
  strict: z
    .boolean("true or false")
    .nullish()
    .describe("Always enforce the schema, which must be in OpenAI's strict subset. Default: false."),
};

/** Fields of a tool that takes a text, but for the format of that text. */
export const customFields = { name: openaiName, description };

/** Fields of a grammar of the text that a custom tool takes. */
export const grammarFields = {
  syntax: z.enum(["lark", "regex"], '"lark" or "regex"'),
  definition: z.string("a string").min(1, "a grammar"),
};

/** Format of a custom tool's text, whose grammar is an object of its own in a chat. */
export const customFormat = z.discriminatedUnion(
  "type",
  [
    z.strictObject({ type: z.literal("text") }),
    z.strictObject({ type: z.literal("grammar"), grammar: z.strictObject(grammarFields) }),
  ],
  '"text" or "grammar"',
);

/** A function as data. Arguments are an object, so parameters without a type get that one. */
export function toFunctionTool({
  name,
  description,
  parameters,
  strict,
}: z.output<z.ZodObject<typeof functionFields>>): FunctionTool {
  const isTyped = parameters == null || "type" in parameters;
  return {
    type: "function",
    name,
    ...omitUndefined({
      description: description ?? undefined,
      parameters: isTyped ? (parameters ?? undefined) : { type: "object", ...parameters },
      strict: strict ?? undefined,
    }),
  };
}

/** A custom tool as data, without a grammar where its text is free. */
export function toCustomTool(
  { name, description }: z.output<z.ZodObject<typeof customFields>>,
  grammar: CustomTool["grammar"],
): CustomTool {
  return { type: "custom", name, ...omitUndefined({ description: description ?? undefined, grammar }) };
}

/** Index of the first tool whose name an earlier one has; undefined where all differ. */
export function findRepeatedTool(tools: readonly Pick<Tool, "name">[]): number | undefined {
  const names = new Set<string>();
  const index = tools.findIndex(({ name }) => names.size === names.add(name).size);
  return index < 0 ? undefined : index;
}

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

const MEDIA = [
  ["an image", /^(?:image|image_url|image_file|input_image)$/],
  ["audio", /^(?:audio|audio_url|input_audio)$/],
  ["a video", /^(?:video|video_url)$/],
  ["a file", /^(?:file|input_file|document)$/],
] as const;

/** Maximum number of parts that are checked; an invalid list may have millions. */
const LOOKED_AT = 1000;

/**
 * The first image, sound or file among the parts of a message's content, with its description for messages: `an image (type
 * "image_url")`; undefined where there is none.
 */
export function mediaPart(content: unknown): { readonly index: number; readonly what: string } | undefined {
  if (!Array.isArray(content)) return undefined;
  for (const [index, part] of content.slice(0, LOOKED_AT).entries()) {
    const type: unknown = part?.type;
    const [kind] = MEDIA.find(([, types]) => typeof type === "string" && types.test(type)) ?? [];
    if (kind !== undefined) return { index, what: `${kind} (type "${type}")` };
  }
  return undefined;
}
