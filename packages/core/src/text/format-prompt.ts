import type { ChatTemplate } from "./chat-template.ts";
import { spacedJson } from "./json-text.ts";
import type { ChatMessage, ResponseFormat } from "./messages.ts";

/**
 * Messages that ask for an answer of this format: a sentence, and the schema as JSON, at the end of the system message, or in front of the
 * first message of the user where the template has no system role. A grammar alone makes an answer valid, but not sensible.
 */
export function withFormat(
  messages: readonly ChatMessage[],
  format: ResponseFormat | undefined,
  template: Pick<ChatTemplate, "answerLayout">,
): readonly ChatMessage[] {
  const request = describeFormat(format);
  if (request === undefined) return messages;
  if (template.answerLayout().system !== "first_user") {
    const [first, ...rest] = messages;
    return first?.role === "system"
      ? [{ ...first, content: joined(first.content, request) }, ...rest]
      : [{ role: "system", content: request }, ...messages];
  }
  const index = messages.findIndex(({ role }) => role === "user");
  return messages.map((one, i) => (i === index ? { ...one, content: joined(request, one.content) } : one));
}

const joined = (first: string, second: string): string =>
  [first, second].filter((text) => text !== "").join("\n\n");

function describeFormat(format: ResponseFormat | undefined): string | undefined {
  if (format?.type === "json_object") return "Answer with a JSON object only.";
  if (format?.type !== "json_schema") return undefined;
  const { name, description, schema } = format;
  const named = name === undefined ? "" : ` of "${name}"`;
  const described = description === undefined ? "" : ` (${description})`;
  return `Answer with JSON only, which matches this JSON Schema${named}${described}:\n${spacedJson(schema)}`;
}
