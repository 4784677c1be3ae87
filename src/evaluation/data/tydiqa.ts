import { z } from "zod";
import { type BenchmarkFile, benchmarkFileExists, missingData, readValue } from "./benchmark-file.ts";
import type { Count } from "./counts.ts";
import { digestOfRows } from "./digest.ts";
import { LANGUAGES, type Language } from "./languages.ts";
import { expectUnique } from "./unique.ts";

const answer = z.looseObject({ text: z.string() });
const question = z.looseObject({
  id: z.string().min(1).max(200),
  question: z.string(),
  answers: z.array(answer).min(1),
});
const paragraph = z.looseObject({ context: z.string(), qas: z.array(question) });
const file = z.looseObject({ data: z.array(z.looseObject({ paragraphs: z.array(paragraph) })) });

/** A question on a passage that holds its answer. */
export interface TydiqaRow {
  readonly id: string;
  readonly context: string;
  readonly question: string;
  /** At least one. */
  readonly answers: readonly string[];
}

/** One language's part; `train` is undefined where its file is not at hand. */
export interface TydiqaLanguage {
  readonly name: Language;
  readonly dev: readonly TydiqaRow[];
  readonly train: readonly TydiqaRow[] | undefined;
}

export interface TydiqaData {
  /** Those with a dev or a train file, in the order of their names. */
  readonly languages: readonly TydiqaLanguage[];
  readonly counts: readonly Count[];
  readonly digest: string;
}

/**
 * Reads `tydiqa/<language>-dev.json` and, where they are, `tydiqa/<language>-train.json`, in the layout of SQuAD.
 * Throws `not_found`, `bad_data`, `storage`.
 */
export async function readTydiqa(folder: string): Promise<TydiqaData> {
  const languages: TydiqaLanguage[] = [];
  for (const { name } of LANGUAGES) {
    const dev = await readSplit({ folder, parts: ["tydiqa", `${name}-dev.json`] });
    const train = await readSplit({ folder, parts: ["tydiqa", `${name}-train.json`] });
    if (dev !== undefined || train !== undefined) languages.push({ name, dev: dev ?? [], train });
  }
  const asked = languages.flatMap(({ dev }) => dev);
  if (asked.length === 0)
    throw missingData(`${folder}/tydiqa: there are no questions`, "tydiqa/english-dev.json and so on");
  expectUnique(
    asked.map(({ id }) => id),
    "tydiqa",
  );
  return { languages, counts: countsOf(languages), digest: digestOf(languages) };
}

async function readSplit(place: BenchmarkFile): Promise<readonly TydiqaRow[] | undefined> {
  if (!(await benchmarkFileExists(place))) return undefined;
  const { data } = await readValue(place, file);
  return data.flatMap(({ paragraphs }) =>
    paragraphs.flatMap(({ context, qas }) =>
      qas.map(({ id, question, answers }) => ({
        id,
        context,
        question,
        answers: answers.map(({ text }) => text),
      })),
    ),
  );
}

const countsOf = (languages: readonly TydiqaLanguage[]): readonly Count[] => [
  {
    what: "questions of TyDi QA",
    found: languages.reduce((sum, { dev }) => sum + dev.length, 0),
    expected: 5_077,
  },
  {
    what: "languages of TyDi QA",
    found: languages.filter(({ dev }) => dev.length > 0).length,
    expected: LANGUAGES.length,
  },
];

const digestOf = (languages: readonly TydiqaLanguage[]): string =>
  digestOfRows(
    Object.fromEntries(
      languages.flatMap(({ name, dev, train = [] }) => [
        [`${name}-dev`, dev],
        [`${name}-train`, train],
      ]),
    ),
  );
