// What is wrong with a file of examples: its lines, what they hold, and how many there are.
import { createReadStream } from "node:fs";
import { checkDataset, MosError, readDataset } from "mixture-of-shards";
import { type DataKind, isReinforcement, type JobRow, type SliceEnd } from "#store";
import type { TrainRequest } from "./trainer.ts";

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

/** Lines of a reinforcement job's files at most, as OpenAI has them: each is sampled and graded many times. */
const MAX_LINES = { training_file: 50_000, validation_file: 1000 };

/** Tests for a file of more lines. */
async function hasMore(path: string, lines: number): Promise<boolean> {
  let [count, isOpen] = [0, false];
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) {
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, at + 1)) count++;
    isOpen = chunk.at(-1) !== 10;
    if (count > lines) return true;
  }
  return count + Number(isOpen) > lines;
}

/** The end of a job whose files have too many lines; undefined for any other. */
export async function excessLines(
  job: Pick<JobRow, "request">,
  { data, validationData }: Pick<TrainRequest, "data" | "validationData">,
): Promise<SliceEnd | undefined> {
  if (!isReinforcement(job)) return undefined;
  const paths = { training_file: data, validation_file: validationData };
  for (const param of ["training_file", "validation_file"] as const) {
    const [path, most] = [paths[param], MAX_LINES[param]];
    if (path === undefined || !(await hasMore(path, most))) continue;
    const message = `the ${param} has more than ${most.toLocaleString("en")} lines; shorten it`;
    return { type: "failed", code: `invalid_${param}`, param, message };
  }
  return undefined;
}
