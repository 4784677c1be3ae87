// What is wrong with a file of examples.
import { createReadStream } from "node:fs";
import { checkDataset, MosError } from "mixture-of-shards";

/** First bytes of files that look like broken JSON, and what they are. */
const OTHER_FILES = [
  ["\x1f\x8b", "compressed with gzip; send it uncompressed"],
  ["PK\x03\x04", "a ZIP archive or an Office document; send JSON Lines"],
  ["%PDF", "a PDF; extract its text (pdftotext), which mos data makes examples of"],
  ["PAR1", "a Parquet table; convert it to JSON Lines with mos data convert"],
] as const;

/** @throws MosError `bad_data` for a file of another kind. */
async function assertLines(path: string): Promise<void> {
  for await (const chunk of createReadStream(path, { end: 3, encoding: "latin1" })) {
    const found = OTHER_FILES.find(([start]) => (chunk as string).startsWith(start));
    if (found !== undefined) throw new MosError("bad_data", `${path} is ${found[1]}`);
  }
}

/** A wrong line of a file. */
export interface LineProblem {
  readonly line: number;
  readonly message: string;
}

/**
 * The first wrong lines of a file, at most so many.
 *
 * @throws MosError `bad_data` for a file of another kind, or one without examples.
 */
export async function checkLines(path: string, most: number): Promise<readonly LineProblem[]> {
  await assertLines(path);
  const problems: LineProblem[] = [];
  await checkDataset(path, { onProblem: ({ message }, line) => problems.push({ line, message }) < most });
  return problems;
}
