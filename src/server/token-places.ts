import { createDetokenizer, incompleteTail } from "#text";
import { characters, type TokenWriter } from "./token-text.ts";

export interface TokenPlacesOptions {
  /** Characters before the first token. */
  readonly start: number;
  /** The tokens go on in the middle of a text, as a completion's do. */
  readonly continues: boolean;
}

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Whether bytes are the beginning of a text, or all of one: no part of them is known to be broken. */
function canGoOn(bytes: Uint8Array): boolean {
  try {
    new TextDecoder("utf-8", { fatal: true }).decode(bytes, { stream: true });
    return true;
  } catch {
    return false;
  }
}

/**
 * Says of each token where its own text begins, in characters: whatever of the text is held back, as the possible start
 * of a stop text is. A token that goes on with a character begins where the character does.
 */
export function tokenPlaces(
  tokenizer: TokenWriter,
  { start, continues }: TokenPlacesOptions,
): (id: number) => number {
  const detokenizer = createDetokenizer(tokenizer, { continues });
  let at = start;
  let held = new Uint8Array(0);
  return (id) => {
    const bytes = tokenizer.bytesOf(id);
    const goesOn = canGoOn(Uint8Array.of(...held, ...bytes.subarray(0, 1)));
    // what does not go on was a broken character, which the text shows as such
    const place = goesOn ? at : at + characters(decoder.decode(held));
    at += characters(detokenizer.push(id));
    const all = Uint8Array.of(...held, ...bytes);
    held = all.subarray(all.length - incompleteTail(all));
    return place;
  };
}
