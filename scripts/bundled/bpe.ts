import { MosError } from "mixture-of-shards-core/common";

/** GPT-2's split of a text into pieces that no merge crosses; Hugging Face's `ByteLevel` uses the same pattern. */
const PIECES = /'(?:s|t|re|ve|m|ll|d)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/**
 * GPT-2's printable character for each byte: a printable Latin-1 byte stands for itself, the others for the
 * characters from U+0100 on.
 */
export function byteCharacters(): readonly string[] {
  const printable = (byte: number): boolean =>
    (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(printable(byte) ? byte : next++));
}

interface Word {
  symbols: string[];
  readonly count: number;
}

/** Pairs are keyed by both symbols with a space between them, a character that no symbol holds. */
function countPairs(words: readonly Word[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { symbols, count } of words)
    for (let i = 1; i < symbols.length; i++) {
      const pair = `${symbols[i - 1]} ${symbols[i]}`;
      counts.set(pair, (counts.get(pair) ?? 0) + count);
    }
  return counts;
}

/** The most frequent pair; of equally frequent ones the first in code unit order, so that nothing hangs on luck. */
function mostFrequent(counts: ReadonlyMap<string, number>): string | undefined {
  let best: string | undefined;
  let most = 1;
  for (const [pair, count] of counts)
    if (count > most || (count === most && best !== undefined && pair < best)) [best, most] = [pair, count];
  return best;
}

function applyMerge(word: Word, left: string, right: string): void {
  const merged: string[] = [];
  for (const symbol of word.symbols) {
    const joins = symbol === right && merged.at(-1) === left;
    if (joins) merged[merged.length - 1] = left + right;
    else merged.push(symbol);
  }
  word.symbols = merged;
}

function splitWords(texts: Iterable<string>): Word[] {
  const characters = byteCharacters();
  const encoder = new TextEncoder();
  const counts = new Map<string, number>();
  for (const text of texts)
    for (const [piece] of text.matchAll(PIECES)) counts.set(piece, (counts.get(piece) ?? 0) + 1);
  return [...counts].map(([piece, count]) => ({
    symbols: Array.from(encoder.encode(piece), (byte) => characters[byte] ?? ""),
    count,
  }));
}

/**
 * Learns `mergeCount` merges of byte-level BPE from texts.
 *
 * @throws MosError `bad_data` when the texts hold too few different words for so many merges.
 */
export function trainMerges(
  texts: Iterable<string>,
  mergeCount: number,
): readonly (readonly [string, string])[] {
  const words = splitWords(texts);
  const merges: (readonly [string, string])[] = [];
  while (merges.length < mergeCount) {
    const pair = mostFrequent(countPairs(words));
    const [left, right] = pair?.split(" ") ?? [];
    if (left === undefined || right === undefined)
      throw new MosError(
        "bad_data",
        `the texts give only ${merges.length} merges; ${mergeCount} were asked for`,
      );
    merges.push([left, right]);
    for (const word of words) applyMerge(word, left, right);
  }
  return merges;
}
