// Tools of a request: OpenAI's forms of tools and of the choice between them, and the same as data.
import { z } from "@hono/zod-openapi";
import {
  customFields,
  customFormat,
  findRepeatedTool,
  functionFields,
  MAX_TOOLS,
  type Tool,
  type ToolChoice,
  toCustomTool,
  toFunctionTool,
} from "mixture-of-shards-core/text";
import { ApiError, invalidValue } from "./errors.ts";
import { optional, unused } from "./request.ts";

const functionSchema = z.strictObject(functionFields);
const customSchema = z.strictObject({ ...customFields, format: customFormat.optional() });

const toolSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("function"),
    function: functionSchema,
    cache_control: unused(z.unknown()),
  }),
  z.strictObject({ type: z.literal("custom"), custom: customSchema, cache_control: unused(z.unknown()) }),
]);

const named = z.strictObject({ name: z.string() });
const namedTool = [
  z.strictObject({ type: z.literal("function"), function: named }),
  z.strictObject({ type: z.literal("custom"), custom: named }),
] as const;

const toolChoice = z.union([
  z.enum(["none", "auto", "required"]),
  z.discriminatedUnion("type", [
    ...namedTool,
    z.strictObject({
      type: z.literal("allowed_tools"),
      allowed_tools: z.strictObject({
        mode: z.enum(["auto", "required"]),
        tools: z.array(z.discriminatedUnion("type", [...namedTool])).min(1),
      }),
    }),
  ]),
]);

export const toolFields = {
  tools: optional(z.array(toolSchema).max(MAX_TOOLS), "Functions and custom tools."),
  tool_choice: optional(toolChoice, "Default: auto with tools, else none."),
  parallel_tool_calls: optional(z.boolean(), "Several calls in one answer. Default: true."),
  functions: optional(z.array(functionSchema).max(MAX_TOOLS), "The older form of tools."),
  function_call: optional(z.union([z.enum(["none", "auto"]), named]), "The older form of tool_choice."),
};

type ToolFields = z.output<z.ZodObject<typeof toolFields>>;

export type RequestedTools = ReturnType<typeof readTools>;

/** @throws ApiError 400 for tools of one name, a choice that names none of them, and a mix with the older fields. */
export function readTools(fields: ToolFields) {
  const { parallel_tool_calls: parallel = true } = fields;
  checkForm(fields);
  // then answers have `function_call`
  const isLegacy = (fields.functions ?? []).length > 0;
  const tools = toTools(fields);
  // where each tool stands in the request, for errors: its fields follow
  const places = tools.map(({ type }, i) => (isLegacy ? `functions[${i}]` : `tools[${i}].${type}`));
  checkTools(tools, places);
  const wanted = isLegacy ? toNewForm(fields.function_call) : fields.tool_choice;
  const choice = toToolChoice(toWanted(wanted), { tools, field: isLegacy ? "function_call" : "tool_choice" });
  // then answers end with "stop", as OpenAI's do
  const isNamed = typeof wanted === "object" && wanted.type !== "allowed_tools";
  return { tools, choice, places, parallel: parallel && !isNamed && !isLegacy, isNamed, isLegacy };
}

function toTools({ tools = [], functions = [] }: ToolFields): readonly Tool[] {
  if (functions.length > 0) return functions.map(toFunctionTool);
  return tools.map((one) => {
    if (one.type === "function") return toFunctionTool(one.function);
    const { format } = one.custom;
    return toCustomTool(one.custom, format?.type === "grammar" ? format.grammar : undefined);
  });
}

/** The older fields with their neutral values say nothing beside the newer ones. */
function checkForm({ tools = [], functions = [], tool_choice, function_call }: ToolFields): void {
  if (tools.length > 0 && functions.length > 0)
    throw invalidValue("functions is the older form of tools; send one of them", "functions");
  if (functions.length > 0 && tool_choice !== undefined && tool_choice !== "auto" && tool_choice !== "none")
    throw invalidValue("tool_choice chooses between tools, not functions; use function_call", "tool_choice");
  if (functions.length === 0 && typeof function_call === "object")
    throw invalidValue(
      "function_call chooses between functions, and there are none; use tool_choice for tools",
      "function_call",
    );
}

const toNewForm = (choice: ToolFields["function_call"]): ToolFields["tool_choice"] =>
  typeof choice === "object" ? { type: "function", function: choice } : choice;

/** @returns 400 for a function whose parameters cannot be enforced, in OpenAI's words. */
export const invalidParameters = (
  { name }: Tool,
  { place, reason, cause }: { readonly place: string; readonly reason: string; readonly cause?: unknown },
): ApiError =>
  new ApiError(`Invalid schema for function '${name}': ${reason}`, {
    status: 400,
    code: "invalid_function_parameters",
    param: `${place}.parameters`,
    cause,
  });

/** @throws ApiError 400 for parameters that are no object, and for the second tool of a name. */
export function checkTools(tools: readonly Tool[], places: readonly string[]): void {
  for (const [index, tool] of tools.entries()) {
    if (tool.type !== "function") continue;
    const { type = "object" } = tool.parameters ?? {};
    if (type === "object") continue;
    const reason = `the schema's type must be "object", not ${JSON.stringify(type).slice(0, 100)}`;
    throw invalidParameters(tool, { place: places[index] ?? "tools", reason });
  }
  const repeated = findRepeatedTool(tools);
  const tool = tools[repeated ?? -1];
  if (repeated === undefined || tool === undefined) return;
  const name = `${places[repeated]}.name`;
  const first = tools.findIndex((other) => other.name === tool.name);
  throw invalidValue(
    `${name} is ${JSON.stringify(tool.name)}, which tool ${first} has already; give each a name of its own`,
    name,
  );
}

type NamedTool = { readonly type: Tool["type"]; readonly name: string };

const toNamed = (one: z.output<(typeof namedTool)[number]>): NamedTool =>
  one.type === "function"
    ? { type: one.type, name: one.function.name }
    : { type: one.type, name: one.custom.name };

function toWanted(choice: ToolFields["tool_choice"]): WantedCalls {
  if (typeof choice !== "object") return { mode: choice };
  if (choice.type !== "allowed_tools") return { mode: "required", named: [toNamed(choice)] };
  const { mode, tools } = choice.allowed_tools;
  return { mode, named: tools.map(toNamed) };
}

/** What a request says of calls: `named` are the tools to choose from, where it names some. */
interface WantedCalls {
  readonly mode: ToolChoice["mode"] | undefined;
  readonly named?: readonly NamedTool[];
}

/** @throws ApiError 400 where a call is demanded and there is nothing to call, and for a tool that is not among those of the request. */
export function toToolChoice(
  { mode, named }: WantedCalls,
  { tools, field }: { readonly tools: readonly Tool[]; readonly field: string },
): ToolChoice {
  if (named === undefined && tools.length > 0) return { mode: mode ?? "auto" };
  if (named === undefined && mode === "required")
    throw invalidValue(`${field} demands a call, and there are no tools; send tools`, field);
  if (named === undefined) return { mode: "none" };
  for (const { type, name } of named)
    if (!tools.some((tool) => tool.type === type && tool.name === name))
      throw invalidValue(
        `${field} names the ${type} ${JSON.stringify(name.slice(0, 100))}, which is not among the tools of the request`,
        field,
      );
  return { mode: mode ?? "auto", names: [...new Set(named.map(({ name }) => name))] };
}
