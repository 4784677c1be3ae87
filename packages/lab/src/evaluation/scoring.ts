// Scoring that several benchmarks share: exact match, SQuAD's two metrics, means over questions and over groups.
import type { ScoredQuestion, ScoreSummary, Verdict } from "./benchmark.ts";
import { splitWords, WORD, withoutPunctuation } from "./python.ts";

/** Answer that lm-evaluation-harness compares if its pattern is not found. */
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
 * Normalises answers of BBH and GSM8K as open-instruct does: lower case without ASCII punctuation. Blanks stay, so that a
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

/** The values of each metric. */
function byMetric(all: Iterable<Pick<Verdict, "scores">>): ReadonlyMap<string, readonly number[]> {
  const values = new Map<string, number[]>();
  for (const { scores } of all)
    for (const [metric, score] of Object.entries(scores)) append(values, metric, score);
  return values;
}

const average = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** The mean of each metric over the predictions for one question. */
const questionScores = ({ verdicts }: ScoredQuestion): Readonly<Record<string, number>> =>
  Object.fromEntries([...byMetric(verdicts)].map(([metric, values]) => [metric, average(values)]));

/**
 * The standard error of a mean, from the sample's deviation; of n questions of which a share p is right,
 * √(p (1 − p) / (n − 1)). Undefined for fewer than two values.
 */
function standardError(values: readonly number[]): number | undefined {
  if (values.length < 2) return undefined;
  const mean = average(values);
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return Math.sqrt(squares / (values.length - 1) / values.length);
}

/** The mean of values, and its standard error where there are two at least. */
export const meanWithError = (values: readonly number[]) => ({
  mean: average(values),
  error: standardError(values),
});

/**
 * The mean of each metric over these questions. Predictions for one question depend on each other, and are one value of it.
 *
 * @param scale What a right answer scores.
 */
export function summarizeScores(scored: readonly ScoredQuestion[], scale = 1): ScoreSummary {
  const all = [...byMetric(scored.map((question) => ({ scores: questionScores(question) })))];
  const isShare = (values: readonly number[]): boolean =>
    values.every((value) => value === 0 || value === scale);
  return {
    scores: Object.fromEntries(all.map(([metric, values]) => [metric, average(values)])),
    errors: definedEntries(all.map(([metric, values]) => [metric, standardError(values)])),
    right: definedEntries(
      all.map(([metric, values]) => [
        metric,
        isShare(values) ? values.filter((value) => value === scale).length : undefined,
      ]),
    ),
    questions: scored.length,
  };
}

const definedEntries = (
  entries: readonly (readonly [string, number | undefined])[],
): Readonly<Record<string, number>> =>
  Object.fromEntries(entries.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])));

/**
 * The mean of each metric over groups, each of which counts as much as any other. Its error is that of a mean of independent
 * means, √(Σ error²) / groups.
 *
 * @param prefix Of the names of the means.
 */
export function averageGroups(groups: readonly ScoreSummary[], prefix = "") {
  const all = [...byMetric(groups)];
  const groupError = (metric: string): number | undefined =>
    meanError(groups.map((group) => group.errors[metric]));
  return {
    scores: Object.fromEntries(all.map(([metric, values]) => [prefix + metric, average(values)])),
    errors: definedEntries(all.map(([metric]) => [prefix + metric, groupError(metric)])),
    right: {},
  };
}

/** The error of a mean of independent figures, where that of each is known. */
export function meanError(errors: readonly (number | undefined)[]): number | undefined {
  let squares = 0;
  for (const error of errors) {
    if (error === undefined) return undefined;
    squares += error ** 2;
  }
  return Math.sqrt(squares) / errors.length;
}

/**
 * Ours − theirs of each question that both were asked. A benchmark's summary of these is the difference of its scores, with
 * the standard error of paired questions, since the metrics of tables are means of questions, or of groups of them.
 */
export function pairedDifferences(
  ours: readonly ScoredQuestion[],
  theirs: readonly ScoredQuestion[],
): readonly ScoredQuestion[] {
  const others = new Map(theirs.map((question) => [question.id, questionScores(question)]));
  return ours.flatMap((question): ScoredQuestion[] => {
    const other = others.get(question.id);
    if (other === undefined) return [];
    const scores = definedEntries(
      Object.entries(questionScores(question)).map(([metric, score]) => [
        metric,
        other[metric] === undefined ? undefined : score - other[metric],
      ]),
    );
    return [{ ...question, verdicts: [{ scores }] }];
  });
}

/** A summary of each group, in the order of their names. */
export function summarizeGroups(
  scored: readonly ScoredQuestion[],
  summarise: (scored: readonly ScoredQuestion[]) => ScoreSummary = summarizeScores,
): ReadonlyMap<string, ScoreSummary> {
  const groups = new Map<string, ScoredQuestion[]>();
  for (const question of scored) append(groups, question.group, question);
  const sorted = [...groups].toSorted(([a], [b]) => (a < b ? -1 : 1));
  return new Map(sorted.map(([name, group]) => [name, summarise(group)]));
}
