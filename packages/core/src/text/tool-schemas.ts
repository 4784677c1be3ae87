// Tools as chat templates take them, and as a text of ours for templates that take none.
import { omitUndefined } from "#common";
import { type CallSyntax, writeCalls } from "./call-syntax.ts";
import { spacedJson } from "./json-text.ts";
import type { CustomTool, Tool } from "./messages.ts";

/** Key of a custom tool's text among the arguments of a function: models know functions only. */
export const INPUT_KEY = "input";

/** Parameters of a function that takes the text of a custom tool. */
function customParameters({ grammar }: CustomTool): Readonly<Record<string, unknown>> {
  const description =
    grammar &&
    `Text of this ${grammar.syntax === "lark" ? "Lark grammar" : "regular expression"}: ${grammar.definition}`;
  const input = { type: "string", ...omitUndefined({ description }) };
  return { type: "object", properties: { [INPUT_KEY]: input }, required: [INPUT_KEY] };
}

/** A tool in OpenAI's form, which chat templates take. */
export function toolSchema(tool: Tool) {
  const { name, description } = tool;
  const parameters =
    tool.type === "custom" ? customParameters(tool) : (tool.parameters ?? { type: "object", properties: {} });
  return { type: "function", function: { name, ...omitUndefined({ description }), parameters } } as const;
}

/** Our words for tools, where a template has none. */
export function describeTools(tools: readonly Tool[], syntax: CallSyntax): string {
  const example = { id: "000000000", name: "NAME", arguments: "{ARGUMENTS}" };
  return [
    "You can call these functions, one a line as JSON with the JSON Schema of its parameters:",
    "<tools>",
    ...tools.map((tool) => spacedJson(toolSchema(tool).function)),
    "</tools>",
    "To call a function, write its name and its arguments as JSON like this, and then end your answer:",
    writeCalls(syntax, [example]),
    syntax.isSingle ? "Call one at a time." : "Write as many calls as you need, one after the other.",
  ].join("\n");
}

/** Results of calls, where a template has no role for them. */
export const writeResult = (content: string): string => `<tool_response>\n${content}\n</tool_response>`;
