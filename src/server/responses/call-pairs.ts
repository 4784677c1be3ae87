// Calls of a conversation and their outputs pair up, as OpenAI's service demands: chat templates that get half of a pair fail, or
// show the model what makes no sense.
import { parseJson } from "#core";
import { type ApiError, invalidValue } from "../errors.ts";
import { isObject } from "../request.ts";
import type { ConversationItem } from "./items.ts";

/**
 * Checks that every output answers a call before it, that every call is answered once, and that arguments are JSON of an object.
 *
 * @param earlier How many of the items are those of previous responses.
 * @throws ApiError 400 that names the item.
 */
export function checkCalls(items: readonly ConversationItem[], earlier: number): void {
  const open = new Map<string, number>();
  const invalid = (index: number, problem: string): ApiError => {
    if (index < earlier)
      return invalidValue(`the conversation that previous_response_id continues ${problem}`, "input");
    const place = `input[${index - earlier}]`;
    return invalidValue(`${place} ${problem}`, place);
  };
  for (const [index, item] of items.entries()) {
    if (!("call_id" in item)) continue;
    const { call_id: id, type } = item;
    const quoted = JSON.stringify(id);
    if ("output" in item) {
      if (!open.delete(id))
        throw invalid(
          index,
          `answers the call ${quoted}, which is none of those before it, or is answered already`,
        );
      continue;
    }
    if (open.has(id))
      throw invalid(index, `has the call_id ${quoted} of an earlier call; give each call its own`);
    if (type === "function_call" && !isArguments(item.arguments))
      throw invalid(
        index,
        `has arguments that are not JSON of an object; if that answer was cut off, leave the item out or ask for it again`,
      );
    open.set(id, index);
  }
  for (const [id, index] of open) {
    const { type } = items[index] ?? { type: "function_call" };
    throw invalid(
      index,
      `has the call ${JSON.stringify(id)} without an output; send an item of type ${type}_output for it`,
    );
  }
}

/** A call without arguments may have none at all. */
function isArguments(text: string): boolean {
  if (text.trim() === "") return true;
  try {
    return isObject(parseJson(text, { code: "bad_option", where: "arguments" }));
  } catch {
    return false;
  }
}
