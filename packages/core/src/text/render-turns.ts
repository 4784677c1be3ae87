// Locations of the assistant's parts in the text of a conversation. A chat template is a program, so it is probed: by the
// texts of prefixes of the conversation.
import { attempt, MosError } from "#common";
import type { ChatMessage } from "./messages.ts";

/** A part of a rendered conversation. */
export interface RenderedPiece {
  readonly text: string;
  /** True for text that the assistant writes: content and end of turn. */
  readonly isAnswer: boolean;
}

/** Lays out a conversation as text. */
export type Render = (
  messages: readonly ChatMessage[],
  options?: { readonly addGenerationPrompt?: boolean },
) => string;

/** Template, and its name for messages. */
export interface NamedRender {
  readonly name: string;
  readonly render: Render;
}

export interface RenderTurnsOptions extends NamedRender {
  /** The text that an assistant's turn ends with before its end of turn. */
  readonly ending: (message: ChatMessage) => string;
}

/** The part of the text that an assistant's message is: where its generation prompt ends, and where its turn does. */
interface Span {
  readonly begin: number;
  readonly end: number;
}

/** Choice of the answers to locate. */
export interface LocateOptions {
  /** Only a last message's; that can be told also where a template lays earlier answers out anew. */
  readonly lastOnly?: boolean | undefined;
}

/** The text of a conversation in pieces: see `ChatTemplate.renderTurns`. */
export function renderTurns(
  messages: readonly ChatMessage[],
  { lastOnly = false, ...options }: RenderTurnsOptions & LocateOptions,
): RenderedPiece[] {
  const whole = options.render(messages);
  const spans = lastOnly
    ? lastSpan(messages, whole, options)
    : (spansByNeighbours(messages, whole, options) ?? spansByPrefixes(messages, whole, options));
  const pieces: RenderedPiece[] = [];
  let done = 0;
  for (const { begin, end } of spans) {
    pieces.push(
      { text: whole.slice(done, begin), isAnswer: false },
      { text: whole.slice(begin, end), isAnswer: true },
    );
    done = end;
  }
  pieces.push({ text: whole.slice(done), isAnswer: false });
  return pieces.filter(({ text, isAnswer }) => isAnswer || text !== "");
}

/** Span of a last message that is the assistant's. */
function lastSpan(
  messages: readonly ChatMessage[],
  whole: string,
  { name, render, ending }: RenderTurnsOptions,
): readonly Span[] {
  const last = messages.at(-1);
  if (last?.role !== "assistant") return [];
  const before = renderPrompt(messages.slice(0, -1), last, render);
  if (!whole.startsWith(before))
    throw new MosError(
      "bad_config",
      `${name}: the text before message ${messages.length} changes once that message is added, so the assistant's ` +
        "part cannot be located; set the template's variables (--chat-template-kwargs), or use the chatml or plain prompt format",
    );
  return [{ begin: before.length, end: Math.max(answerEnd(whole, ending(last)), before.length) }];
}

/** Longer conversations take too long by their prefixes, whose texts grow with the square of their number. */
const MAX_PREFIXES = 1000;

/** Each prefix is rendered whole. */
function spansByPrefixes(
  messages: readonly ChatMessage[],
  whole: string,
  { name, render, ending }: RenderTurnsOptions,
): readonly Span[] {
  if (messages.length > MAX_PREFIXES)
    throw new MosError(
      "bad_data",
      `the conversation has ${messages.length} messages; the limit is ${MAX_PREFIXES} with ${name}, because how this template formats a message depends on messages much earlier in the conversation`,
    );
  const spans: Span[] = [];
  for (const [index, message] of messages.entries()) {
    if (message.role !== "assistant") continue;
    const after = render(messages.slice(0, index + 1));
    const before = renderPrompt(messages.slice(0, index), message, render);
    if (before.length < (spans.at(-1)?.end ?? 0) || !after.startsWith(before) || !whole.startsWith(after))
      throw new MosError(
        "bad_config",
        `${name}: the text up to message ${index + 1} changes once further messages follow, so the assistant's part ` +
          "of it cannot be located; make each answer a separate example, as the last message, or train with another template",
      );
    const end = after.length === whole.length ? answerEnd(after, ending(message)) : after.length;
    spans.push({ begin: before.length, end: Math.max(end, before.length) });
  }
  return spans;
}

/** Messages of a shortened conversation: those at its start, and those just before a turn. */
const [HEAD, NEAR] = [2, 2];

/** A conversation without its middle. An even number is left out, since templates may count that roles alternate. */
function shortened(messages: readonly ChatMessage[]): readonly ChatMessage[] {
  const left = messages.length - HEAD - NEAR;
  return left < 2 ? messages : [...messages.slice(0, HEAD + (left % 2)), ...messages.slice(-NEAR)];
}

/** Each turn is rendered with its neighbours only. Undefined where the template needs more than these. */
function spansByNeighbours(
  messages: readonly ChatMessage[],
  whole: string,
  options: RenderTurnsOptions,
): readonly Span[] | undefined {
  const spans = attempt(() => neighbouringSpans(messages, whole, options));
  return spans instanceof MosError ? undefined : spans; // which refuses a shortened conversation
}

/** Span of a turn by what it adds to the text of its neighbours; undefined if the whole continues otherwise. */
function neighbouringSpans(
  messages: readonly ChatMessage[],
  whole: string,
  { render, ending }: RenderTurnsOptions,
): readonly Span[] | undefined {
  const spans: Span[] = [];
  let [done, next, last] = [0, 0, ""];
  for (const [index, message] of messages.entries()) {
    if (message.role !== "assistant") continue;
    const past = shortened(messages.slice(0, next));
    const asked = [...past, ...messages.slice(next, index)];
    const text = past.length === next ? last : render(past);
    const [before, after] = [renderPrompt(asked, message, render), render([...asked, message])];
    const added = after.slice(text.length);
    const isSound = before.startsWith(text) && after.startsWith(before) && whole.startsWith(added, done);
    if (!isSound) return undefined;
    const isLast = done + added.length === whole.length;
    const end = isLast ? done - text.length + answerEnd(after, ending(message)) : done + added.length;
    const begin = done + before.length - text.length;
    spans.push({ begin, end: Math.max(end, begin) });
    done += added.length;
    [next, last] = [index + 1, after];
  }
  if (done === whole.length) return spans;
  const rest = [...shortened(messages.slice(0, next)), ...messages.slice(next)];
  return next > 0 && render(rest).endsWith(whole.slice(done)) ? spans : undefined;
}

/** The text up to where an answer begins. */
function renderPrompt(messages: readonly ChatMessage[], answer: ChatMessage, render: Render): string {
  return messages.length === 0
    ? untilContent(answer, render)
    : render(messages, { addGenerationPrompt: true });
}

/**
 * Text before the content of a first message. Templates treat that message specially (BOS, a system text), so there is
 * no generation prompt to render: it is what stays the same when the content begins with another letter.
 */
function untilContent(message: ChatMessage, render: Render): string {
  const text = render([message]);
  const other = render([{ ...message, content: message.content.trimStart().startsWith("A") ? "B" : "A" }]);
  let length = 0;
  while (length < text.length && text[length] === other[length]) length++;
  return text.slice(0, length);
}

/** White space at the end is left out after an end-of-turn token; otherwise it is the end of turn. */
function answerEnd(text: string, content: string): number {
  const trimmed = text.trimEnd();
  return trimmed.endsWith(content.trimEnd()) ? text.length : trimmed.length;
}
