// How similar two texts are, from 0 to 1, by measures of one text against one reference.
import { stem } from "./porter.ts";

/** A measure: (text, reference) → 0 to 1. Those of evaluation have names of their own, by which graders choose them. */
export const MEASURES = {
  fuzzy_match: (text, reference) => fuzzyMatch([...text], [...reference]),
  bleu: (text, reference) => bleu(splitWords(text), splitWords(reference)),
  gleu: (text, reference) => gleu(splitWords(text), splitWords(reference)),
  meteor: (text, reference) => meteor(lowerWords(text), lowerWords(reference)),
  rouge_1: rouge(1),
  rouge_2: rouge(2),
  rouge_3: rouge(3),
  rouge_4: rouge(4),
  rouge_5: rouge(5),
  rouge_l: (text, reference) => rougeL(plainWords(text), plainWords(reference)),
} satisfies Record<string, (text: string, reference: string) => number>;

type Words = readonly string[];

/** Words and runs of other characters, as NLTK's `wordpunct_tokenize` splits them. */
const splitWords = (text: string): Words => text.match(/[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s]+/gu) ?? [];
const lowerWords = (text: string): Words => splitWords(text.toLowerCase());
/** Letters and digits of ASCII alone, as the package rouge-score splits them. */
const plainWords = (text: string): Words => text.toLowerCase().match(/[a-z0-9]+/g) ?? [];

/** The harmonic mean of precision and recall. */
const fMeasure = (hits: number, found: number, wanted: number): number =>
  found + wanted === 0 ? 0 : (2 * hits) / (found + wanted);

/** The share of characters that need neither be inserted nor deleted: `fuzz.ratio` of RapidFuzz, divided by 100. */
const fuzzyMatch = (text: Words, reference: Words): number =>
  text.length + reference.length === 0 ? 1 : rougeL(text, reference);

const rougeL = (text: Words, reference: Words): number =>
  fMeasure(commonLength(text, reference), text.length, reference.length);

/** Length of the longest common subsequence, by one big number whose bits are the places of `b` (Hyyrö, 2004). */
function commonLength(a: Words, b: Words): number {
  const places = new Map<string, bigint>();
  for (const [i, item] of b.entries()) places.set(item, (places.get(item) ?? 0n) | (1n << BigInt(i)));
  const all = (1n << BigInt(b.length)) - 1n;
  let free = all;
  for (const item of a) {
    const hits = free & (places.get(item) ?? 0n);
    if (hits !== 0n) free = ((free + hits) | (free - hits)) & all;
  }
  return b.length - (free.toString(2).match(/1/g)?.length ?? 0);
}

/** How often each run of `n` words occurs. */
function countRuns(words: Words, n: number): ReadonlyMap<string, number> {
  const counts = new Map<string, number>();
  for (let i = 0; i + n <= words.length; i++) {
    const run = words.slice(i, i + n).join("\u0000");
    counts.set(run, (counts.get(run) ?? 0) + 1);
  }
  return counts;
}

/** Runs of `n` words that both have. */
function countCommon(text: Words, reference: Words, n: number): number {
  const wanted = countRuns(reference, n);
  let hits = 0;
  for (const [run, count] of countRuns(text, n)) hits += Math.min(count, wanted.get(run) ?? 0);
  return hits;
}

const runs = (words: Words, n: number): number => Math.max(0, words.length - n + 1);

function rouge(n: number) {
  return (text: string, reference: string): number => {
    const [words, wanted] = [plainWords(text), plainWords(reference)];
    return fMeasure(countCommon(words, wanted, n), runs(words, n), runs(wanted, n));
  };
}

const ORDERS = [1, 2, 3, 4];

/** The geometric mean of four precisions with a penalty for brevity; 0 where no run of four words is right. */
function bleu(text: Words, reference: Words): number {
  if (text.length === 0) return 0;
  const logarithms = ORDERS.map((n) =>
    Math.log(countCommon(text, reference, n) / Math.max(1, runs(text, n))),
  );
  const penalty = Math.min(1, Math.exp(1 - reference.length / text.length));
  return penalty * Math.exp(logarithms.reduce((sum, value) => sum + value, 0) / ORDERS.length);
}

/** Common runs of one to four words, of all that the longer text has. */
function gleu(text: Words, reference: Words): number {
  const sum = (count: (n: number) => number): number => ORDERS.reduce((total, n) => total + count(n), 0);
  const most = Math.max(
    sum((n) => runs(text, n)),
    sum((n) => runs(reference, n)),
  );
  return most === 0 ? 0 : sum((n) => countCommon(text, reference, n)) / most;
}

/** METEOR with equal words and equal stems, without synonyms, by NLTK's parameters. */
function meteor(text: Words, reference: Words): number {
  const pairs = alignWords(text, reference);
  if (pairs.length === 0) return 0;
  const [precision, recall] = [pairs.length / text.length, pairs.length / reference.length];
  const mean = (precision * recall) / (0.9 * precision + 0.1 * recall);
  const chunks = pairs.filter(([place, target], i) => {
    const [before, targetBefore] = pairs[i - 1] ?? [];
    return before === undefined || place !== before + 1 || target !== (targetBefore ?? 0) + 1;
  });
  return (1 - 0.5 * (chunks.length / pairs.length) ** 3) * mean;
}

/** Pairs of places with the same word, then of those left with the same stem, each from the last to the first. */
function alignWords(text: Words, reference: Words): readonly (readonly [number, number])[] {
  const pairs: (readonly [number, number])[] = [];
  let [open, targets] = [[...text.keys()], [...reference.keys()]];
  for (const form of [(word: string) => word, stem]) {
    const places = new Map<string, number[]>();
    for (const target of targets) {
      const word = form(reference[target] ?? "");
      const same = places.get(word);
      if (same === undefined) places.set(word, [target]);
      else same.push(target);
    }
    for (const place of [...open].reverse()) {
      const target = places.get(form(text[place] ?? ""))?.pop();
      if (target !== undefined) pairs.push([place, target]);
    }
    const [used, hit] = [new Set(pairs.map(([place]) => place)), new Set(pairs.map(([, target]) => target))];
    open = open.filter((place) => !used.has(place));
    targets = targets.filter((target) => !hit.has(target));
  }
  return pairs.sort(([a], [b]) => a - b);
}
