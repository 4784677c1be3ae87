// What a chat asks of its answer, as programs write it: schemas of zod and of libraries like it become JSON Schema.
import { z } from "zod";
import { errorText, MosError, type OptionKinds } from "#core";
import type { FunctionTool, ResponseFormat, Tool, ToolChoice } from "#text";
import { requestKinds } from "./requests.ts";
import type { ChatRequest, StandardJsonSchema } from "./types.ts";

/** Kinds of a chat's options. */
export const chatKinds: OptionKinds<ChatRequest> = {
  ...requestKinds,
  tools: "array",
  toolChoice: "string|object",
  parallelToolCalls: "boolean",
  responseFormat: "object|function",
};

/** A chat's options in the form that prompts and grammars are made of. */
interface ResolvedChatOptions {
  readonly tools: readonly Tool[];
  readonly toolChoice: ToolChoice | undefined;
  readonly parallel: boolean | undefined;
  readonly responseFormat: ResponseFormat | undefined;
}

type Given = Pick<ChatRequest, "tools" | "toolChoice" | "parallelToolCalls" | "responseFormat" | "grammar">;

const invalid = (message: string): MosError => new MosError("bad_option", message);

/** Throws `bad_option` for options that contradict each other, and for schemas that cannot be read. */
export function resolveChatOptions({
  tools = [],
  toolChoice,
  parallelToolCalls: parallel,
  responseFormat,
  grammar,
}: Given): ResolvedChatOptions {
  if (grammar !== undefined && (tools.length > 0 || responseFormat !== undefined))
    throw invalid(
      "grammar conflicts with tools and responseFormat, which have grammars of their own; omit one of them",
    );
  const names = tools.map(toolName);
  const repeated = names.find((name, i) => names.indexOf(name) < i);
  if (repeated !== undefined) throw invalid(`tools: two are named ${JSON.stringify(repeated)}; rename one`);
  return {
    tools: tools.map(plainTool),
    toolChoice: checkedChoice(toolChoice, names),
    parallel,
    responseFormat: responseFormat === undefined ? undefined : plainFormat(responseFormat),
  };
}

function toolName(tool: Tool, index: number): string {
  if (tool.type !== "function" && tool.type !== "custom")
    throw invalid(`tools.${index}: type is ${JSON.stringify(tool["type"])}; give "function" or "custom"`);
  if (typeof tool.name === "string" && tool.name !== "") return tool.name;
  throw invalid(`tools.${index}: the name is missing`);
}

function plainTool(tool: Tool): Tool {
  if (tool.type !== "function" || tool.parameters === undefined) return tool;
  const parameters = toJsonSchema(tool.parameters, `tools: parameters of ${tool.name}`);
  return { ...tool, parameters: parameters as NonNullable<FunctionTool["parameters"]> };
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
