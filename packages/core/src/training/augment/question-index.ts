// Which of the data's questions a wording asks: a new wording is used only where it is nearer to its own question than to any other.
import type { QuestionAnswer } from "#data";

/** Letters of a word that are compared: more would tell inflections of one word apart. */
const STEM = 5;

const termsOf = (text: string): ReadonlySet<string> =>
  new Set([...text.toLowerCase().matchAll(/[\p{L}\p{N}]+/gu)].map(([word]) => word.slice(0, STEM)));

/** What a word of the answer counts beside one of the question. */
const ANSWER_WEIGHT = 0.5;
/** What a wording must share with its question at least, of the weight of a word that no other line has. */
const LEAST_SHARED = 0.5;

/**
 * A test of whether a wording asks one of these questions and no other, by the words that they share, each weighted by its
 * inverse document frequency, so that common words count for little in any language.
 */
export function questionIndex(
  lessons: readonly QuestionAnswer[],
): (wording: string, lesson: number) => boolean {
  const postings = new Map<string, { readonly lesson: number; readonly weight: number }[]>();
  for (const [lesson, { question, answer }] of lessons.entries()) {
    const asked = termsOf(question);
    for (const term of new Set([...asked, ...termsOf(answer)])) {
      const found = postings.get(term) ?? [];
      found.push({ lesson, weight: asked.has(term) ? 1 : ANSWER_WEIGHT });
      postings.set(term, found);
    }
  }
  const least = LEAST_SHARED * Math.log((lessons.length + 1) / 2);
  return (wording, lesson) => {
    const scores = new Float64Array(lessons.length);
    for (const term of termsOf(wording)) {
      const found = postings.get(term) ?? [];
      const rarity = Math.log((lessons.length + 1) / (found.length + 1));
      for (const { lesson: i, weight } of found) scores[i] = (scores[i] as number) + weight * rarity;
    }
    const own = scores[lesson] as number;
    return own >= least && scores.every((score, i) => i === lesson || score < own);
  };
}
