// How many lines the files of a job may have.
import { createReadStream } from "node:fs";
import { isReinforcement, type JobRow, type SliceEnd } from "#store";
import type { TrainRequest } from "./trainer.ts";

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
