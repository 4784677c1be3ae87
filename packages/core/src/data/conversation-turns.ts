// Turns of a conversation: calls get ids, results their calls, and what does not fit together is told.
import { quoteNames } from "#common";
import { findRepeatedTool, findUnpaired, type Tool, type ToolCall } from "#text";
import type { Message, Role } from "./example.ts";
import { isBlank } from "./line-form.ts";
import type { LineCall } from "./tool-lines.ts";

/** A message as its line has it, in any format. */
export interface LineTurn {
  readonly role: Role;
  readonly content: string;
  readonly weight?: number | undefined;
  readonly calls: readonly LineCall[];
  /** The call that a tool's message answers, by its id or by the function's name; else the first without a result. */
  readonly callId?: string | undefined;
  readonly callName?: string | undefined;
}

/**
 * Turns as messages: calls without an id get one, and so do results. Only what the assistant says is learnt, by its weight,
 * or from a turn on where the answer begins with it.
 */
export function toMessages(turns: readonly LineTurn[], answerFrom?: number): readonly Message[] {
  let count = 0;
  let waiting: readonly ToolCall[] = [];
  return turns.map(({ role, content, weight: given = 1, calls, callId, callName }, i): Message => {
    const weight = answerFrom === undefined ? given : Number(i >= answerFrom);
    const isTarget = role === "assistant" && weight > 0;
    const message = { role, content, isTarget, ...(isTarget && weight !== 1 ? { weight } : {}) };
    if (role === "tool") {
      const found = waiting.find(({ id, name }) =>
        callId === undefined ? callName === undefined || name === callName : id === callId,
      );
      waiting = waiting.filter((one) => one !== found);
      return { ...message, toolCallId: callId ?? found?.id ?? "" };
    }
    if (calls.length === 0) return message;
    const toolCalls = calls.map((call): ToolCall => ({ ...call, id: call.id ?? `call_${++count}` }));
    waiting = toolCalls;
    return { ...message, toolCalls };
  });
}

interface Conversation {
  readonly tools: readonly Tool[];
  readonly parallel?: boolean | undefined;
  /** A turn's place in the line, by its index. */
  readonly turn: (i: number) => string;
  /** The field for a turn's text. */
  readonly content: string;
  /** True where the answer is still to be given, and nothing is learnt. */
  readonly isPrompt?: boolean;
}

/** What is wrong with a conversation, if anything. */
export function findTurnProblem(turns: readonly Message[], conversation: Conversation): string | undefined {
  const { tools, turn: name } = conversation;
  const again = tools[findRepeatedTool(tools) ?? -1];
  if (again !== undefined) return `there are two tools named "${again.name}"`;
  const unpaired = findUnpaired(turns, { mayEndInCalls: true });
  for (const [i, turn] of turns.entries()) {
    const problem =
      findOrderProblem(turns, i) ??
      (unpaired?.index === i ? ` ${unpaired.problem}` : undefined) ??
      findCallProblem(turn, conversation) ??
      (turn.isTarget && isBlank(turn.content) && turn.toolCalls === undefined
        ? `.${conversation.content} is empty, so there is nothing to learn`
        : undefined);
    if (problem !== undefined) return name(i) + problem;
  }
  if (conversation.isPrompt === true || turns.some(({ isTarget }) => isTarget)) return undefined;
  return turns.some(({ role }) => role === "assistant")
    ? "every assistant message has weight 0, so there are no target tokens"
    : "there is no assistant message, so there is nothing to learn";
}

function findOrderProblem(turns: readonly Message[], i: number): string | undefined {
  const before = turns[i - 1]?.role;
  switch (turns[i]?.role) {
    case "system":
      return i > 0 ? " is a system message; only the first one may be" : undefined;
    case "assistant":
      return before === undefined || before === "system"
        ? " is an assistant message with no user message before it"
        : undefined;
    default:
      return undefined;
  }
}

function findCallProblem({ toolCalls = [] }: Message, { tools, parallel }: Conversation): string | undefined {
  if (parallel === false && toolCalls.length > 1)
    return ` has ${toolCalls.length} calls, but parallel_tool_calls is false`;
  const unknown = toolCalls.find(
    (call) => !tools.some(({ type, name }) => type === call.type && name === call.name),
  );
  if (unknown === undefined) return undefined;
  const known = tools.filter(({ type }) => type === unknown.type).map(({ name }) => name);
  const kind = unknown.type === "custom" ? "custom tools" : "functions";
  return ` calls ${quoteNames([unknown.name])}; ${known.length === 0 ? `the line has no ${kind}: add them to "tools"` : `the ${kind} of the line are ${quoteNames(known)}`}`;
}
