// Tools of the Responses API, which are flat and may be grouped in namespaces; and those that OpenAI runs itself, which no other
// server has.
import { z } from "@hono/zod-openapi";
import type { Tool, ToolChoice } from "#text";
import { ApiError, invalidValue } from "../errors.ts";

const toolName = z
  .string()
  .regex(/^[a-zA-Z0-9_.-]{1,128}$/, "a name of 1 to 128 letters, digits, _, . and -");

const functionTool = z.object({
  type: z.literal("function"),
  name: toolName,
  description: z.string().nullish(),
  parameters: z.record(z.string(), z.unknown()).nullish(),
  strict: z.boolean().nullish(),
});

const customTool = z.object({
  type: z.literal("custom"),
  name: toolName,
  description: z.string().nullish(),
  format: z
    .discriminatedUnion("type", [
      z.object({ type: z.literal("text") }),
      z.object({
        type: z.literal("grammar"),
        syntax: z.enum(["lark", "regex"]),
        definition: z.string(),
      }),
    ])
    .nullish(),
});

const namespaceTool = z.object({
  type: z.literal("namespace"),
  name: toolName,
  description: z.string().nullish(),
  tools: z.array(z.union([functionTool, customTool])),
});

/** One that the provider of a model runs. */
const hostedTool = z.object({
  type: z
    .string()
    .min(1)
    .max(100)
    .refine(
      (type) => !["function", "custom", "namespace"].includes(type),
      "a tool of this type, with its fields",
    ),
});

/** Fields of a request about its tools. */
export const toolFields = {
  tools: z
    .array(z.union([functionTool, customTool, namespaceTool, hostedTool]))
    .max(4096)
    .optional()
    .describe(
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
  parallel_tool_calls: z.boolean().optional().describe("False allows at most one call. Default: true."),
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
): string =>
  namespace !== undefined && namespace !== null && names.has(flatName(namespace, name))
    ? flatName(namespace, name)
    : name;

/** The tools of a request as a model takes them. */
export interface RequestTools {
  readonly tools: readonly Tool[];
  readonly choice: ToolChoice;
  readonly names: FlatNames;
  /** Those that are kept, as they were given: the answer shows them. */
  readonly shown: readonly GivenTool[];
  /** Types of those that were skipped. */
  readonly skipped: readonly string[];
}

const isOwn = (tool: GivenTool): tool is OwnTool => tool.type === "function" || tool.type === "custom";
const isNamespace = (tool: GivenTool): tool is z.output<typeof namespaceTool> => tool.type === "namespace";

function toTool(tool: OwnTool, name = tool.name): Tool {
  const described = { name, description: tool.description ?? undefined };
  if (tool.type === "function")
    return {
      type: "function",
      ...described,
      parameters: tool.parameters ?? undefined,
      strict: tool.strict ?? undefined,
    };
  const { format } = tool;
  return {
    type: "custom",
    ...described,
    grammar:
      format?.type === "grammar" ? { syntax: format.syntax, definition: format.definition } : undefined,
  };
}

/**
 * Reads the tools of a request: namespaces are flattened, and tools that OpenAI runs are skipped.
 *
 * @throws ApiError 400 where such a tool is the only one, or is demanded; and for a name that stands twice, or for none.
 */
export function readTools({ tools: given = [], tool_choice = "auto" }: ToolFields): RequestTools {
  const names = new Map<string, { readonly name: string; readonly namespace: string }>();
  const tools = given.flatMap((tool): readonly Tool[] => {
    if (isOwn(tool)) return [toTool(tool)];
    if (!isNamespace(tool)) return [];
    return tool.tools.map((inner) => {
      const name = flatName(tool.name, inner.name);
      names.set(name, { name: inner.name, namespace: tool.name });
      return toTool(inner, name);
    });
  });
  const isShown = (tool: GivenTool): boolean => isOwn(tool) || isNamespace(tool);
  const shown = given.filter(isShown);
  const skipped = given.filter((tool) => !isShown(tool)).map(({ type }) => type);
  if (skipped[0] !== undefined && tools.length === 0 && tool_choice !== "none")
    throw unsupportedTool(skipped[0], `tools[${given.findIndex((tool) => !isShown(tool))}]`);
  checkNames(tools);
  return { tools, choice: readChoice(tool_choice, tools), names, shown, skipped };
}

const unsupportedTool = (type: string, param: string): ApiError =>
  new ApiError(
    `${param} is ${JSON.stringify(type.slice(0, 100))}, a tool that this server does not run; use functions or custom tools`,
    { status: 400, code: "unsupported_value", param },
  );

function checkNames(tools: readonly Tool[]): void {
  const seen = new Set<string>();
  for (const [i, { name }] of tools.entries()) {
    if (seen.has(name))
      throw invalidValue(
        `two tools have the name ${JSON.stringify(name)}; names must differ`,
        `tools[${i}].name`,
      );
    seen.add(name);
  }
}

function readChoice(given: NonNullable<ToolFields["tool_choice"]>, tools: readonly Tool[]): ToolChoice {
  if (typeof given === "string") {
    if (given === "required" && tools.length === 0)
      throw invalidValue("tool_choice is required, but there are no tools", "tool_choice");
    return { mode: tools.length === 0 ? "none" : given };
  }
  const known = new Set(tools.map(({ name }) => name));
  const check = (
    tool: { readonly type: string; readonly name?: string | undefined },
    param: string,
  ): string => {
    if (tool.type !== "function" && tool.type !== "custom") throw unsupportedTool(tool.type, param);
    if (tool.name !== undefined && known.has(tool.name)) return tool.name;
    throw invalidValue(
      `${param} names ${JSON.stringify(tool.name ?? null)}, which is none of the tools`,
      param,
    );
  };
  if (!("mode" in given)) return { mode: "required", names: [check(given, "tool_choice")] };
  // those that were skipped cannot be called
  const own = given.tools.filter(({ type }) => type === "function" || type === "custom");
  return { mode: given.mode, names: own.map((tool) => check(tool, "tool_choice.tools")) };
}
