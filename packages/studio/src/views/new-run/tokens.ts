// The tokens of a line in the order of reading: contents of messages, and what the prompt format puts between them.

/** A token of the preview. */
export interface Token {
  readonly id: number;
  readonly text: string;
  readonly trained: boolean;
}

/** A message's tokens in a line. */
interface Message {
  readonly role: string;
  readonly start: number;
  readonly end: number;
}

/** Tokens that belong together. */
export interface Block {
  /** Undefined for what the prompt format adds. */
  readonly role: string | undefined;
  readonly tokens: readonly Token[];
}

/** A line in blocks, which hold each token once. A message that begins within the one before has what is left of it. */
export function toBlocks(tokens: readonly Token[], messages: readonly Message[]): readonly Block[] {
  const blocks: Block[] = [];
  let done = 0;
  const add = (role: string | undefined, end: number): void => {
    if (end > done) blocks.push({ role, tokens: tokens.slice(done, end) });
    done = Math.max(done, end);
  };
  for (const { role, start, end } of messages) {
    add(undefined, Math.min(start, tokens.length));
    add(role, Math.min(end, tokens.length));
  }
  add(undefined, tokens.length);
  return blocks;
}

/** Tokens that are seen as one: those that have the bytes of a character together. */
export interface Box {
  readonly ids: readonly number[];
  readonly text: string;
  readonly trained: boolean;
}

/** Tokens as they are seen. The last one of a character has its text. */
export function toBoxes(tokens: readonly Token[]): readonly Box[] {
  let ids: number[] = [];
  return tokens.flatMap(({ id, text, trained }, index) => {
    ids.push(id);
    if (text === "" && index + 1 < tokens.length) return [];
    const box = { ids, text, trained };
    ids = [];
    return [box];
  });
}

/** Controls, and what has no width or turns the direction of what follows; not the joiners that scripts and emoji need. */
const UNSEEN = /[\p{Cc}\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/gu;

const MARKS: Readonly<Record<string, string>> = { "\t": "⇥", "\n": "↵\n" };

/** A token's text with marks for what cannot be seen; the ends of lines stay, behind their mark. */
export const showToken = (text: string): string =>
  text.replace(
    UNSEEN,
    (one) => MARKS[one] ?? `⟨U+${one.charCodeAt(0).toString(16).toUpperCase().padStart(4, "0")}⟩`,
  );

/** Lines of a file that are shown together, the first of which is `first`. */
export const linesFrom = (first: number, count: number): readonly number[] =>
  Array.from({ length: count }, (_, i) => first + i);
