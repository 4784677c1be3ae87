// A folder of lessons, and what its nights have made of it.
import { z } from "zod";
import { openAdapterFolder } from "#adapters";
import { MosError, parseWith } from "#common";
import { openJsonLinesWriter, pathExists, readJsonLines } from "#files";
import { join } from "#platform";
import { isGradable, type Lesson, parseLesson } from "./lesson.ts";

/** Names in a folder of lessons. */
export const LEARNING_FILES = {
  lessons: "lessons.jsonl",
  /** Questions that must stay right. */
  checks: "checks.jsonl",
  /** What the last night did. */
  report: "report.json",
  /** Which lessons each version knows. */
  versions: "versions.jsonl",
  /** What the night has so far, and its candidate where it was held. */
  night: "night",
} as const;

const MAX_LESSONS = 100_000;

async function readLines(path: string): Promise<readonly Lesson[]> {
  const lessons: Lesson[] = [];
  for await (const { line, value } of readJsonLines(path)) {
    if (lessons.length === MAX_LESSONS)
      throw new MosError("bad_data", `${path}:${line}: more than ${MAX_LESSONS} lessons; split the file`);
    lessons.push(parseLesson(value, `${path}:${line}`));
  }
  return lessons;
}

/** The lessons and checks of a folder. Throws MosError `bad_data` with file and line, `not_found`. */
export async function readLessons(
  folder: string,
): Promise<{ readonly lessons: readonly Lesson[]; readonly checks: readonly Lesson[] }> {
  const [lessons, checks] = [join(folder, LEARNING_FILES.lessons), join(folder, LEARNING_FILES.checks)];
  if (!(await pathExists(lessons)))
    throw new MosError(
      "not_found",
      `${lessons}: no lessons here; write one per line, such as {"messages": [{"role": "user", "content": "When do you open?"}, {"role": "assistant", "content": "At ten."}]}`,
    );
  const found = (await pathExists(checks)) ? await readLines(checks) : [];
  const odd = found.findIndex((one) => !isGradable(one));
  if (odd >= 0)
    throw new MosError(
      "bad_data",
      `${checks}: check ${odd + 1} has no answer; end its messages with the wanted one, or give it a grader`,
    );
  return { lessons: await readLines(lessons), checks: found };
}

const versionSchema = z.object({
  /** Digest of the adapter. */
  version: z.string(),
  /** The version that it replaced. */
  from: z.string(),
  /** Identifiers of the lessons that it knows. */
  known: z.array(z.string()).readonly(),
});
type LearntVersion = z.output<typeof versionSchema>;

/** The digest of an adapter; "base" where there is none. */
export async function digestOf(adapter: string | undefined): Promise<string> {
  if (adapter === undefined) return "base";
  await using folder = await openAdapterFolder(adapter);
  return await folder.digest();
}

/** The lessons that a version knows; none of one that no night has made. Throws MosError `bad_data`. */
export async function knownLessons(folder: string, version: string): Promise<readonly string[]> {
  const path = join(folder, LEARNING_FILES.versions);
  let known: readonly string[] = [];
  if (!(await pathExists(path))) return known;
  for await (const { line, value } of readJsonLines(path, { wholeLines: true })) {
    const found = parseWith(versionSchema, value, { code: "bad_data", where: `${path}:${line}` });
    if (found.version === version) known = found.known;
  }
  return known;
}

/** Records what a version knows, before it goes live. */
export async function recordVersion(folder: string, version: LearntVersion): Promise<void> {
  await using writer = await openJsonLinesWriter(join(folder, LEARNING_FILES.versions));
  await writer.write(version);
}
