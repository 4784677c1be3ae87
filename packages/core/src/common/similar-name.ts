// Names that nobody knows, and the known ones that were probably meant.
import { MosError } from "mixture-of-shards-graph/common";

/** The error for a name that is none, with the one that was probably meant, or else all. */
export function unknownName(what: string, name: string, known: readonly string[]): MosError {
  const similar = similarName(name, known);
  const help = similar === undefined ? `expected one of ${known.join(", ")}` : `did you mean ${similar}?`;
  return new MosError("bad_option", `${what}; ${help}`);
}

/** `max-batch`, `max_batch` and `maxBatch` are one name to a reader. */
const plain = (name: string): string => name.replace(/[-_]/g, "").toLowerCase();

/** The known name that was probably meant: at most three edits away, and alike in more than half of its letters. */
export function similarName(name: string, known: readonly string[]): string | undefined {
  const edits = known.map((one) => [editDistance(plain(name), plain(one)), one] as const);
  const [best] = edits.sort(([a], [b]) => a - b);
  if (best === undefined) return undefined;
  const [count, similar] = best;
  return count <= Math.min(3, similar.length / 2) ? similar : undefined;
}

/** Letters to insert, delete or replace, or neighbours to swap, between two words. */
function editDistance(from: string, to: string): number {
  let [before, row] = [[] as number[], Array.from({ length: to.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const isSame = from[i - 1] === to[j - 1];
      const isSwap = from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      next[j] = Math.min(
        (row[j] ?? 0) + 1,
        (next[j - 1] ?? 0) + 1,
        (row[j - 1] ?? 0) + (isSame ? 0 : 1),
        isSwap ? (before[j - 2] ?? 0) + 1 : Number.POSITIVE_INFINITY,
      );
    }
    [before, row] = [row, next];
  }
  return row[to.length] ?? 0;
}
