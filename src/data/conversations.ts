// Formats of conversations: OpenAI's messages and ShareGPT's, both with tools, their calls and results.
import { z } from "zod";
import { omitUndefined } from "#core";
import type { Tool } from "#text";
import { findTurnProblem, type LineTurn, toMessages } from "./conversation-turns.ts";
import { type ChatExample, type Place, SPEAKERS, type Speaker } from "./example.ts";
import { isBlank, lineForm } from "./line-form.ts";
import { boundedList, callList, callText, formerCall, toolList, withToolList } from "./tool-lines.ts";

const text = z.string("a string");
const weight = z.union([z.literal(0), z.literal(1)], "0 or 1").optional();

const message = z
  .object(
    {
      role: z.enum(
        ["system", "user", "assistant", "tool", "function"],
        '"system", "user", "assistant" or "tool"',
      ),
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
    ({
      role,
      content,
      tool_calls: calls,
      function_call: call,
      tool_call_id: id,
      name,
      ...rest
    }): LineTurn => ({
      role: role === "function" ? "tool" : role,
      content: content ?? "",
      weight: rest.weight,
      calls: [...(calls ?? []), ...(call == null ? [] : [call])],
      callId: id ?? undefined,
      callName: typeof name === "string" ? name : undefined,
    }),
  );

/** More than any context window holds. */
const MAX_MESSAGES = 10_000;
const messageList = <T extends z.ZodType>(item: T) =>
  boundedList(item, { what: "messages", max: MAX_MESSAGES, least: "one message" });

/** Names in messages: of a turn, by its index, and of the field for its text. */
interface Names {
  readonly turn: (i: number) => string;
  readonly content: string;
}

interface Line {
  readonly turns: readonly LineTurn[];
  readonly tools: readonly Tool[];
  readonly parallel?: boolean | undefined;
}

function toExample(
  { turns: given, tools, parallel }: Line,
  place: Place,
  names: Names,
): ChatExample | string {
  const turns = toMessages(given);
  return (
    findTurnProblem(turns, { tools, parallel, ...names }) ?? {
      kind: "chat",
      ...place,
      turns,
      ...omitUndefined({ tools: tools.length > 0 ? tools : undefined, parallel }),
    }
  );
}

/** OpenAI's format, also the former one with `functions`. */
export const messagesForm = lineForm({
  fields: ["messages"],
  sample:
    '{"messages": [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Good day."}]}',
  prepare: withToolList,
  schema: z.object({
    messages: messageList(message),
    tools: toolList.nullish(),
    functions: toolList.nullish(),
    parallel_tool_calls: z.boolean("true or false").nullish(),
  }),
  toExample: ({ messages, tools, functions, parallel_tool_calls: parallel }, place) =>
    toExample({ turns: messages, tools: tools ?? functions ?? [], parallel: parallel ?? undefined }, place, {
      turn: (i) => `messages[${i}]`,
      content: "content",
    }),
});

const SPEAKER_NAMES = Object.keys(SPEAKERS) as Speaker[];

const sharegptMessage = z
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

/** ShareGPT's format. */
export const sharegptForm = lineForm({
  fields: ["conversations"],
  sample: '{"conversations": [{"from": "human", "value": "Hello"}, {"from": "gpt", "value": "Good day."}]}',
  prepare: withToolList,
  schema: z.object({
    system: text.nullish(),
    conversations: messageList(sharegptMessage),
    tools: toolList.nullish(),
  }),
  toExample({ conversations, system, tools }, place) {
    const before: readonly LineTurn[] =
      system == null || isBlank(system) ? [] : [{ role: "system", content: system, calls: [] }];
    return toExample({ turns: [...before, ...conversations], tools: tools ?? [] }, place, {
      turn: (i) => `conversations[${i - before.length}]`,
      content: "value",
    });
  },
});
