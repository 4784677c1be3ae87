import { withoutPunctuation } from "./python-text.ts";

/** NumPy, in which the originals compare, forgets NULs at the end of a text. */
const withoutFinalNuls = (text: string): string => {
  let end = text.length;
  while (text.charCodeAt(end - 1) === 0) end--;
  return text.slice(0, end);
};

/** 1 where the two are the same after `normalise` for any of the references, else 0. */
export function exactMatch(
  prediction: string,
  references: readonly string[],
  normalise: (text: string) => string = (text) => text,
): number {
  const form = (text: string): string => withoutFinalNuls(normalise(withoutFinalNuls(text)));
  const wanted = form(prediction);
  return references.some((reference) => form(reference) === wanted) ? 1 : 0;
}

/**
 * How open-instruct compares answers of BBH and GSM8K: small letters without ASCII punctuation. Blanks stay, so that a
 * string of brackets becomes its inner blanks, `(B)` is `b`, and `-50` is `50`.
 */
export const foldAnswer = (text: string): string => withoutPunctuation(text.toLowerCase());
