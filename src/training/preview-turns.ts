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

type Spoken = readonly { readonly role: PreviewedTurn["role"]; readonly content: string }[];

function spokenIn(example: Example): Spoken {
  switch (example.kind) {
    case "chat":
      return example.turns;
    case "completion":
      return [
        { role: "prompt", content: example.prompt },
        { role: "completion", content: example.completion },
      ];
    case "text":
      return [];
  }
}

/** Characters by which the beginning of a content is found that is cut off. */
const BEGINNING = 16;

/** Where a content begins and ends; one that is cut off ends with the text. */
function findContent(text: string, content: string, from: number): readonly [number, number] | undefined {
  const at = text.indexOf(content, from);
  if (at >= 0) return [at, at + content.length];
  const begin = text.indexOf(content.slice(0, BEGINNING), from);
  return begin >= 0 && content.startsWith(text.slice(begin)) ? [begin, text.length] : undefined;
}

/**
 * Finds the messages of an example among its tokens, in their order. What a prompt format writes otherwise than the data do,
 * such as calls of tools, is left out.
 */
export function findTurns(
  example: Example,
  tokens: readonly { readonly text: string }[],
): readonly PreviewedTurn[] {
  const text = tokens.map((token) => token.text).join("");
  let [token, tokenEnd, position] = [0, tokens[0]?.text.length ?? 0, 0];
  /** The token that holds a character. */
  const tokenAt = (character: number): number => {
    while (tokenEnd <= character && token < tokens.length) tokenEnd += tokens[++token]?.text.length ?? 0;
    return token;
  };
  return spokenIn(example).flatMap(({ role, content }) => {
    const wanted = content.trim(); // templates may strip
    const found = wanted === "" ? undefined : findContent(text, wanted, position);
    if (found === undefined) return [];
    position = found[1];
    return [{ role, start: tokenAt(found[0]), end: tokenAt(found[1] - 1) + 1 }];
  });
}
