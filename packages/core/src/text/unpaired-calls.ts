import { quoteNames } from "#common";
import type { ChatMessage } from "./messages.ts";

/** Where calls and results do not pair up: a predicate to the message, with a remedy. */
interface Unpaired {
  readonly index: number;
  readonly problem: string;
}

/**
 * The first message that calls without a result, answers no call, or repeats the id of a call that waits. Chat templates that get
 * half of a pair fail, or show the model what makes no sense.
 *
 * @param options `isAnywhere`: results may stand anywhere behind their calls, rather than right after the message that calls.
 * `mayEndInCalls`: the last message may call. `result`: the name of a result.
 */
export function findUnpaired(
  messages: readonly Pick<ChatMessage, "role" | "toolCalls" | "toolCallId">[],
  { isAnywhere = false, mayEndInCalls = false, result = "a message of the role tool" } = {},
): Unpaired | undefined {
  /** Calls without a result so far, and the messages that they are in. */
  const waiting = new Map<string, number>();
  for (const [index, { role, toolCalls = [], toolCallId = "" }] of messages.entries()) {
    if (role === "tool") {
      if (!waiting.delete(toolCallId))
        return { index, problem: unknownCall(toolCallId, [...waiting.keys()]) };
      continue;
    }
    if (!isAnywhere && waiting.size > 0) return unanswered(waiting, result);
    // one that waits already makes them no more
    const again = toolCalls.find(({ id }) => waiting.size === waiting.set(id, index).size);
    if (again !== undefined)
      return {
        index,
        problem: `repeats the call id ${quoteNames([again.id])}; give each call an id of its own`,
      };
  }
  const unpaired = unanswered(waiting, result);
  return mayEndInCalls && unpaired?.index === messages.length - 1 ? undefined : unpaired;
}

/** The first message with calls that wait. */
function unanswered(waiting: ReadonlyMap<string, number>, result: string): Unpaired | undefined {
  const [index] = waiting.values();
  if (index === undefined) return undefined;
  const ids = quoteNames([...waiting.keys()]);
  return { index, problem: `has calls without a result: ${ids}; each needs ${result} behind it` };
}

function unknownCall(id: string, waiting: readonly string[]): string {
  const call = id === "" ? "an unknown call" : `the call ${quoteNames([id])}`;
  const known =
    waiting.length === 0
      ? "no call before it lacks a result"
      : `the calls without a result are ${quoteNames(waiting)}`;
  return `answers ${call}; ${known}`;
}
