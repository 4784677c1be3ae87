import { MosError } from "#core";

/** How much there is of something, and how much the whole benchmark has. */
export interface Count {
  /** What is counted: `questions of MMLU`. */
  readonly what: string;
  readonly found: number;
  readonly expected: number;
}

/** A note for each count that is not the whole benchmark's: a folder may hold a part on purpose. */
export const notesOfCounts = (counts: readonly Count[]): readonly string[] =>
  counts
    .filter(({ found, expected }) => found !== expected)
    .map(({ what, found, expected }) => `${found} ${what} instead of ${expected}`);

/** @throws MosError `bad_data` where what was fetched is not the whole benchmark. */
export function expectCounts(counts: readonly Count[], source: string): void {
  const notes = notesOfCounts(counts);
  if (notes.length === 0) return;
  throw new MosError(
    "bad_data",
    `${source}: ${notes.join("; ")}: the data set has changed since these rules were written; give a folder with the right one (--data)`,
  );
}
