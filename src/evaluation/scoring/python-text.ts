// The originals are Python programs: what it takes for blanks, digits and letters decides marks, and JavaScript's trim,
// \s, \w, \d and dot are others.

/** What `str.strip`, `str.split` and `\s` take for blanks: also U+001C to 1F and U+0085, but not U+FEFF. */
const BLANKS = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
const BLANK = new RegExp(`[${BLANKS}]`);
const BLANK_RUN = new RegExp(`[${BLANKS}]+`);

/** Python's `\w`, for a class of a regular expression with the flag `u`: no marks, no joiners. */
export const WORD = "\\p{L}\\p{N}_";

/** Python's `\d`, for a regular expression with the flag `u`: digits of all scripts. */
export const DIGIT = "\\p{Nd}";

/** `str.strip()`. A loop: `[…]+$` takes quadratic time on a text of many blanks. */
export function strip(text: string): string {
  let [begin, end] = [0, text.length];
  while (begin < end && BLANK.test(text.charAt(begin))) begin++;
  while (end > begin && BLANK.test(text.charAt(end - 1))) end--;
  return text.slice(begin, end);
}

/** `str.split()`: the words, none of them empty. */
export const splitWords = (text: string): readonly string[] =>
  text.split(BLANK_RUN).filter((word) => word !== "");

/** Deletes what `string.punctuation` lists: the 32 ASCII characters, and no other script's. */
export const withoutPunctuation = (text: string): string => text.replace(/[!-/:-@[-`{-~]/g, "");
