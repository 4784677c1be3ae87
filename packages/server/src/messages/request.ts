// A request of Anthropic's Messages API: its fields, and the conversation that they are. Blocks become messages, as chat templates
// take them.
import { z } from "@hono/zod-openapi";
import { omitUndefined } from "mixture-of-shards-core/common";
import {
  type ChatMessage,
  findUnpaired,
  MAX_TOOLS,
  type ToolCall,
  toFunctionTool,
} from "mixture-of-shards-core/text";
import type { ConversationFields } from "../conversation.ts";
import { clientFields, samplingFields } from "../engine-requests.ts";
import { invalidValue } from "../errors.ts";
import { optional, unused } from "../request.ts";
import { unsupportedTool } from "../responses/tools.ts";
import { checkTools, toToolChoice } from "../tools.ts";

const id = z.string().min(1).max(256);

const textBlock = z.object({ type: z.literal("text"), text: z.string() });

/** Blocks, or a text, which is short for one block. Errors name the block: a union with text would hide it. */
const blocksOf = <T extends z.ZodType>(block: T) =>
  z
    .preprocess(
      (given) => (typeof given === "string" ? [{ type: "text", text: given }] : given),
      z.array(block).max(4096),
    )
    .describe("A text stands for one block of the type text.");

const toolResult = z.object({
  type: z.literal("tool_result"),
  tool_use_id: id,
  content: blocksOf(textBlock).optional(),
});

const toolUse = z.object({
  type: z.literal("tool_use"),
  id,
  name: z.string().min(1).max(256),
  input: z.record(z.string(), z.unknown()),
});

const thinkingBlock = z.object({ type: z.literal("thinking"), thinking: z.string() });
/** Of another provider's model, and unreadable here. */
const redactedBlock = z.object({ type: z.literal("redacted_thinking") });

const message = z.discriminatedUnion("role", [
  z.strictObject({
    role: z.literal("user"),
    content: blocksOf(z.discriminatedUnion("type", [textBlock, toolResult])),
  }),
  z.strictObject({
    role: z.literal("assistant"),
    content: blocksOf(z.discriminatedUnion("type", [textBlock, thinkingBlock, redactedBlock, toolUse])),
  }),
  z.strictObject({ role: z.literal("system"), content: blocksOf(textBlock) }),
]);

const tool = z.object({
  type: optional(z.string().max(100), "Only custom: the server runs no tools."),
  name: z.string().regex(/^[a-zA-Z0-9_-]{1,128}$/, "a name of 1 to 128 letters, digits, _ and -"),
  description: z.string().optional(),
  input_schema: optional(z.record(z.string(), z.unknown()), "JSON Schema of the input, an object."),
  strict: z.boolean().optional(),
});

/** About Anthropic's platform. */
const hint = unused(z.unknown());

const parallel = { disable_parallel_tool_use: z.boolean().optional() };

const { model, temperature, top_p, top_k, min_p, repetition_penalty, seed, stream } = samplingFields;

export const messageRequest = z
  .strictObject({
    model,
    max_tokens: z.int().min(1).describe("What the context has no room for is cut off."),
    messages: z
      .array(message)
      .min(1)
      .max(4096)
      .describe("A last message of the assistant is continued. Messages of one role in a row are one."),
    system: blocksOf(textBlock).optional(),
    tools: z.array(tool).max(MAX_TOOLS).optional(),
    tool_choice: z
      .discriminatedUnion("type", [
        z.object({ type: z.enum(["auto", "any", "none"]), ...parallel }),
        z.object({ type: z.literal("tool"), name: z.string(), ...parallel }),
      ])
      .optional(),
    stop_sequences: z.array(z.string().max(1000)).max(16).optional(),
    stream,
    temperature,
    top_p,
    top_k,
    min_p,
    repetition_penalty,
    seed,
    thinking: optional(
      z.object({ type: z.string().max(100) }),
      "disabled sets the template's enable_thinking to false, and other types to true.",
    ),
    output_config: optional(
      z.object({
        format: z
          .strictObject({ type: z.literal("json_schema"), schema: z.record(z.string(), z.unknown()) })
          .optional(),
      }),
      "The form of the answer's text; an effort is ignored.",
    ),
    chat_template_kwargs: clientFields.chat_template_kwargs,
    metadata: hint,
    cache_control: hint,
    context_management: hint,
    diagnostics: hint,
    inference_geo: hint,
    service_tier: hint,
    speed: hint,
  })
  .openapi("MessageRequest");

/** The same without an answer. */
export const countRequest = messageRequest.partial({ max_tokens: true }).openapi("MessageCountRequest");

export type MessageRequest = z.output<typeof messageRequest>;
type CountRequest = z.output<typeof countRequest>;

/** What one side says: messages of one role in a row. */
interface Turn {
  readonly role: z.output<typeof message>["role"];
  readonly content: z.output<typeof message>["content"][number][];
}

/** The request as a conversation. Throws ApiError 400 for tools, and for calls and results that do not pair up. */
export function toConversation(request: CountRequest): ConversationFields {
  const { thinking, output_config, stop_sequences, max_tokens, chat_template_kwargs } = request;
  const isContinued = request.messages.at(-1)?.role === "assistant";
  const format = output_config?.format;
  const field = "output_config.format";
  return {
    messages: toMessages(request),
    tools: readTools(request),
    constraint: format && { field, param: `${field}.schema`, responseFormat: format },
    variables: {
      ...(thinking === undefined ? {} : { enable_thinking: thinking.type !== "disabled" }),
      ...chat_template_kwargs,
    },
    addGenerationPrompt: !isContinued,
    continueFinalMessage: isContinued,
    sampling: { ...request, stop: stop_sequences, max_tokens: undefined },
    maxTokens: max_tokens,
    field: "messages",
  };
}

function toMessages({ system = [], messages }: CountRequest): readonly ChatMessage[] {
  const prompt = system.map(({ type, text }) => ({ type, text: text.replace(BILLING, "") }));
  const turns: Turn[] = [];
  for (const { role, content } of [{ role: "system" as const, content: prompt }, ...messages]) {
    const last = turns.at(-1);
    if (last?.role === role) last.content.push(...content);
    else turns.push({ role, content: [...content] });
  }
  const read = turns.flatMap(toChatMessages);
  const unpaired = findUnpaired(read, { result: "a block of the type tool_result" });
  if (unpaired === undefined) return read;
  const role = read[unpaired.index]?.role === "assistant" ? "assistant" : "user";
  throw invalidValue(`messages: one of the role ${role} ${unpaired.problem}`, "messages");
}

/** Claude Code's first line, whose hash changes with every request: no prompt would find its prefix in the cache. */
const BILLING = /^x-anthropic-billing-header:[^\n]*\n?/;

const textOf = (blocks: Turn["content"]): string =>
  blocks.flatMap((block) => (block.type === "text" && block.text !== "" ? [block.text] : [])).join("\n");

/** Results stand before the text of their turn, right behind their calls. */
function toChatMessages({ role, content }: Turn): readonly ChatMessage[] {
  const results: ChatMessage[] = [];
  const toolCalls: ToolCall[] = [];
  const reasoning: string[] = [];
  for (const block of content)
    if (block.type === "tool_result")
      results.push({ role: "tool", content: textOf(block.content ?? []), toolCallId: block.tool_use_id });
    else if (block.type === "thinking") reasoning.push(block.thinking);
    else if (block.type === "tool_use") {
      const { id, name, input } = block;
      toolCalls.push({ type: "function", id, name, arguments: JSON.stringify(input) });
    }
  const text = textOf(content);
  if (text === "" && (role === "system" || results.length > 0)) return results;
  const parts = {
    reasoning: reasoning.length === 0 ? undefined : reasoning.join("\n"),
    toolCalls: toolCalls.length === 0 ? undefined : toolCalls,
  };
  return [...results, { role, content: text, ...omitUndefined(parts) }];
}

const MODES = { auto: "auto", any: "required", none: "none" } as const;

function readTools({ tools: given = [], tool_choice: choice }: CountRequest): ConversationFields["tools"] {
  const places = given.map((_, i) => `tools[${i}]`);
  const tools = given.map(({ type = "custom", input_schema: parameters, ...rest }, i) => {
    if (type !== "custom") throw unsupportedTool(type, `tools[${i}]`);
    return toFunctionTool({ ...rest, parameters });
  });
  checkTools(tools, places);
  const wanted =
    choice?.type === "tool"
      ? { mode: "required" as const, named: [{ type: "function" as const, name: choice.name }] }
      : { mode: choice && MODES[choice.type] };
  const parallel = choice?.type !== "tool" && choice?.disable_parallel_tool_use !== true;
  return { tools, places, parallel, choice: toToolChoice(wanted, { tools, field: "tool_choice" }) };
}
