// Tools of the Responses API, which are flat and may be grouped in namespaces; and those that OpenAI runs itself, which no other
// server has.
import { z } from "@hono/zod-openapi";
import {
  customFields,
  functionFields,
  grammarFields,
  MAX_TOOLS,
  openaiName,
  type Tool,
  type ToolChoice,
  toCustomTool,
  toFunctionTool,
} from "mixture-of-shards-core/text";
import { type ApiError, unsupportedValue } from "../errors.ts";
import { optional } from "../request.ts";
import { checkTools, toToolChoice } from "../tools.ts";

const functionTool = z.object({ type: z.literal("function"), ...functionFields });

const customTool = z.object({
  type: z.literal("custom"),
  ...customFields,
  format: z
    .discriminatedUnion("type", [
      z.object({ type: z.literal("text") }),
      z.object({ type: z.literal("grammar"), ...grammarFields }),
    ])
    .nullish(),
});

const namespaceTool = z.object({
  type: z.literal("namespace"),
  name: openaiName,
  description: z.string().nullish(),
  tools: z.array(z.union([functionTool, customTool])),
});

const isHosted = (type: string): boolean => !["function", "custom", "namespace"].includes(type);

/** One that the provider of a model runs. */
const hostedTool = z.object({
  type: z.string().min(1).max(100).refine(isHosted, "a tool of this type, with its fields"),
});

export const toolFields = {
  tools: optional(
    z.array(z.union([functionTool, customTool, namespaceTool, hostedTool])).max(MAX_TOOLS),
    "Functions, custom tools and namespaces of them. Tools that OpenAI runs, such as web_search, are skipped while others are left; the header x-skipped-tools names them.",
  ),
  tool_choice: z
    .union([
      z.enum(["none", "auto", "required"]),
      z.object({
        type: z.literal("allowed_tools"),
        mode: z.enum(["auto", "required"]),
        tools: z.array(z.object({ type: z.string(), name: z.string().optional() })),
      }),
      z.object({ type: z.string(), name: z.string().optional() }),
    ])
    .optional(),
  parallel_tool_calls: optional(z.boolean(), "False allows at most one call. Default: true."),
};

type ToolFields = z.output<z.ZodObject<typeof toolFields>>;
type GivenTool = NonNullable<ToolFields["tools"]>[number];
type OwnTool = z.output<typeof functionTool> | z.output<typeof customTool>;

/** Names by which the model knows tools of namespaces, and what they stand for. */
export type FlatNames = ReadonlyMap<string, { readonly name: string; readonly namespace: string }>;

const flatName = (namespace: string, name: string): string => `${namespace}__${name}`;

/** The model's name of a called tool. */
export const toFlatName = (
  { name, namespace }: { readonly name: string; readonly namespace?: string | null | undefined },
  names: FlatNames,
): string => {
  const flat = flatName(namespace ?? "", name);
  return names.has(flat) ? flat : name;
};

/** The tools of a request as a model takes them. */
export type ResponseTools = ReturnType<typeof readTools>;

const isOwn = (tool: GivenTool): tool is OwnTool => tool.type === "function" || tool.type === "custom";
const isNamespace = (tool: GivenTool): tool is z.output<typeof namespaceTool> => tool.type === "namespace";

function toTool(tool: OwnTool): Tool {
  if (tool.type === "function") return toFunctionTool(tool);
  const { format } = tool;
  if (format?.type !== "grammar") return toCustomTool(tool, undefined);
  return toCustomTool(tool, { syntax: format.syntax, definition: format.definition });
}

/**
 * Reads the tools of a request: namespaces are flattened, and tools that OpenAI runs are skipped. `shown` are those that are kept, as
 * they were given, and `skipped` the types of the others.
 *
 * @throws ApiError 400 where such a tool is the only one, or is demanded; and for a name that stands twice, or for none.
 */
export function readTools(fields: ToolFields) {
  const { tools: given = [], tool_choice, parallel_tool_calls: parallel = true } = fields;
  const names = new Map<string, { readonly name: string; readonly namespace: string }>();
  const tools: Tool[] = [];
  const places: string[] = [];
  const add = (tool: OwnTool, place: string, namespace?: string): void => {
    const name = namespace === undefined ? tool.name : flatName(namespace, tool.name);
    if (namespace !== undefined) names.set(name, { name: tool.name, namespace });
    tools.push({ ...toTool(tool), name });
    places.push(place);
  };
  for (const [i, tool] of given.entries()) {
    if (isOwn(tool)) add(tool, `tools[${i}]`);
    if (!isNamespace(tool)) continue;
    for (const [j, inner] of tool.tools.entries()) add(inner, `tools[${i}].tools[${j}]`, tool.name);
  }
  const isShown = (tool: GivenTool): boolean => isOwn(tool) || isNamespace(tool);
  const skipped = given.filter((tool) => !isShown(tool)).map(({ type }) => type);
  if (skipped[0] !== undefined && tools.length === 0 && tool_choice !== "none")
    throw unsupportedTool(skipped[0], `tools[${given.findIndex((tool) => !isShown(tool))}]`);
  checkTools(tools, places);
  const choice = readChoice(tool_choice, tools);
  return { tools, choice, parallel, places, names, shown: given.filter(isShown), skipped };
}

/** @returns 400 for a tool that the provider of a model runs. */
export const unsupportedTool = (type: string, param: string): ApiError =>
  unsupportedValue(
    `${param} is ${JSON.stringify(type.slice(0, 100))}, a tool that this server does not run; use functions or custom tools`,
    param,
  );

function readChoice(choice: ToolFields["tool_choice"], tools: readonly Tool[]): ToolChoice {
  const options = { tools, field: "tool_choice" };
  if (typeof choice !== "object") return toToolChoice({ mode: choice }, options);
  const { mode, tools: wanted } = "mode" in choice ? choice : { mode: "required" as const, tools: [choice] };
  // those that were skipped cannot be called
  const named = wanted.flatMap(({ type, name = "" }) =>
    type === "function" || type === "custom" ? [{ type, name } as const] : [],
  );
  if (!("mode" in choice) && named.length === 0) throw unsupportedTool(choice.type, options.field);
  return toToolChoice({ mode, named }, options);
}
