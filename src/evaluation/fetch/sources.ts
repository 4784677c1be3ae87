// Where the benchmarks are on the hub, and how their tables become the files of a folder.
import { join } from "node:path";
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { z } from "zod";
import { makeFolder, writeFileAtomic } from "#storage";
import { LANGUAGES } from "../data/languages.ts";
import type { TaskName } from "../types.ts";
import { readParquet } from "./parquet.ts";

/** Paths of Parquet files by `config/split`, in the order of their names. */
export type Tables = ReadonlyMap<string, readonly string[]>;

export interface Source {
  readonly repository: string;
  /** Which tables are wanted; of BBH all. */
  readonly wants: (config: string, split: string) => boolean;
  /** Writes what the readers read below `folder`. */
  readonly write: (tables: Tables, folder: string) => Promise<void>;
}

const whole = z.union([z.int(), z.bigint()]).transform(Number);
const gsm8k = z.object({ question: z.string(), answer: z.string() });
const mmlu = z.object({
  subject: z.string(),
  question: z.string(),
  choices: z.array(z.string()),
  answer: whole,
});
const bbh = z.object({ input: z.string(), target: z.string() });
const humaneval = z.object({
  task_id: z.string(),
  prompt: z.string(),
  entry_point: z.string(),
  canonical_solution: z.string(),
  test: z.string(),
});
const tydiqa = z.object({
  id: z.string(),
  context: z.string(),
  question: z.string(),
  answers: z.object({ text: z.array(z.string()) }),
});

const oneOf =
  (...wanted: readonly string[]) =>
  (config: string, split: string): boolean =>
    wanted.includes(`${config}/${split}`);

export const SOURCES: Readonly<Record<TaskName, Source>> = {
  gsm8k: {
    repository: "openai/gsm8k",
    wants: oneOf("main/test"),
    write: async (tables, folder) =>
      write(folder, "gsm8k/test.jsonl", lines(await rowsOf(tables, "main/test", gsm8k))),
  },
  mmlu: {
    repository: "cais/mmlu",
    wants: oneOf("all/test", "all/dev"),
    async write(tables, folder) {
      for (const split of ["test", "dev"])
        await write(folder, `mmlu/${split}.jsonl`, lines(await rowsOf(tables, `all/${split}`, mmlu)));
    },
  },
  bbh: {
    repository: "lukaemon/bbh",
    wants: (config, split) => /^[a-z][a-z_]*$/.test(config) && split === "test",
    async write(tables, folder) {
      for (const name of tables.keys()) {
        const examples = await rowsOf(tables, name, bbh);
        await write(folder, `bbh/tasks/${name.split("/")[0]}.json`, JSON.stringify({ examples }));
      }
    },
  },
  tydiqa: {
    repository: "google-research-datasets/tydiqa",
    wants: oneOf("secondary_task/train", "secondary_task/validation"),
    async write(tables, folder) {
      await writeLanguages(await rowsOf(tables, "secondary_task/train", tydiqa), folder, "train");
      await writeLanguages(await rowsOf(tables, "secondary_task/validation", tydiqa), folder, "dev");
    },
  },
  humaneval: {
    repository: "openai/openai_humaneval",
    wants: oneOf("openai_humaneval/test"),
    async write(tables, folder) {
      const text = lines(await rowsOf(tables, "openai_humaneval/test", humaneval));
      await write(folder, "humaneval/HumanEval.jsonl.gz", await promisify(gzip)(text));
    },
  },
};

async function rowsOf<S extends z.ZodType>(
  tables: Tables,
  name: string,
  schema: S,
): Promise<readonly z.output<S>[]> {
  const rows: z.output<S>[] = [];
  // one by one: a call takes only so many arguments
  for (const path of tables.get(name) ?? [])
    for (const row of await readParquet(path, schema)) rows.push(row);
  return rows;
}

const lines = (rows: readonly unknown[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join("");

async function write(folder: string, path: string, content: string | Uint8Array): Promise<void> {
  await makeFolder(join(folder, path, ".."));
  await writeFileAtomic(join(folder, path), content);
}

/** The table holds all languages; a question's begins its id. */
async function writeLanguages(
  rows: readonly z.output<typeof tydiqa>[],
  folder: string,
  split: "train" | "dev",
): Promise<void> {
  for (const { name } of LANGUAGES) {
    const data = rows
      .filter(({ id }) => id.startsWith(`${name}-`))
      .map(({ id, context, question, answers }) => ({
        paragraphs: [{ context, qas: [{ id, question, answers: answers.text.map((text) => ({ text })) }] }],
      }));
    await write(folder, `tydiqa/${name}-${split}.json`, JSON.stringify({ data }));
  }
}
