// Detection of messages that a chat template silently omits, as some do for roles that they do not know.
import { MosError } from "#core";
import type { ChatMessage, Render, RenderTurnsOptions } from "./render-turns.ts";

/** Takes the place of a content, to see whether a template shows it; contents may be alike, these never are. */
const marker = (index: number): string => `is-message-${index}-shown?`;

const isMarked = ({ role, content }: ChatMessage): boolean =>
  role !== "user" && role !== "assistant" && content.trim() !== "";

/** The messages, of other roles than user and assistant, whose content is not in the text. */
export function omittedMarkers(messages: readonly ChatMessage[], render: Render): readonly ChatMessage[] {
  if (!messages.some(isMarked)) return [];
  // a template may show a content changed, but hardly a marker
  const text = render(messages.map((one, i) => (isMarked(one) ? { ...one, content: marker(i) } : one)));
  return messages.filter((one, i) => isMarked(one) && !text.includes(marker(i)));
}

/** @throws MosError `bad_data` when the text leaves out a message. */
export function assertAllRendered(
  messages: readonly ChatMessage[],
  { name, render }: RenderTurnsOptions,
): void {
  const [first] = omittedMarkers(messages, render);
  if (first === undefined) return;
  const { role } = first;
  throw new MosError(
    "bad_data",
    `${name} leaves out message ${messages.indexOf(first) + 1}, of the role ${role}; put what it says into a message of the user`,
  );
}
