// The messages of an example among its tokens, so that a preview shows who speaks.
import type { Example, Role } from "#data";

/** A message of a previewed line: its content's tokens among those that are shown. @inline */
export interface PreviewedTurn {
  readonly role: Role | "prompt" | "completion";
  /** Index of its first token. */
  readonly start: number;
  /** Index after its last token. */
  readonly end: number;
}

interface Spoken {
  readonly role: PreviewedTurn["role"];
  readonly content: string;
  /** True where the loss may count it. */
  readonly isTarget: boolean;
}

/** An example of one sequence. */
type OneSequence = Exclude<Example, { readonly kind: "pair" | "rated" }>;

function spokenIn(example: OneSequence): readonly Spoken[] {
  switch (example.kind) {
    case "chat":
    case "prompt":
      return example.turns;
    case "completion":
      return [
        { role: "prompt", content: example.prompt, isTarget: false },
        { role: "completion", content: example.completion, isTarget: true },
      ];
    case "text":
      return [];
  }
}

interface ShownToken {
  readonly text: string;
  readonly isTrained: boolean;
}

/** The text of tokens, and where in it that of each begins. */
interface Located {
  readonly text: string;
  readonly tokens: readonly ShownToken[];
  /** Offsets in the text; one more than there are tokens. */
  readonly starts: readonly number[];
}

function locate(tokens: readonly ShownToken[]): Located {
  const starts = [0];
  for (const { text } of tokens) starts.push((starts.at(-1) ?? 0) + text.length);
  return { text: tokens.map(({ text }) => text).join(""), tokens, starts };
}

type Span = readonly [begin: number, end: number];

/** Occurrences of a content that are looked at: a letter may occur in every word of the format. */
const MAX_OCCURRENCES = 1000;

function occurrences(text: string, content: string, from: number): readonly Span[] {
  const found: Span[] = [];
  for (let at = text.indexOf(content, from); at >= 0; at = text.indexOf(content, at + 1)) {
    found.push([at, at + content.length]);
    if (found.length === MAX_OCCURRENCES) break;
  }
  return found;
}

/** Index of the token that holds a character. */
function tokenAt({ starts }: Located, character: number): number {
  let [low, high] = [0, starts.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((starts[middle] ?? 0) <= character) low = middle;
    else high = middle;
  }
  return low;
}

/** How well a place suits a content: it is trained as the content is, and no token holds more than white space beside it. */
function suitability(located: Located, [begin, end]: Span, { isTarget }: Spoken): number {
  const { text, tokens, starts } = located;
  const [first, last] = [tokenAt(located, begin), tokenAt(located, end - 1)];
  const before = text.slice(starts[first], begin);
  const after = text.slice(end, starts[last + 1]);
  const isAlone = before.trim() === "" && after.trim() === "";
  return Number(tokens[last]?.isTrained === isTarget) * 2 + Number(isAlone);
}

/** Characters by which the beginning of a content is found that is cut off. */
const BEGINNING = 16;

/** Where a content begins and ends: at the first of the most suitable places. One that is cut off ends with the text. */
function findContent(located: Located, spoken: Spoken, from: number): Span | undefined {
  const { text } = located;
  const content = spoken.content.trim(); // templates may strip
  if (content === "") return undefined;
  let best: Span | undefined;
  let most = -1;
  for (const span of occurrences(text, content, from)) {
    const suits = suitability(located, span, spoken);
    if (suits > most) [best, most] = [span, suits];
    if (suits === 3) break;
  }
  if (best !== undefined) return best;
  const begin = text.indexOf(content.slice(0, BEGINNING), from);
  return begin >= 0 && content.startsWith(text.slice(begin)) ? [begin, text.length] : undefined;
}

/**
 * Finds the messages of an example among its tokens, in their order. What a prompt format writes otherwise than the data do,
 * such as calls of tools, is left out.
 */
export function findTurns(example: OneSequence, tokens: readonly ShownToken[]): readonly PreviewedTurn[] {
  const located = locate(tokens);
  let position = 0;
  return spokenIn(example).flatMap((spoken) => {
    const found = findContent(located, spoken, position);
    if (found === undefined) return [];
    position = found[1];
    let start = tokenAt(located, found[0]);
    while (tokens[start - 1]?.text === "") start--; // bytes of its first character
    return [{ role: spoken.role, start, end: tokenAt(located, found[1] - 1) + 1 }];
  });
}
