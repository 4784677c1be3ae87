// Scoring that several benchmarks share: exact match, SQuAD's two metrics, means over questions and over groups.
import type { ScoredQuestion, ScoreSummary, Verdict } from "./benchmark.ts";
import { splitWords, WORD, withoutPunctuation } from "./python.ts";

/** What lm-evaluation-harness compares where its pattern is not found. */
export const NO_ANSWER = "[invalid]";

/** NumPy, in which the originals compare, drops NULs at the end of a text. */
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
  const predicted = form(prediction);
  return references.some((reference) => form(reference) === predicted) ? 1 : 0;
}

/**
 * How open-instruct compares answers of BBH and GSM8K: small letters without ASCII punctuation. Blanks stay, so that a
 * string of brackets becomes its inner blanks, `(B)` is `b`, and `-50` is `50`.
 */
export const foldAnswer = (text: string): string => withoutPunctuation(text.toLowerCase());

/** JavaScript's `\b` knows ASCII only. */
const ARTICLE = new RegExp(`(?<![${WORD}])(?:a|an|the)(?![${WORD}])`, "gu");

/** SQuAD's normal form: small letters without ASCII punctuation and English articles, one space between words. */
export const normaliseAnswer = (text: string): string =>
  splitWords(withoutPunctuation(text.toLowerCase()).replace(ARTICLE, " ")).join(" ");

/** F1 of the words that two texts share, each as often as both have it: 0 to 1, and 0 where both are empty. */
function overlap(prediction: string, reference: string): number {
  const [predicted, right] = [splitWords(prediction), splitWords(reference)];
  const left = new Map<string, number>();
  for (const word of right) left.set(word, (left.get(word) ?? 0) + 1);
  let same = 0;
  for (const word of predicted) {
    const count = left.get(word) ?? 0;
    if (count > 0) same++;
    left.set(word, count - 1);
  }
  if (same === 0) return 0;
  const [precision, recall] = [same / predicted.length, same / right.length];
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

const append = <K, V>(lists: Map<K, V[]>, key: K, value: V): void => {
  const list = lists.get(key);
  if (list === undefined) lists.set(key, [value]);
  else list.push(value);
};

/** The mean of each metric. */
function meansOf(all: Iterable<Pick<Verdict, "scores">>): Readonly<Record<string, number>> {
  const byMetric = new Map<string, number[]>();
  for (const { scores } of all)
    for (const [metric, score] of Object.entries(scores)) append(byMetric, metric, score);
  return Object.fromEntries(
    [...byMetric].map(([metric, values]) => [
      metric,
      values.reduce((sum, value) => sum + value, 0) / values.length,
    ]),
  );
}

/** The mean of each metric over all predictions for these questions. */
export const summaryOf = (scored: readonly ScoredQuestion[]): ScoreSummary => ({
  scores: meansOf(scored.flatMap(({ verdicts }) => verdicts)),
  questions: scored.length,
});

/** The mean of each metric over groups, each of which counts as much as any other. */
export const meanOfGroups = (groups: Iterable<ScoreSummary>): Readonly<Record<string, number>> =>
  meansOf(groups);

/** Questions by the group that `groupOf` says, in the order of the groups' names. */
export function groupQuestions(
  scored: readonly ScoredQuestion[],
  groupOf: (question: ScoredQuestion) => string = ({ group }) => group,
): ReadonlyMap<string, readonly ScoredQuestion[]> {
  const groups = new Map<string, ScoredQuestion[]>();
  for (const question of scored) append(groups, groupOf(question), question);
  return new Map([...groups].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** A summary of each group. */
export const summariesOf = (
  scored: readonly ScoredQuestion[],
  summarise: (scored: readonly ScoredQuestion[]) => ScoreSummary = summaryOf,
): ReadonlyMap<string, ScoreSummary> =>
  new Map([...groupQuestions(scored)].map(([name, group]) => [name, summarise(group)]));
