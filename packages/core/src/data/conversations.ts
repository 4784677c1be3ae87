// Formats of conversations: OpenAI's messages and ShareGPT's, both with tools, their calls and results.
import { z } from "zod";
import { isRecord, omitUndefined } from "#common";
import { openaiRole, type Tool, toRole } from "#text";
import { findTurnProblem, type LineTurn, toMessages } from "./conversation-turns.ts";
import { type ChatExample, type Place, type PromptExample, SPEAKERS, type Speaker } from "./example.ts";
import { isBlank, lineForm } from "./line-form.ts";
import { boundedList, callList, callText, formerCall, toolList, withToolList } from "./tool-lines.ts";

const text = z.string("a string");
const MAX_WEIGHT = 100;
const WEIGHTS = `a number from 0 to ${MAX_WEIGHT}`;
const weight = z.number(WEIGHTS).min(0, WEIGHTS).max(MAX_WEIGHT, WEIGHTS).optional();

/** A message of OpenAI's format. */
export const message = z
  .object(
    {
      role: openaiRole,
      content: text.nullish(),
      weight,
      tool_calls: callList.nullish(),
      function_call: formerCall.nullish(),
      tool_call_id: text.nullish(),
      name: z.unknown().optional(),
    },
    "an object with role and content",
  )
  .superRefine(({ role, content, tool_calls: calls, function_call: call }, context) => {
    const isCalling = (calls ?? []).length > 0 || call != null;
    if (isCalling && role !== "assistant")
      context.addIssue({
        code: "custom",
        path: ["role"],
        message: '"assistant", as this message calls tools',
      });
    else if (typeof content !== "string" && !isCalling)
      context.addIssue({ code: "custom", path: ["content"], message: "a string" });
  })
  .transform(
    ({ role, content, weight: given, name, ...message }): LineTurn => ({
      role: toRole(role),
      content: content ?? "",
      weight: given,
      calls: [
        ...(message.tool_calls ?? []),
        ...(message.function_call == null ? [] : [message.function_call]),
      ],
      callId: message.tool_call_id ?? undefined,
      callName: typeof name === "string" ? name : undefined,
    }),
  );

/** More than any context window holds. */
const MAX_MESSAGES = 10_000;
/** A list of messages. */
export const messageList = <T extends z.ZodType>(item: T) =>
  boundedList(item, { what: "messages", max: MAX_MESSAGES, least: "one message" });

/** Names in messages: of a turn, by its index, and of the field for its text. */
interface Names {
  readonly turn: (i: number) => string;
  readonly content: string;
}

/** What a conversation's line says besides its turns. */
export interface LineTools extends Pick<ChatExample, "variables"> {
  readonly tools: readonly Tool[];
  readonly parallel?: boolean | undefined;
}

interface Line extends LineTools {
  readonly turns: readonly LineTurn[];
  /** Index of the turn with which the answer begins that is learnt; all answers are by their weights without it. */
  readonly answerFrom?: number;
}

/** The conversation of a line, or what is wrong with it. */
export function toChat(
  { turns: given, answerFrom, ...line }: Line,
  place: Place,
  names: Names,
): ChatExample | string {
  const turns = toMessages(given, answerFrom);
  return findTurnProblem(turns, { ...line, ...names }) ?? { kind: "chat", ...place, turns, ...toolsOf(line) };
}

/** The prompt of a line, whose answer is to be found, or what is wrong with it. */
export function toPrompt(
  { turns: given, item, ...line }: Line & Pick<PromptExample, "item">,
  place: Place,
  names: Names,
): PromptExample | string {
  const turns = toMessages(given);
  const last = turns.length - 1;
  if (turns[last]?.role === "assistant")
    return `${names.turn(last)} is an assistant message; a prompt ends before the answer`;
  return (
    findTurnProblem(turns, { ...line, ...names, isPrompt: true }) ?? {
      kind: "prompt",
      ...place,
      turns,
      ...toolsOf(line),
      item,
    }
  );
}

const toolsOf = ({ tools, parallel, variables }: LineTools) =>
  omitUndefined({ tools: tools.length > 0 ? tools : undefined, parallel, variables });

/** Fields that lines of messages may have besides them. */
export const toolFields = {
  tools: toolList.nullish(),
  functions: toolList.nullish(),
  parallel_tool_calls: z.boolean("true or false").nullish(),
  chat_template_kwargs: z
    .custom<Readonly<Record<string, unknown>>>(isRecord, "an object, name to value")
    .nullish(),
};

/** What these fields say. */
export const lineTools = (line: z.output<z.ZodObject<typeof toolFields>>): LineTools => ({
  tools: line.tools ?? line.functions ?? [],
  parallel: line.parallel_tool_calls ?? undefined,
  ...omitUndefined({ variables: line.chat_template_kwargs ?? undefined }),
});

/** Names in lines with `messages`. */
export const MESSAGE_NAMES: Names = { turn: (i) => `messages[${i}]`, content: "content" };

/** OpenAI's format, also the former one with `functions`. */
export const messagesForm = lineForm({
  fields: ["messages"],
  sample:
    '{"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]}',
  prepare: withToolList,
  schema: z.object({ messages: messageList(message), ...toolFields }),
  toExample: ({ messages, ...line }, place) =>
    toChat({ turns: messages, ...lineTools(line) }, place, MESSAGE_NAMES),
});

/** The same with a hint for the teacher of its last message, which alone is learnt. */
export const hintedForm = lineForm({
  kind: "hinted",
  fields: ["messages", "hint"],
  isLikely: ({ messages, hint }) =>
    typeof hint === "string" && Array.isArray(messages) && Object(messages.at(-1)).role === "assistant",
  sample:
    '{"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}], "hint": "Greet people by the time of day."}',
  prepare: withToolList,
  schema: z.object({ messages: messageList(message), hint: text, ...toolFields }),
  toExample({ messages, hint, ...line }, place) {
    const answerFrom = messages.length - 1;
    const { role } = messages[answerFrom] as LineTurn;
    if (role !== "assistant")
      return `${MESSAGE_NAMES.turn(answerFrom)} is a ${role} message; the last one is the answer that is learnt`;
    if (isBlank(hint)) return "hint is empty, so there is nothing to learn";
    const chat = toChat({ turns: messages, answerFrom, ...lineTools(line) }, place, MESSAGE_NAMES);
    return typeof chat === "string" ? chat : { ...chat, hint };
  },
});

const SPEAKER_NAMES = Object.keys(SPEAKERS) as Speaker[];

/** A message of ShareGPT's format. */
export const sharegptMessage = z
  .object(
    {
      from: z.enum(
        SPEAKER_NAMES,
        '"human", "gpt" or "system", or in data with tools "function_call" or "observation"',
      ),
      value: text,
      weight,
    },
    "an object with from and value",
  )
  .transform(({ from, value, weight: given }, context): LineTurn => {
    const turn = { role: SPEAKERS[from], content: value, weight: given, calls: [] };
    if (from !== "function_call") return turn;
    const parsed = callText.safeParse(value);
    if (parsed.success) return { ...turn, content: "", calls: parsed.data };
    for (const { message: expected } of parsed.error.issues)
      context.issues.push({ code: "custom", path: ["value"], message: expected, input: value });
    return z.NEVER;
  });

/** Fields of ShareGPT's format. */
export const sharegptFields = {
  system: text.nullish(),
  conversations: messageList(sharegptMessage),
  tools: toolList.nullish(),
};

/** A system message, where a line has one apart. */
export const systemTurns = (system: string | null | undefined): readonly LineTurn[] =>
  system == null || isBlank(system) ? [] : [{ role: "system", content: system, calls: [] }];

/** ShareGPT's format. */
export const sharegptForm = lineForm({
  fields: ["conversations"],
  sample: '{"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day."}]}',
  prepare: withToolList,
  schema: z.object(sharegptFields),
  toExample({ conversations, system, tools }, place) {
    const before = systemTurns(system);
    return toChat({ turns: [...before, ...conversations], tools: tools ?? [] }, place, {
      turn: (i) => `conversations[${i - before.length}]`,
      content: "value",
    });
  },
});
