// TyDi QA with gold passages: nine languages, with one solved question before each. open-instruct's `eval/tydiqa`.

import { type LoadedText, MosError } from "mixture-of-shards";
import { pythonStrip } from "mixture-of-shards-core/text";
import { z } from "zod";
import {
  GREEDY,
  type QuestionOptions,
  type QuestionSet,
  type TextBenchmark,
  type Verdict,
} from "../benchmark.ts";
import {
  assertUnique,
  type BenchmarkFile,
  benchmarkFileExists,
  digestRows,
  missingData,
  readValue,
  tableRows,
  tablesNamed,
  writeBelow,
} from "../data.ts";
import { pythonRandom } from "../python.ts";
import { type ChatPrompt, chooseShots, type Draft, finishQuestions } from "../questions.ts";
import { averageGroups, squadScores, summarizeGroups, summarizeScores } from "../scoring.ts";

export const tydiqa: TextBenchmark<"tydiqa"> = {
  name: "tydiqa",
  metric: { "open-instruct": "f1", "lm-eval": "f1" },
  scale: 100,
  source: {
    repository: "google-research-datasets/tydiqa",
    wants: tablesNamed("secondary_task/train", "secondary_task/validation"),
    async write(tables, folder) {
      await writeLanguages(await tableRows(tables, "secondary_task/train", tableRow), folder, "train");
      await writeLanguages(await tableRows(tables, "secondary_task/validation", tableRow), folder, "dev");
    },
  },
  read: readTydiqa,
  questions: makeQuestions,
  // lm-evaluation-harness has no TyDi QA with gold passages: other programs' predictions are scored alike
  scorers: { "open-instruct": scoreSquad, "lm-eval": scoreSquad },
  /** Every language counts as much as any other. */
  summarise(scored) {
    const groups = summarizeGroups(scored, (group) => summarizeScores(group, 100));
    return { overall: { ...averageGroups([...groups.values()]), questions: scored.length }, groups };
  },
};

// --- data

/** The languages of TyDi QA GoldP in alphabetical order, in which examples are drawn, and their sizes. */
export const LANGUAGES = [
  { name: "arabic", dev: 921, train: 14_805 },
  { name: "bengali", dev: 113, train: 2_390 },
  { name: "english", dev: 440, train: 3_696 },
  { name: "finnish", dev: 782, train: 6_855 },
  { name: "indonesian", dev: 565, train: 5_702 },
  { name: "korean", dev: 276, train: 1_625 },
  { name: "russian", dev: 812, train: 6_490 },
  { name: "swahili", dev: 499, train: 2_755 },
  { name: "telugu", dev: 669, train: 5_563 },
] as const;

export type Language = (typeof LANGUAGES)[number]["name"];
const answer = z.looseObject({ text: z.string() });
const question = z.looseObject({
  id: z.string().min(1).max(200),
  question: z.string(),
  answers: z.array(answer).min(1),
});
const paragraph = z.looseObject({ context: z.string(), qas: z.array(question) });
const file = z.looseObject({ data: z.array(z.looseObject({ paragraphs: z.array(paragraph) })) });
const tableRow = z.object({
  id: z.string(),
  context: z.string(),
  question: z.string(),
  answers: z.object({ text: z.array(z.string()) }),
});

/** The table holds all languages; a question's begins its id. */
async function writeLanguages(
  rows: readonly z.output<typeof tableRow>[],
  folder: string,
  split: "train" | "dev",
): Promise<void> {
  for (const { name } of LANGUAGES) {
    const data = rows
      .filter(({ id }) => id.startsWith(`${name}-`))
      .map(({ id, context, question, answers }) => ({
        paragraphs: [{ context, qas: [{ id, question, answers: answers.text.map((text) => ({ text })) }] }],
      }));
    await writeBelow(folder, `tydiqa/${name}-${split}.json`, JSON.stringify({ data }));
  }
}

/** A question on a passage that holds its answer, with one right answer at least. */
export type TydiqaRow = NonNullable<Awaited<ReturnType<typeof readSplit>>>[number];

/** One language's part; `train` is undefined where its file is not at hand. */
export interface TydiqaLanguage {
  readonly name: Language;
  readonly dev: readonly TydiqaRow[];
  readonly train: readonly TydiqaRow[] | undefined;
}

/**
 * Reads `tydiqa/<language>-dev.json` and, where they are, `tydiqa/<language>-train.json`, in the layout of SQuAD.
 * Throws `not_found`, `bad_data`, `storage`.
 */
export async function readTydiqa(folder: string) {
  const languages: TydiqaLanguage[] = [];
  for (const { name } of LANGUAGES) {
    const dev = await readSplit({ folder, parts: ["tydiqa", `${name}-dev.json`] });
    const train = await readSplit({ folder, parts: ["tydiqa", `${name}-train.json`] });
    if (dev !== undefined || train !== undefined) languages.push({ name, dev: dev ?? [], train });
  }
  const asked = languages.flatMap(({ dev }) => dev);
  if (asked.length === 0)
    throw missingData(`${folder}/tydiqa: no questions found`, "files such as tydiqa/english-dev.json");
  assertUnique(
    asked.map(({ id }) => id),
    "tydiqa",
  );
  const found = languages.filter(({ dev }) => dev.length > 0).length;
  return {
    languages,
    counts: [
      { what: "questions of TyDi QA", found: asked.length, expected: 5_077 },
      { what: "languages of TyDi QA", found, expected: LANGUAGES.length },
    ],
    digest: digestRows(
      Object.fromEntries(
        languages.flatMap(({ name, dev, train = [] }) => [
          [`${name}-dev`, dev],
          [`${name}-train`, train],
        ]),
      ),
    ),
  };
}

async function readSplit(place: BenchmarkFile) {
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

// --- prompts

async function makeQuestions(folder: string, options: QuestionOptions): Promise<QuestionSet> {
  if (options.rules === "lm-eval")
    throw new MosError(
      "bad_option",
      "tydiqa: lm-evaluation-harness has no TyDi QA with gold passages; use open-instruct's rules",
    );
  const reason = "five passages of 512 tokens each fill a prompt";
  const shots = chooseShots(options, { benchmark: "tydiqa", default: 1, min: 0, max: 5, reason });
  const data = await readTydiqa(folder);
  const { byLanguage, notes } = drawExamples(data.languages, shots);
  const drafts = makeDrafts(data.languages, byLanguage, options);
  const output = { ...GREEDY, maxTokens: 50, stop: options.format === "none" ? ["\n"] : [] };
  return finishQuestions({ benchmark: "tydiqa", data, drafts, output, shots, notes }, options);
}

function makeDrafts(
  languages: readonly TydiqaLanguage[],
  byLanguage: ReadonlyMap<Language, readonly TydiqaRow[]>,
  { text: { tokenizer } }: QuestionOptions,
): readonly Draft[] {
  const cut = (row: TydiqaRow): TydiqaRow => ({ ...row, context: cutPassage(row.context, tokenizer) });
  return languages.flatMap(({ name, dev }) => {
    const examples = (byLanguage.get(name) ?? []).map(cut);
    return dev.map((row) => ({
      id: `tydiqa/${row.id}`,
      group: name,
      references: row.answers,
      prompt: () => makePrompt(name, cut(row), examples),
    }));
  });
}

/** Passages are cut already. */
function makePrompt(language: Language, row: TydiqaRow, examples: readonly TydiqaRow[]): ChatPrompt {
  const words = WORDS[language];
  const asked = ({ context, question }: TydiqaRow): string =>
    `${words.passage} ${context}\n${words.question} ${question}\n`;
  const shown = examples.map((example) => `${asked(example)}${words.answer} ${example.answers[0] ?? ""}\n\n`);
  const content = `${words.instruction}\n\n${shown.join("")}${asked(row)}`;
  return {
    messages: [{ role: "user", content }],
    leadIn: words.answer,
    plain: content + words.answer,
  };
}

const PASSAGE_TOKENS = 512;

/** At most 512 ids, the first of the tokenizer's own among them: a cut passage begins with its text, such as `<s>`. */
export function cutPassage(context: string, tokenizer: LoadedText["tokenizer"]): string {
  const ids = tokenizer.encode(context);
  return ids.length <= PASSAGE_TOKENS ? context : tokenizer.decode(ids.slice(0, PASSAGE_TOKENS));
}

/** The indices that the original draws from each language's train file, all of them being at hand. */
export function drawnIndices(shots: number): ReadonlyMap<Language, readonly number[]> {
  const random = pythonRandom(42);
  return new Map(LANGUAGES.map(({ name, train }) => [name, random.sample(train, shots)]));
}

/**
 * The examples that each language's questions are shown. A language with fewer train questions borrows English's
 * examples, or those of the first language that has some; its own words stay around them.
 *
 * @throws MosError `not_found` where no language has enough questions.
 */
export function drawExamples(languages: readonly TydiqaLanguage[], shots: number) {
  const indices = drawnIndices(shots);
  const own = new Map<Language, readonly TydiqaRow[]>();
  const notes: string[] = [];
  if (shots === 0) return { byLanguage: own, notes };
  for (const { name, train } of languages) {
    if (train === undefined || train.length < shots) continue;
    const whole = train.length === LANGUAGES.find((language) => language.name === name)?.train;
    const drawn = whole ? (indices.get(name) ?? []) : pythonRandom(42).sample(train.length, shots);
    if (!whole) notes.push(`${name}: the examples are drawn from ${train.length} questions, not from all`);
    own.set(
      name,
      drawn.flatMap((index) => train[index] ?? []),
    );
  }
  const lender = own.has("english") ? "english" : [...own.keys()][0];
  if (lender === undefined)
    throw new MosError(
      "not_found",
      `tydiqa: no training file has the ${shots} questions that the examples are drawn from; add one, such as english-train.json, or use 0 shots`,
    );
  const borrowers = languages.map(({ name }) => name).filter((name) => !own.has(name));
  if (borrowers.length > 0)
    notes.push(
      `${borrowers.join(", ")}: too few training questions of their own, so their prompts use the examples of ${lender}`,
    );
  const lent = own.get(lender) ?? [];
  return { byLanguage: new Map(languages.map(({ name }) => [name, own.get(name) ?? lent])), notes };
}

/** Words around a passage, its question and the answer. */
const WORDS: Readonly<
  Record<Language, Readonly<Record<"instruction" | "passage" | "question" | "answer", string>>>
> = {
  arabic: {
    instruction: "أجب على السؤال التالي بناءً على المعلومات في المقطع المعطى.",
    passage: "المقطع:",
    question: "السؤال:",
    answer: "الإجابة:",
  },
  bengali: {
    instruction: "প্রদত্ত অধ্যায়ের তথ্যের উপর ভিত্তি করে নিম্নলিখিত প্রশ্নের উত্তর দিন।",
    passage: "অধ্যায়:",
    question: "প্রশ্ন:",
    answer: "উত্তর:",
  },
  english: {
    instruction: "Answer the following question based on the information in the given passage.",
    passage: "Passage:",
    question: "Question:",
    answer: "Answer:",
  },
  finnish: {
    instruction: "Vastaa seuraavaan kysymykseen annetun kappaleen tiedon perusteella.",
    passage: "Kappale:",
    question: "Kysymys:",
    answer: "Vastaus:",
  },
  indonesian: {
    instruction: "Jawab pertanyaan berikut berdasarkan informasi di bagian yang diberikan.",
    passage: "Bagian:",
    question: "Pertanyaan:",
    answer: "Jawaban:",
  },
  korean: {
    instruction: "주어진 문단의 정보에 기반하여 다음 질문에 답하십시오.",
    passage: "문단:",
    question: "질문:",
    answer: "답변:",
  },
  russian: {
    instruction: "Ответьте на следующий вопрос на основе информации в данном отрывке.",
    passage: "Отрывок:",
    question: "Вопрос:",
    answer: "Ответ:",
  },
  swahili: {
    instruction: "Jibu swali lifuatalo kulingana na habari kwenye kifungu kilichotolewa.",
    passage: "Kifungu:",
    question: "Swali:",
    answer: "Jibu:",
  },
  telugu: {
    instruction: "ఇచ్చిన పేరాలోని సమాచారం ఆధారంగా కింది ప్రశ్నకు సమాధానం ఇవ్వండి.",
    passage: "పేరా:",
    question: "ప్రశ్న:",
    answer: "సమాధానం:",
  },
};

// --- scoring

function scoreSquad(prediction: string, references: readonly string[]): Verdict {
  const { f1, exactMatch } = squadScores(prediction, references);
  return { extracted: pythonStrip(prediction), scores: { f1, exact_match: exactMatch } };
}
