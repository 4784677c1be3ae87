// What a chat asks of its answer, as programs write it: schemas of zod and of libraries like it become JSON Schema.
import { z } from "zod";
import { errorText, kinds, MosError, type OptionKinds, parseWith } from "#common";
import {
  customFields,
  findRepeatedTool,
  functionFields,
  grammarFields,
  type ResponseFormat,
  type Tool,
  type ToolChoice,
  toCustomTool,
  toFunctionTool,
} from "#text";
import { invalid, requestKinds } from "./requests.ts";
import type { ChatRequest, StandardJsonSchema } from "./types.ts";

export const chatKinds: OptionKinds<ChatRequest> = {
  ...requestKinds,
  tools: kinds.array.optional(),
  toolChoice: z.union([z.string(), kinds.object]).optional(),
  parallelToolCalls: z.boolean().optional(),
  responseFormat: z.union([kinds.object, kinds.function]).optional(),
};

const toolList = z.array(
  z.discriminatedUnion("type", [
    z.object({ type: z.literal("function"), ...functionFields }),
    z.object({ type: z.literal("custom"), ...customFields, grammar: z.object(grammarFields).optional() }),
  ]),
);

/**
 * A chat's options in the form that prompts and grammars are made of. Throws `bad_option` for options that contradict each other,
 * and for schemas that cannot be read.
 */
export function resolveChatOptions({
  tools: given = [],
  toolChoice,
  parallelToolCalls: parallel,
  responseFormat,
  grammar,
}: Pick<ChatRequest, "tools" | "toolChoice" | "parallelToolCalls" | "responseFormat" | "grammar">) {
  if (grammar !== undefined && (given.length > 0 || responseFormat !== undefined))
    throw invalid(
      "grammar conflicts with tools and responseFormat, which have grammars of their own; omit one of them",
    );
  const tools = readTools(given);
  return {
    tools,
    toolChoice: checkedChoice(
      toolChoice,
      tools.map(({ name }) => name),
    ),
    parallel,
    responseFormat: responseFormat === undefined ? undefined : plainFormat(responseFormat),
  };
}

function readTools(given: readonly Tool[]): readonly Tool[] {
  const plain = given.map((tool, i) =>
    "parameters" in tool
      ? { ...tool, parameters: toJsonSchema(tool.parameters, `tools.${i}.parameters`) }
      : tool,
  );
  const read = parseWith(toolList, plain, { code: "bad_option", where: "tools" });
  const repeated = read[findRepeatedTool(read) ?? -1];
  if (repeated !== undefined)
    throw invalid(`tools: two are named ${JSON.stringify(repeated.name)}; rename one`);
  return read.map((tool) =>
    tool.type === "function" ? toFunctionTool(tool) : toCustomTool(tool, tool.grammar),
  );
}

function checkedChoice(given: ChatRequest["toolChoice"], names: readonly string[]): ToolChoice | undefined {
  const choice = typeof given === "string" ? { mode: given } : given;
  if (choice === undefined) return undefined;
  if (!["none", "auto", "required"].includes(choice.mode))
    throw invalid(`toolChoice: ${JSON.stringify(choice.mode)} is invalid; give none, auto or required`);
  const unknown = choice.names?.find((name) => !names.includes(name));
  if (unknown !== undefined) throw invalid(`toolChoice: there is no tool ${JSON.stringify(unknown)}`);
  if (choice.mode === "required" && names.length === 0)
    throw invalid("toolChoice: required needs tools that could be called");
  return choice;
}

function plainFormat(given: NonNullable<ChatRequest["responseFormat"]>): ResponseFormat {
  if (isSchema(given)) return { type: "json_schema", schema: toJsonSchema(given, "responseFormat") };
  if (given.type === "text" || given.type === "json_object") return given;
  if (given.type === "json_schema")
    return { ...given, schema: toJsonSchema(given.schema, "responseFormat: schema") };
  const { type } = given as { readonly type?: unknown };
  throw invalid(
    `responseFormat: type is ${JSON.stringify(type)}; give text, json_object or json_schema, or a schema of zod`,
  );
}

const isSchema = (value: unknown): value is StandardJsonSchema =>
  ((typeof value === "object" && value !== null) || typeof value === "function") && "~standard" in value;

const isZod = (value: unknown): value is z.core.$ZodType => isSchema(value) && "_zod" in value;

/** JSON Schema as it is given, or of what a schema takes. */
function toJsonSchema(given: unknown, where: string): unknown {
  if (!isSchema(given)) return given;
  const { jsonSchema, vendor } = given["~standard"];
  try {
    if (jsonSchema !== undefined) return closed(jsonSchema.input({ target: "draft-2020-12" }));
    if (isZod(given)) return closed(z.toJSONSchema(given, { io: "input" }));
  } catch (cause) {
    throw new MosError("bad_option", `${where}: it has no JSON Schema: ${errorText(cause)}`, { cause });
  }
  throw invalid(`${where}: this version of ${vendor} gives no JSON Schema; pass a JSON Schema instead`);
}

/**
 * A schema whose objects have no other properties than those it names: what it takes beside them it would drop. Objects of an
 * intersection are left as they are, since each would forbid the others' properties.
 */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== "object" || schema === null) return schema;
  const entries = Object.entries(schema).map(([key, value]) => [key, closedWithin(key, value)] as const);
  const { properties, additionalProperties, allOf } = schema as Readonly<Record<string, unknown>>;
  const isOpen = typeof properties === "object" && additionalProperties === undefined && allOf === undefined;
  return Object.fromEntries(isOpen ? [...entries, ["additionalProperties", false]] : entries);
}

/** The value of a keyword: schemas by name, a schema or several, or none. */
function closedWithin(keyword: string, value: unknown): unknown {
  if (!["properties", "patternProperties", "$defs"].includes(keyword))
    return ["enum", "const", "default", "examples", "allOf"].includes(keyword) ? value : closed(value);
  return Object.fromEntries(Object.entries(value ?? {}).map(([name, schema]) => [name, closed(schema)]));
}
