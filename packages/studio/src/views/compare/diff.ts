// The difference of two texts by words, as E. Myers' O(ND) algorithm finds it.

/** A part of both texts, of the second only, or of the first only. */
export interface DiffPart {
  readonly kind: "same" | "added" | "removed";
  readonly text: string;
}

/** Edits up to which the shortest way is searched: its memory grows by their square. Beyond them, one block replaces another. */
const MAX_EDITS = 1000;

const WORDS = /\s+|[\p{L}\p{M}\p{N}_]+|[^\s\p{L}\p{M}\p{N}_]/gu;
/** Scripts without blanks between words. */
const UNSPACED =
  /\p{Script=Han}|\p{Script=Hiragana}|\p{Script=Katakana}|\p{Script=Thai}|\p{Script=Lao}|\p{Script=Khmer}|\p{Script=Myanmar}/u;

/** Words, punctuation and white space. The browser is asked only for words without blanks: it needs a second for ten pages. */
function splitWords(text: string): readonly string[] {
  const pieces = text.match(WORDS) ?? [];
  if (!UNSPACED.test(text) || !("Segmenter" in Intl)) return pieces;
  const segmenter = new Intl.Segmenter("und", { granularity: "word" });
  return pieces.flatMap((piece) =>
    UNSPACED.test(piece) ? Array.from(segmenter.segment(piece), ({ segment }) => segment) : [piece],
  );
}

/** Compares two texts by words. Without the removed parts it is the second text, without the added ones the first. */
export function diffWords(first: string, second: string): readonly DiffPart[] {
  const [a, b] = [splitWords(first), splitWords(second)];
  let start = 0;
  while (start < Math.min(a.length, b.length) && a[start] === b[start]) start++;
  let end = 0;
  while (end < Math.min(a.length, b.length) - start && a.at(-1 - end) === b.at(-1 - end)) end++;
  const middle = compare(a.slice(start, a.length - end), b.slice(start, b.length - end));
  return joined([...edits("same", b.slice(0, start)), ...middle, ...edits("same", b.slice(b.length - end))]);
}

const edits = (kind: DiffPart["kind"], words: readonly string[]): readonly DiffPart[] =>
  words.map((text) => ({ kind, text }));

function compare(a: readonly string[], b: readonly string[]): readonly DiffPart[] {
  const rounds = a.length === 0 || b.length === 0 ? undefined : search(a, b);
  return rounds === undefined ? [...edits("removed", a), ...edits("added", b)] : walkBack(rounds, a, b);
}

/** How far each diagonal x - y has come in the first text, by x; at most `edits` + 1 away from the middle one. */
interface Round {
  readonly edits: number;
  readonly reach: Int32Array;
}

/** The diagonal from which a round comes to another: from above by adding a word, from the left by removing one. */
function cameFrom(
  { edits: count, reach }: Round,
  diagonal: number,
): { readonly x: number; readonly diagonal: number } {
  const [left, above] = [reach[diagonal + count] ?? 0, reach[diagonal + count + 2] ?? 0];
  const isAbove = diagonal === -count || (diagonal !== count && left < above);
  return isAbove ? { x: above, diagonal: diagonal + 1 } : { x: left, diagonal: diagonal - 1 };
}

/** The state before each number of edits, up to the one that uses both texts up; undefined where that takes too many. */
function search(a: readonly string[], b: readonly string[]): readonly Round[] | undefined {
  const rounds: Round[] = [];
  let reach: Int32Array = new Int32Array(3);
  for (let count = 0; count <= Math.min(a.length + b.length, MAX_EDITS); count++) {
    const round = { edits: count, reach };
    rounds.push(round);
    const next = new Int32Array(2 * count + 5);
    for (let diagonal = -count; diagonal <= count; diagonal += 2) {
      const from = cameFrom(round, diagonal);
      let x = from.diagonal > diagonal ? from.x : from.x + 1;
      while (x < a.length && x - diagonal < b.length && a[x] === b[x - diagonal]) x++;
      if (x >= a.length && x - diagonal >= b.length) return rounds;
      next[diagonal + count + 2] = x;
    }
    reach = next;
  }
  return undefined;
}

function walkBack(rounds: readonly Round[], a: readonly string[], b: readonly string[]): readonly DiffPart[] {
  const parts: DiffPart[] = [];
  let [x, y] = [a.length, b.length];
  for (const round of rounds.toReversed()) {
    const from = cameFrom(round, x - y);
    const isAdded = from.diagonal > x - y;
    const fromY = from.x - from.diagonal;
    const [startX, startY] = isAdded ? [from.x, fromY + 1] : [from.x + 1, fromY];
    parts.push(...edits("same", a.slice(startX, x).reverse()));
    [x, y] = [startX, startY];
    if (round.edits === 0) break;
    if (isAdded) parts.push({ kind: "added", text: b[--y] ?? "" });
    else parts.push({ kind: "removed", text: a[--x] ?? "" });
  }
  return parts.reverse();
}

/**
 * Neighbours of one kind as one part, what was removed before what was added. White space between two changes is part of
 * the change: a sentence that replaces another is one mark, not one for each word.
 */
function joined(words: readonly DiffPart[]): readonly DiffPart[] {
  const isChange = (i: number): boolean => words[i] !== undefined && words[i].kind !== "same";
  const widened = words.flatMap(({ kind, text }, i): readonly DiffPart[] => {
    const isPart = kind === "same" && text.trim() === "" && isChange(i - 1) && isChange(i + 1);
    return isPart ? [...edits("removed", [text]), ...edits("added", [text])] : [{ kind, text }];
  });
  const parts: DiffPart[] = [];
  let group = { same: "", removed: "", added: "" };
  const flush = (): void => {
    for (const kind of ["same", "removed", "added"] as const)
      if (group[kind] !== "") parts.push({ kind, text: group[kind] });
    group = { same: "", removed: "", added: "" };
  };
  for (const { kind, text } of widened) {
    if (kind === "same" && group.removed + group.added !== "") flush();
    group[kind] += text;
  }
  flush();
  return parts;
}
