// Tools as OpenAI's APIs write them. Chat nests the fields of a tool by its type; the Responses API and the former `functions`
// have them flat.
import { z } from "zod";
import { omitUndefined } from "#common";
import type { CustomTool, FunctionTool, Tool } from "../messages.ts";

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
