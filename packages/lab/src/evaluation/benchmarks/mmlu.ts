// MMLU: 57 subjects, four choices; the letter that is likeliest after the prompt is the model's choice. open-instruct's
// `eval/mmlu`, and lm-evaluation-harness's `mmlu`.

import { MosError } from "mixture-of-shards";
import { pythonStrip } from "mixture-of-shards-core/text";
import { z } from "zod";
import type {
  OutputSpec,
  QuestionOptions,
  QuestionSet,
  ScoredQuestion,
  Summaries,
  TextBenchmark,
  Verdict,
} from "../benchmark.ts";
import {
  benchmarkFileExists,
  digestRows,
  jsonLines,
  readRows,
  tableRows,
  tablesNamed,
  wholeNumber,
  writeBelow,
} from "../data.ts";
import { WORD } from "../python.ts";
import { type ChatPrompt, chooseShots, type Draft, finishQuestions, renderPrompt } from "../questions.ts";
import { summarizeGroups, summarizeScores } from "../scoring.ts";

const LETTERS = ["A", "B", "C", "D"] as const;
const letter = z.string().regex(/^\s*[A-D]\s*$/, `one of ${LETTERS.join(", ")}`);

export const mmlu: TextBenchmark<"mmlu"> = {
  name: "mmlu",
  metric: { "open-instruct": "average_acc", "lm-eval": "acc" },
  scale: 1,
  source: {
    repository: "cais/mmlu",
    wants: tablesNamed("all/test", "all/dev"),
    async write(tables, folder) {
      for (const split of ["test", "dev"]) {
        const rows = await tableRows(tables, `all/${split}`, tableRow);
        await writeBelow(folder, `mmlu/${split}.jsonl`, jsonLines(rows));
      }
    },
  },
  read: readMmlu,
  questions: makeQuestions,
  // any other reference would never be met
  references: z.union([letter, z.array(letter).min(1)]),
  // both compare the same letters
  scorers: { "open-instruct": scoreChoice, "lm-eval": scoreChoice },
  summarise,
};

// --- data

const tableRow = z.object({
  subject: z.string(),
  question: z.string(),
  choices: z.array(z.string()),
  answer: wholeNumber,
});
const row = z.object({
  subject: z.string().regex(/^[a-z_]{1,80}$/, "a subject in lower case, such as abstract_algebra"),
  question: z.string(),
  choices: z.tuple([z.string(), z.string(), z.string(), z.string()]),
  answer: z.int().min(0).max(3),
});

/** A question with four choices; `answer` counts from 0. Texts are as they are, outer blanks included. */
type MmluRow = Readonly<z.output<typeof row>>;

/** By subject in the order of their names, and in a subject in the file's order. */
const bySubject = (rows: readonly MmluRow[]): readonly MmluRow[] =>
  rows.toSorted((a, b) => (a.subject < b.subject ? -1 : a.subject > b.subject ? 1 : 0));

/** Reads `mmlu/test.jsonl` and, where it is, `mmlu/dev.jsonl`. Throws `not_found`, `bad_data`, `storage`. */
export async function readMmlu(folder: string) {
  const devFile = { folder, parts: ["mmlu", "dev.jsonl"] };
  const test = bySubject(await readRows({ folder, parts: ["mmlu", "test.jsonl"] }, row));
  const dev = (await benchmarkFileExists(devFile)) ? bySubject(await readRows(devFile, row)) : [];
  const subjects = new Set(test.map(({ subject }) => subject));
  return {
    test,
    dev,
    counts: [
      { what: "questions of MMLU", found: test.length, expected: 14_042 },
      { what: "subjects of MMLU", found: subjects.size, expected: 57 },
    ],
    digest: digestRows({ test, dev }),
  };
}

// --- prompts

/** open-instruct shows fewer examples in a prompt of more tokens than that. */
const MAX_TOKENS = 2048;

async function makeQuestions(folder: string, options: QuestionOptions): Promise<QuestionSet> {
  const reason = "each subject has five solved questions";
  const shots = chooseShots(options, { benchmark: "mmlu", default: 0, min: 0, max: 5, reason });
  const data = await readMmlu(folder);
  const drafts = makeDrafts(data, shots, options);
  const output = (first: Draft | undefined): OutputSpec => outputSpec(first, options);
  return finishQuestions({ benchmark: "mmlu", data, drafts, output, shots }, options);
}

function makeDrafts(
  data: Awaited<ReturnType<typeof readMmlu>>,
  shots: number,
  options: QuestionOptions,
): readonly Draft[] {
  const examples = new Map<string, MmluRow[]>();
  for (const row of data.dev) examples.set(row.subject, [...(examples.get(row.subject) ?? []), row]);
  const seen = new Map<string, number>();
  return data.test.map((row) => {
    const index = seen.get(row.subject) ?? 0;
    seen.set(row.subject, index + 1);
    const shown = (examples.get(row.subject) ?? []).slice(0, shots);
    if (shown.length < shots)
      throw new MosError(
        "not_found",
        `mmlu: found only ${shown.length} solved questions of ${row.subject} for ${shots} shots; add mmlu/dev.jsonl, or use fewer shots`,
      );
    return {
      id: `mmlu/${row.subject}/${index}`,
      group: row.subject,
      references: [LETTERS[row.answer] ?? ""],
      prompt: () => makePrompt(row, shown, options),
    };
  });
}

/** As many of the first examples, which are of the same subject, as leave the prompt at its length. */
function makePrompt(row: MmluRow, examples: readonly MmluRow[], options: QuestionOptions): ChatPrompt {
  const { rules, text } = options;
  if (rules === "lm-eval") return harnessPrompt(row, examples);
  for (let shots = examples.length; ; shots--) {
    const prompt = openInstructPrompt(row, examples.slice(0, shots));
    if (shots === 0) return prompt;
    const rendered = renderPrompt(prompt, options);
    if (text.tokenizer.encode(rendered, { addSpecialTokens: false }).length <= MAX_TOKENS) return prompt;
  }
}

function outputSpec(first: Draft | undefined, options: QuestionOptions): OutputSpec {
  const { rules, format, text } = options;
  const encode = (written: string): readonly number[] =>
    text.tokenizer.encode(written, { addSpecialTokens: false });
  // The harness continues a chat's answer without the blank that it puts after "Answer:".
  const before =
    rules === "open-instruct" || first === undefined
      ? " "
      : renderPrompt(first.prompt(), options) + (format === "none" ? " " : "");
  const candidates = LETTERS.map((letter) => encode(before + letter).at(-1) ?? -1);
  if (new Set(candidates).size < LETTERS.length || candidates.includes(-1))
    throw new MosError(
      "unsupported",
      `mmlu: this tokenizer encodes the choices " A" to " D" with the last tokens ${candidates.join(", ")}, which are not all different, so MMLU cannot be scored`,
    );
  return { kind: "choice", candidates, labels: LETTERS };
}

const header = (subject: string): string =>
  `The following are multiple choice questions (with answers) about ${subject}.\n\n`;

const choices = (row: MmluRow): string =>
  LETTERS.map((letter, i) => `\n${letter}. ${row.choices[i]}`).join("");

const solved = (asked: string, row: MmluRow): string => `${asked} ${LETTERS[row.answer]}\n\n`;

function openInstructPrompt(row: MmluRow, examples: readonly MmluRow[]): ChatPrompt {
  const asked = (one: MmluRow): string => `${one.question}${choices(one)}\nAnswer:`;
  // every part of the subject's name has a blank before it, so that two follow "about"
  const subject = row.subject
    .split("_")
    .map((part) => ` ${part}`)
    .join("");
  const shown = examples.map((one) => solved(asked(one), one)).join("");
  const plain = header(subject) + shown + asked(row);
  return { messages: [{ role: "user", content: plain }], leadIn: "The answer is ", plain };
}

function harnessPrompt(row: MmluRow, examples: readonly MmluRow[]): ChatPrompt {
  const asked = (one: MmluRow): string => `${pythonStrip(one.question)}${choices(one)}\nAnswer:`;
  const description = header(row.subject.replaceAll("_", " "));
  const user = examples.map((one) => solved(asked(one), one)).join("") + asked(row);
  const messages = [
    { role: "system", content: description },
    { role: "user", content: user },
  ];
  return { messages, leadIn: "", plain: description + user };
}

// --- scoring

const OPENING = `[\\s"'“‘(\\[*]*`;
const ALONE = `(?![${WORD}'’-])`;
const PATTERNS = [
  // It begins with the letter; "A" before a small letter is more often an article.
  new RegExp(`^${OPENING}(?:(A)${ALONE}(?!\\s+\\p{Ll})|([B-D])${ALONE})`, "u"),
  // It says so.
  new RegExp(`[Aa]nswer(?:\\s+is)?\\s?:?${OPENING}([A-D])${ALONE}`, "u"),
  new RegExp(`^${OPENING}(A)${ALONE}`, "u"),
];

/**
 * The letter A to D that an answer chooses: the one it begins with, as in `B`, ` B. because` and `(B)`, else the one
 * after "answer is" or "answer:". Only capitals, as the rules compare them; "" where there is none.
 */
function chosenLetter(text: string): string {
  for (const pattern of PATTERNS) {
    const letter = pattern
      .exec(text)
      ?.slice(1)
      .find((group) => group !== undefined);
    if (letter !== undefined) return letter;
  }
  return "";
}

/** The choice is one of four letters; texts of other programs say it in more words. */
function scoreChoice(prediction: string, references: readonly string[]): Verdict {
  const extracted = chosenLetter(prediction);
  const isRight = extracted !== "" && references.some((reference) => pythonStrip(reference) === extracted);
  return { extracted, scores: { acc: isRight ? 1 : 0 } };
}

/** In each category and subcategory, too, every question counts as much as any other. */
function summarise(scored: readonly ScoredQuestion[]): Summaries {
  const named = scored.map(({ verdicts, ...question }): ScoredQuestion => {
    const names = ["average_acc", "acc", ...(PLACES.get(question.group) ?? [])];
    const toScores = (acc = 0) => Object.fromEntries(names.map((name) => [name, acc]));
    return { ...question, verdicts: verdicts.map(({ scores }) => ({ scores: toScores(scores["acc"]) })) };
  });
  return { overall: summarizeScores(named), groups: summarizeGroups(scored) };
}

// The order of MMLU's subjects in the original's `categories.py`: 57 subjects, 17 subcategories, 4 categories.
const CATEGORIES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  STEM: {
    physics: "astronomy college_physics conceptual_physics high_school_physics",
    chemistry: "college_chemistry high_school_chemistry",
    biology: "college_biology high_school_biology",
    "computer science":
      "college_computer_science computer_security high_school_computer_science machine_learning",
    math: "abstract_algebra college_mathematics elementary_mathematics high_school_mathematics high_school_statistics",
    engineering: "electrical_engineering",
  },
  humanities: {
    history: "high_school_european_history high_school_us_history high_school_world_history prehistory",
    philosophy: "formal_logic logical_fallacies moral_disputes moral_scenarios philosophy world_religions",
    law: "international_law jurisprudence professional_law",
  },
  "social sciences": {
    politics: "high_school_government_and_politics public_relations security_studies us_foreign_policy",
    culture: "human_sexuality sociology",
    economics: "econometrics high_school_macroeconomics high_school_microeconomics",
    geography: "high_school_geography",
    psychology: "high_school_psychology professional_psychology",
  },
  "other (business, health, misc.)": {
    other: "global_facts miscellaneous professional_accounting",
    business: "business_ethics management marketing",
    health:
      "anatomy clinical_knowledge college_medicine human_aging medical_genetics nutrition professional_medicine virology",
  },
};

/** Names of the accuracies in category and subcategory of each subject that the original has. */
const PLACES: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries(CATEGORIES).flatMap(([category, subcategories]) =>
    Object.entries(subcategories).flatMap(([subcategory, subjects]) =>
      subjects
        .split(" ")
        .map((subject) => [subject, [`cat_acc/${category}`, `subcat_acc/${subcategory}`]] as const),
    ),
  ),
);
