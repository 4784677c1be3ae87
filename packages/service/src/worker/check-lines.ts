// What is wrong with a file of examples.
import { createReadStream } from "node:fs";
import { checkDataset, MosError, readDataset } from "mixture-of-shards";
import type { DataKind } from "#store";

/** First bytes of files that look like broken JSON, and what they are. */
const OTHER_FILES = [
  ["\x1f\x8b", "compressed with gzip; send it uncompressed"],
  ["PK\x03\x04", "a ZIP archive or an Office document; send JSON Lines"],
  ["%PDF", "a PDF; send its text as examples, in JSON Lines"],
  ["PAR1", "a Parquet table; send its rows as JSON Lines"],
] as const;

/** @throws MosError `bad_data` for a file of another kind. */
async function assertLines(path: string): Promise<void> {
  for await (const chunk of createReadStream(path, { end: 3, encoding: "latin1" })) {
    const found = OTHER_FILES.find(([start]) => (chunk as string).startsWith(start));
    if (found !== undefined) throw new MosError("bad_data", `${path} is ${found[1]}`);
  }
}

/** What is wrong with a file, or with a line of it. */
export interface FileProblem {
  /** Null for the file as a whole. */
  readonly line: number | null;
  readonly message: string;
}

/**
 * The first wrong lines of a file, at most so many.
 *
 * @throws MosError `bad_data` for a file of another kind, or one without examples.
 */
export async function checkLines(path: string, most: number): Promise<readonly FileProblem[]> {
  await assertLines(path);
  const problems: FileProblem[] = [];
  await checkDataset(path, { onProblem: ({ message }, line) => problems.push({ line, message }) < most });
  return problems;
}

/** What a file holds, where that is not what a run learns from. Whatever else is wrong with it is left to the run. */
export async function findOtherKind(path: string, kind: DataKind): Promise<DataKind | undefined> {
  let found: DataKind | undefined;
  const describeUse = (other: DataKind): undefined => {
    found = other;
  };
  await readDataset(path, { kind, limit: 1, describeUse }).catch(() => undefined);
  return found;
}
