// The conversation of one model: its messages as the API and training data have them.
import type { Answer } from "./answer.ts";

/** A message in OpenAI's form. */
export interface Message {
  readonly role: "system" | "user" | "assistant" | "tool";
  readonly content: string;
  readonly tool_calls?: readonly object[];
  readonly tool_call_id?: string;
}

/**
 * The messages of a conversation: what a person wrote, and what one model answered, if it has. A call that the conversation goes
 * on after has an empty result: nothing is called here.
 */
export function toMessages(
  system: string,
  exchanges: readonly { readonly user: string; readonly answer?: Answer | undefined }[],
): readonly Message[] {
  const head: readonly Message[] = system.trim() === "" ? [] : [{ role: "system", content: system }];
  const turns = exchanges.flatMap(({ user, answer }, i): readonly Message[] => [
    { role: "user", content: user },
    ...(answer === undefined ? [] : [assistantMessage(answer)]),
    ...(answer === undefined || i === exchanges.length - 1 ? [] : noResults(answer)),
  ]);
  return [...head, ...turns];
}

function assistantMessage({ text, calls }: Answer): Message {
  if (calls.length === 0) return { role: "assistant", content: text };
  const written = calls.map(({ id, kind, name, text: given }) => ({
    id,
    type: kind,
    [kind]: { name, [kind === "function" ? "arguments" : "input"]: given },
  }));
  return { role: "assistant", content: text, tool_calls: written };
}

const noResults = ({ calls }: Answer): readonly Message[] =>
  calls.map(({ id }) => ({ role: "tool", content: "", tool_call_id: id }));
