// How a chat template lays tools out, found by what it renders: templates are programs, and families have several.
import { CALL_SYNTAXES, TAGGED, writeCalls } from "./call-syntax.ts";
import type { ChatMessage, FunctionTool } from "./messages.ts";
import { type TemplateInput, type ToolLayout, templateInput } from "./tool-messages.ts";

/** Renders what a template gets; throws where the template refuses it. */
export type RenderInput = (
  input: TemplateInput,
  options?: { readonly addGenerationPrompt?: boolean },
) => string;

const KEY = "probe_key";
const TOOL: FunctionTool = {
  type: "function",
  name: "probe_lookup",
  description: "probe-description",
  parameters: {
    type: "object",
    properties: { [KEY]: { type: "string", description: "probe-parameter" } },
    required: [KEY],
  },
};
const CALL = {
  type: "function",
  id: "probe1234",
  name: TOOL.name,
  arguments: `{"${KEY}": "probe-value"}`,
} as const;
const SYSTEM: ChatMessage = { role: "system", content: "probe-system" };
const USER: ChatMessage = { role: "user", content: "probe-user" };
const CALLING: ChatMessage = { role: "assistant", content: "", toolCalls: [CALL] };
const RESULT: ChatMessage = { role: "tool", content: '"probe-result"', toolCallId: CALL.id };

/** Ours: all as text in the turns that every template has. */
const OURS: ToolLayout = {
  syntax: TAGGED,
  tools: "text",
  calls: "content",
  showsContent: true,
  results: "text",
  system: "role",
};

/** The layout that a template follows; ours where it has none that is known. */
export function probeLayout(render: RenderInput): ToolLayout {
  const shown = (
    layout: ToolLayout,
    messages: readonly ChatMessage[],
    tools?: readonly FunctionTool[],
  ): string => {
    try {
      const { input, restore } = templateInput(layout, messages, tools);
      return restore(render(input, { addGenerationPrompt: messages.at(-1)?.role !== "assistant" }));
    } catch {
      return "";
    }
  };
  const tools = (["tools", "xml_tools", "system_tools"] as const).find((way) => {
    const text = shown({ ...OURS, tools: way }, [USER], [TOOL]);
    return [TOOL.name, KEY, "probe-description", "probe-parameter", USER.content].every((one) =>
      text.includes(one),
    );
  });
  const found = findCalls((layout, messages) => shown(layout, messages, [TOOL]), tools ?? "text");
  const base = { ...OURS, ...(found ?? {}) };
  const called = [USER, CALLING, RESULT];
  const results =
    found === undefined
      ? "text"
      : ((["tool", "tool_response"] as const).find((way) =>
          shown({ ...base, results: way }, called, [TOOL]).includes("probe-result"),
        ) ?? "text");
  return { ...base, results, system: systemWay((messages) => shown({ ...base, results }, messages), called) };
}

/** How the template writes calls, or tells the model to write them; undefined if in a way that is not known. */
function findCalls(
  shown: (layout: ToolLayout, messages: readonly ChatMessage[]) => string,
  tools: ToolLayout["tools"],
): Pick<ToolLayout, "syntax" | "tools" | "calls" | "showsContent"> | undefined {
  const native: ToolLayout = { ...OURS, tools, calls: "tool_calls" };
  const text = shown(native, [USER, CALLING]);
  const syntax = CALL_SYNTAXES.find((one) => text.includes(writeCalls(one, [CALL])));
  if (syntax !== undefined) {
    const both = shown(native, [USER, { ...CALLING, content: "probe-content" }]);
    return { syntax, tools, calls: "tool_calls", showsContent: both.includes("probe-content") };
  }
  // calls in a way that is not known here
  const isShown = [CALL.name, "probe-value"].every((one) => text.includes(one));
  if (tools === "text" || isShown) return undefined;
  const prompt = shown({ ...OURS, tools }, [USER]);
  const told = CALL_SYNTAXES.find(({ evidence }) => evidence.some((one) => prompt.includes(one)));
  return told === undefined ? undefined : { syntax: told, tools, calls: "content", showsContent: true };
}

/** Whether the template shows a system message, also in front of results. */
function systemWay(
  shown: (messages: readonly ChatMessage[]) => string,
  called: readonly ChatMessage[],
): ToolLayout["system"] {
  const shows = (messages: readonly ChatMessage[]): boolean =>
    shown([SYSTEM, ...messages]).includes(SYSTEM.content);
  if (shows(called)) return "role";
  return shows([USER]) ? "last_user" : "first_user";
}

/** Tags of a template for text in which the model reasons before it answers. */
export interface ReasoningTags {
  readonly begin: string;
  readonly end: string;
}

/** Tags that the source of a template names. */
export const reasoningTags = (template: string): ReasoningTags | undefined =>
  REASONING.find(({ end }) => template.includes(end));

const REASONING: readonly ReasoningTags[] = [
  { begin: "<think>", end: "</think>" },
  // Ministral 3
  { begin: "[THINK]", end: "[/THINK]" },
  // Gemma 4
  { begin: "<|channel>thought\n", end: "<channel|>" },
];
