import { concatBytes } from "#common";
import { decodeBytes, incompleteTail } from "./token-bytes.ts";
import { leadingBlanks, type Tokenizer } from "./tokenizer.ts";

/** Turns ids into text one by one. */
export interface Detokenizer {
  /** The text that this id completes; "" while a character is incomplete. */
  push(id: number): string;
  /** The end of the text: U+FFFD for an incomplete character, else "". Resets the detokenizer. */
  flush(): string;
}

/**
 * An incremental detokenizer that never splits a code point. The results of all calls of `push` and one of `flush`,
 * joined, are `tokenizer.decode` of all ids. Where they continue a text, a leading blank, which SentencePiece prepends to a text,
 * is part of it.
 *
 * @example
 * const detokenizer = createDetokenizer(tokenizer, { skipSpecialTokens: true });
 * for (const id of ids) write(detokenizer.push(id));
 * write(detokenizer.flush());
 */
export function createDetokenizer(
  tokenizer: Pick<Tokenizer, "idToBytes" | "isSpecial" | "strippedBlanks">,
  { skipSpecialTokens = false, continues = false } = {},
): Detokenizer {
  let held: Uint8Array = new Uint8Array(0);
  let blanksToStrip = continues ? 0 : tokenizer.strippedBlanks;
  const emit = (text: string): string => {
    const stripped = leadingBlanks(text, blanksToStrip);
    // only leading blanks are stripped
    blanksToStrip = stripped < text.length ? 0 : blanksToStrip - stripped;
    return text.slice(stripped);
  };
  return {
    push(id) {
      if (skipSpecialTokens && tokenizer.isSpecial(id)) return "";
      const bytes = concatBytes([held, tokenizer.idToBytes(id)]);
      const complete = bytes.length - incompleteTail(bytes);
      held = bytes.subarray(complete);
      return emit(decodeBytes([bytes.subarray(0, complete)]));
    },
    flush() {
      const text = emit(decodeBytes([held]));
      held = new Uint8Array(0);
      blanksToStrip = tokenizer.strippedBlanks;
      return text;
    },
  };
}
