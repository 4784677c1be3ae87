// A task's samples, one JSON line each, for people to read, and for a later run to resume from. A sample is a question with
// its predictions and their scores.
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import {
  openJsonLinesWriter,
  pathExists,
  readJsonLines,
  writeFileAtomic,
} from "mixture-of-shards-core/files";
import { z } from "zod";

const sampleSchema = z.looseObject({
  type: z.literal("sample"),
  id: z.string(),
  group: z.string(),
  /** The predictions; logs have called them answers from the start. */
  answers: z.array(z.string()),
  verdicts: z.array(
    z.object({
      extracted: z.string(),
      scores: z.record(z.string(), z.number()),
      reason: z.string().optional(),
    }),
  ),
  /** Scores that a busy machine may have spoiled, until the programs are run again at the end. */
  provisional: z.literal(true).optional(),
  tooLong: z.literal(true).optional(),
});
const headSchema = z.object({ type: z.literal("run"), identity: z.record(z.string(), z.json()) });

/** A line of the log. More fields are for people. */
export interface Sample extends z.output<typeof sampleSchema> {
  readonly [more: string]: unknown;
}

/** Everything that a prediction depends on, by name. */
export type Identity = Readonly<Record<string, string | number | boolean | null>>;

export type SampleLog = Awaited<ReturnType<typeof openSampleLog>>;

export interface SampleLogOptions {
  /** Exists; the log is `<subject>.<task>.jsonl` there. */
  readonly folder: string;
  readonly subject: string;
  readonly task: string;
  readonly identity: Identity;
}

/** The first line of a file; undefined where it is empty or no JSON. */
async function firstLine(path: string): Promise<unknown> {
  try {
    for await (const { value } of readJsonLines(path)) return value;
  } catch (error) {
    if (!(error instanceof MosError && error.code === "bad_data")) throw error;
  }
  return undefined;
}

/** Throws where the log is of a run with other settings, and names the first that differs. */
async function checkIdentity(path: string, wanted: Identity): Promise<void> {
  const head = headSchema.safeParse(await firstLine(path));
  if (!head.success)
    throw new MosError("bad_data", `${path} is not an answer log; remove it, or choose another --out`);
  const before = head.data.identity;
  const differs = Object.keys({ ...before, ...wanted }).find((key) => before[key] !== wanted[key]);
  if (differs !== undefined)
    throw new MosError(
      "bad_option",
      `${path} holds answers of another run (${differs} was ${before[differs] ?? "not set"}, now ${wanted[differs] ?? "not set"}); choose another --out, or remove it`,
    );
}

const sampleLogPath = ({ folder, subject, task }: SampleLogOptions): string =>
  join(folder, `${encodeURIComponent(subject)}.${task}.jsonl`);

/** Makes sure that a later run can resume from a log, if there is one. Throws `bad_option`, `bad_data`, `storage`. */
export async function checkSampleLog(options: SampleLogOptions): Promise<void> {
  const path = sampleLogPath(options);
  if (await pathExists(path)) await checkIdentity(path, options.identity);
}

/**
 * Opens the log of a task's samples. A last line that was not written to its end is dropped.
 *
 * @throws MosError `bad_option` where it has samples of another run, `bad_data`, `storage`.
 */
export async function openSampleLog(options: SampleLogOptions) {
  const { identity } = options;
  const path = sampleLogPath(options);
  // whole or not at all: what is not a log is never touched
  if (!(await pathExists(path)))
    await writeFileAtomic(path, `${JSON.stringify({ type: "run", identity })}\n`);
  await checkIdentity(path, identity);
  const writer = await openJsonLinesWriter(path);
  try {
    const known = new Map<string, Sample>(); // from earlier runs, by id
    const lines = readJsonLines(path);
    await lines.next(); // the head
    for await (const { line, value } of lines) {
      const sample = sampleSchema.safeParse(value);
      if (!sample.success)
        throw new MosError(
          "bad_data",
          `${path}:${line} is not an answer; remove the line, or choose another --out`,
        );
      known.set(sample.data.id, sample.data);
    }
    return {
      known,
      write: (sample: Sample) => writer.write(sample),
      [Symbol.asyncDispose]: () => writer[Symbol.asyncDispose](),
    };
  } catch (error) {
    await writer[Symbol.asyncDispose]();
    throw error;
  }
}
