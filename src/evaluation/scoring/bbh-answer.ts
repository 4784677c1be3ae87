import { strip } from "./python-text.ts";

/** What lm-evaluation-harness compares where its pattern is not found. */
export const NO_ANSWER = "[invalid]";

/**
 * open-instruct's answer: what follows the first "the answer is " up to the next period of its line, else all of the
 * text. The original's `[t|T]` takes a bar, too.
 */
export function statedAnswer(text: string): string {
  // Where a line end comes first it does so for later beginnings in that line, too: no character is read twice.
  for (const [, answer = "", period] of text.matchAll(/[t|T]he answer is ([^\n.]*)(\.?)/g))
    if (period === ".") return strip(answer);
  return strip(text);
}

/**
 * lm-evaluation-harness's answer: what follows the first "the answer is " to the end of its line without the last
 * character, be that a period or not.
 */
export function restOfLine(text: string): string {
  const answer = /(?<=the answer is )[^\n]*(?=[^\n])/u.exec(text)?.[0];
  return answer === undefined ? NO_ANSWER : strip(answer);
}
