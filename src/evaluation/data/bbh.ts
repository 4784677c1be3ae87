import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { MosError } from "#core";
import { storageError, systemCode } from "#storage";
import { missingData, readText, readValue } from "./benchmark-file.ts";
import type { Count } from "./counts.ts";
import { digestOfRows } from "./digest.ts";

const example = z.object({ input: z.string(), target: z.string() });
const taskFile = z.looseObject({ examples: z.array(example).min(1).max(100_000) });
const TASK_FILE = /^([a-z][a-z_]{0,80})\.json$/;

export type BbhExample = Readonly<z.output<typeof example>>;

/** One of the 27 tasks. */
export interface BbhTask {
  readonly name: string;
  /** Its description and three examples with a chain of thought, without the two lines above them. */
  readonly prompt: string;
  readonly examples: readonly BbhExample[];
}

export interface BbhData {
  /** In the order of their names. */
  readonly tasks: readonly BbhTask[];
  readonly counts: readonly Count[];
  readonly digest: string;
}

/** Reads `bbh/tasks/*.json` and `bbh/cot-prompts/*.txt`. Throws `not_found`, `bad_data`, `storage`. */
export async function readBbh(folder: string): Promise<BbhData> {
  const tasks: BbhTask[] = [];
  for (const name of await taskNames(folder)) {
    const { examples } = await readValue({ folder, parts: ["bbh", "tasks", `${name}.json`] }, taskFile);
    tasks.push({ name, prompt: await readPrompt(folder, name), examples });
  }
  return {
    tasks,
    counts: [
      {
        what: "questions of BBH",
        found: tasks.reduce((sum, { examples }) => sum + examples.length, 0),
        expected: 6_511,
      },
      { what: "tasks of BBH", found: tasks.length, expected: 27 },
    ],
    digest: digestOfRows({ tasks }),
  };
}

const missing = (path: string): MosError =>
  missingData(`${path}: there is no task`, "bbh/tasks/snarks.json and so on");

async function taskNames(folder: string): Promise<readonly string[]> {
  const path = join(folder, "bbh", "tasks");
  const files = await readdir(path).catch((error: unknown) => {
    throw systemCode(error) === "ENOENT" ? missing(path) : storageError(error, path);
  });
  const names = files.flatMap((file) => TASK_FILE.exec(file)?.[1] ?? []).sort();
  if (names.length > 0) return names;
  throw missing(path);
}

/** A canary and a line of dashes stand above every prompt of the original. */
async function readPrompt(folder: string, name: string): Promise<string> {
  const parts = ["bbh", "cot-prompts", `${name}.txt`];
  const lines = (await readText({ folder, parts })).split("\n");
  const prompt = lines.slice(2).join("\n");
  const shown = prompt.split("\n\n").filter((block) => block.startsWith("Q:")).length;
  if (lines[1]?.startsWith("---") === true && shown === 3) return prompt;
  throw new MosError(
    "bad_data",
    `${join(folder, ...parts)}: a line, a line of dashes and three examples that begin with "Q:" are expected; there are ${shown} examples`,
  );
}
