// A model's choice in MMLU is one of four letters. Texts of other programs say it in more words.
import { WORD } from "./python-text.ts";

const OPENING = `[\\s"'“‘(\\[*]*`;
const ALONE = `(?![${WORD}'’-])`;
const PATTERNS = [
  // It begins with the letter; "A" before a small letter is more often an article.
  new RegExp(`^${OPENING}(?:(A)${ALONE}(?!\\s+\\p{Ll})|([B-D])${ALONE})`, "u"),
  // It says so.
  new RegExp(`[Aa]nswer(?:\\s+is)?\\s?:?${OPENING}([A-D])${ALONE}`, "u"),
  new RegExp(`^${OPENING}(A)${ALONE}`, "u"),
];

/**
 * The letter A to D that an answer chooses: the one it begins with, as in `B`, ` B. because` and `(B)`, else the one
 * behind "answer is" or "answer:". Only capitals, as the rules compare them; "" where there is none.
 */
export function chosenLetter(text: string): string {
  for (const pattern of PATTERNS) {
    const letter = pattern
      .exec(text)
      ?.slice(1)
      .find((group) => group !== undefined);
    if (letter !== undefined) return letter;
  }
  return "";
}
