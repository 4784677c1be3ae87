import { splitWords, WORD, withoutPunctuation } from "./python-text.ts";

/** JavaScript's `\b` knows ASCII only. */
const ARTICLE = new RegExp(`(?<![${WORD}])(?:a|an|the)(?![${WORD}])`, "gu");

/** SQuAD's normal form: small letters without ASCII punctuation and English articles, one space between words. */
export const normaliseAnswer = (text: string): string =>
  splitWords(withoutPunctuation(text.toLowerCase()).replace(ARTICLE, " ")).join(" ");

/** F1 of the words that two texts share, each as often as both have it: 0 to 1, and 0 where both are empty. */
function overlap(prediction: string, reference: string): number {
  const [words, wanted] = [splitWords(prediction), splitWords(reference)];
  const left = new Map<string, number>();
  for (const word of wanted) left.set(word, (left.get(word) ?? 0) + 1);
  let same = 0;
  for (const word of words) {
    const count = left.get(word) ?? 0;
    if (count > 0) same++;
    left.set(word, count - 1);
  }
  if (same === 0) return 0;
  const [precision, recall] = [same / words.length, same / wanted.length];
  return (2 * precision * recall) / (precision + recall);
}

/**
 * SQuAD 1.1's two metrics, 0 to 100. Each takes its best reference for itself.
 *
 * @example
 * squadScores("the old man", ["Old man", "a man"]); // { f1: 100, exactMatch: 100 }
 */
export function squadScores(
  prediction: string,
  references: readonly string[],
): { readonly f1: number; readonly exactMatch: number } {
  const answer = normaliseAnswer(prediction);
  const golds = references.map(normaliseAnswer);
  return {
    f1: 100 * Math.max(0, ...golds.map((gold) => overlap(answer, gold))),
    exactMatch: golds.includes(answer) ? 100 : 0,
  };
}
