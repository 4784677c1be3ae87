// BIG-Bench Hard: 27 tasks, with three worked examples before each question. open-instruct's `eval/bbh`, and
// lm-evaluation-harness's `bbh_cot_fewshot`.
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { MosError } from "mixture-of-shards";
import { storageError } from "mixture-of-shards-core/files";
import { pythonStrip } from "mixture-of-shards-core/text";
import { z } from "zod";
import {
  GREEDY,
  type OutputSpec,
  type QuestionOptions,
  type QuestionSet,
  type ScoredQuestion,
  type Summaries,
  type TextBenchmark,
  type Verdict,
} from "../benchmark.ts";
import { digestRows, missingData, readText, readValue, type Tables, tableRows, writeBelow } from "../data.ts";
import { type ChatPrompt, chooseShots, type Draft, finishQuestions } from "../questions.ts";
import {
  averageGroups,
  exactMatch,
  foldAnswer,
  NO_ANSWER,
  summarizeGroups,
  summarizeScores,
} from "../scoring.ts";

export const bbh: TextBenchmark<"bbh"> = {
  name: "bbh",
  metric: { "open-instruct": "average_exact_match", "lm-eval": "exact_match" },
  scale: 1,
  source: {
    repository: "lukaemon/bbh",
    wants: (config, split) => /^[a-z][a-z_]*$/.test(config) && split === "test",
    async write(tables, folder) {
      for (const table of tables.keys()) {
        const examples = await tableRows(tables, table, example);
        await writeBelow(folder, `bbh/tasks/${taskName(table)}.json`, JSON.stringify({ examples }));
      }
    },
    texts: {
      what: "BBH's prompts",
      repository: "suzgunmirac/BIG-Bench-Hard",
      url: "https://raw.githubusercontent.com/suzgunmirac/BIG-Bench-Hard/main/cot-prompts",
      folder: "cot-prompts",
      instead: "bbh/tasks and bbh/cot-prompts",
      names: (tables: Tables) => [...tables.keys()].map((table) => `${taskName(table)}.txt`),
    },
  },
  read: readBbh,
  questions: makeQuestions,
  scorers: { "open-instruct": scoreStated, "lm-eval": scoreHarness },
  summarise,
};

// --- data

const example = z.object({ input: z.string(), target: z.string() });
const taskFile = z.looseObject({ examples: z.array(example).min(1).max(100_000) });
const TASK_FILE = /^([a-z][a-z_]{0,80})\.json$/;

const taskName = (table: string): string => table.split("/")[0] ?? "";

/** One of the 27 tasks. */
interface Task extends z.output<typeof taskFile> {
  readonly name: string;
  /** Its description and three examples with a chain of thought, without the two lines above them. */
  readonly prompt: string;
}

/** Reads `bbh/tasks/*.json` and `bbh/cot-prompts/*.txt`. Throws `not_found`, `bad_data`, `storage`. */
export async function readBbh(folder: string) {
  const tasks: Task[] = [];
  for (const name of await taskNames(folder)) {
    const { examples } = await readValue({ folder, parts: ["bbh", "tasks", `${name}.json`] }, taskFile);
    tasks.push({ name, prompt: await readPrompt(folder, name), examples });
  }
  const questions = tasks.reduce((sum, { examples }) => sum + examples.length, 0);
  return {
    tasks,
    counts: [
      { what: "questions of BBH", found: questions, expected: 6_511 },
      { what: "tasks of BBH", found: tasks.length, expected: 27 },
    ],
    digest: digestRows({ tasks }),
  };
}

const missingError = (path: string): MosError =>
  missingData(`${path}: no tasks found`, "files such as bbh/tasks/snarks.json");

async function taskNames(folder: string): Promise<readonly string[]> {
  const path = join(folder, "bbh", "tasks");
  const files = await readdir(path).catch((error: unknown) => {
    const failure = storageError(error, path);
    throw failure.code === "not_found" ? missingError(path) : failure;
  });
  const names = files.flatMap((file) => TASK_FILE.exec(file)?.[1] ?? []).sort();
  if (names.length > 0) return names;
  throw missingError(path);
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
    `${join(folder, ...parts)}: expected a line of text, a line of dashes and three examples that begin with "Q:"; found ${shown} examples`,
  );
}

// --- prompts

async function makeQuestions(folder: string, options: QuestionOptions): Promise<QuestionSet> {
  const reason = "every task comes with a prompt of three examples";
  const shots = chooseShots(options, { benchmark: "bbh", default: 3, min: 3, max: 3, reason });
  const makePrompt = promptMaker(options);
  const data = await readBbh(folder);
  const drafts = data.tasks.flatMap((task) => makeDrafts(task, makePrompt));
  return finishQuestions(
    { benchmark: "bbh", data, drafts, output: outputSpec(options), shots, direct: options.direct === true },
    options,
  );
}

/** `prompt` is the task's description with its three examples. */
type PromptMaker = (prompt: string, input: string) => ChatPrompt;

function promptMaker({ rules, direct = false }: QuestionOptions): PromptMaker {
  if (rules === "open-instruct")
    return direct ? (prompt, input) => openInstructPrompt(directExamples(prompt), input) : openInstructPrompt;
  if (!direct) return harnessPrompt;
  throw new MosError(
    "bad_option",
    "bbh: lm-evaluation-harness's rules support chains of thought only; use open-instruct's rules for direct answers",
  );
}

const makeDrafts = ({ name, prompt, examples }: Task, makePrompt: PromptMaker): readonly Draft[] =>
  examples.map(({ input, target }, index) => ({
    id: `bbh/${name}/${index}`,
    group: name,
    references: [target],
    prompt: () => makePrompt(prompt, input),
  }));

function outputSpec({ rules, format }: QuestionOptions): OutputSpec {
  if (rules === "lm-eval") return { ...GREEDY, maxTokens: 1024, stop: ["</s>", "Q", "\n\n"] };
  return { ...GREEDY, maxTokens: 512, stop: format === "none" ? ["\n\n"] : [] };
}

function openInstructPrompt(prompt: string, input: string): ChatPrompt {
  const content = `${pythonStrip(prompt)}\n\nQ: ${input}`;
  return { messages: [{ role: "user", content }], leadIn: "A:", plain: `${content}\nA:` };
}

/** The examples without their chains of thought: a question, and what follows "So the answer is". */
function directExamples(prompt: string): string {
  return prompt
    .split("\n\n")
    .map((block) => (block.startsWith("Q:") ? directExample(block) : block))
    .join("\n\n");
}

function directExample(block: string): string {
  const question = pythonStrip(block.split("\nA:", 1)[0] ?? "");
  const answer = pythonStrip(block.split("So the answer is").at(-1) ?? "");
  return `${question}\nA: ${answer}`;
}

const THINKING = "A: Let's think step by step.";

function harnessPrompt(prompt: string, input: string): ChatPrompt {
  // one of the 27 files continues in the same line; the harness begins a new one in all
  const whole = pythonStrip(prompt).replaceAll(`${THINKING} `, `${THINKING}\n`);
  const begin = whole.indexOf("\n\nQ: ") + 2;
  const description = whole.slice(0, begin);
  const user = `${whole.slice(begin)}\n\nQ: ${input}\n${THINKING}\n`;
  const messages = [
    { role: "system", content: description },
    { role: "user", content: user },
  ];
  return { messages, leadIn: "", plain: description + user };
}

// --- scoring

/**
 * open-instruct's answer: what follows the first "the answer is " up to the next period of its line, else all of the
 * text. The original's `[t|T]` takes a bar, too.
 */
function statedAnswer(text: string): string {
  // Where a line end comes first it does so for later matches in that line, too: no character is read twice.
  for (const [, answer = "", period] of text.matchAll(/[t|T]he answer is ([^\n.]*)(\.?)/g))
    if (period === ".") return pythonStrip(answer);
  return pythonStrip(text);
}

/**
 * lm-evaluation-harness's answer: what follows the first "the answer is " to the end of its line without the last
 * character, be that a period or not.
 */
function restOfLine(text: string): string {
  const answer = /(?<=the answer is )[^\n]*(?=[^\n])/u.exec(text)?.[0];
  return answer === undefined ? NO_ANSWER : pythonStrip(answer);
}

function scoreStated(prediction: string, references: readonly string[]): Verdict {
  const extracted = statedAnswer(prediction);
  return { extracted, scores: { exact_match: exactMatch(extracted, references, foldAnswer) } };
}

function scoreHarness(prediction: string, references: readonly string[]): Verdict {
  const extracted = restOfLine(prediction);
  return { extracted, scores: { exact_match: exactMatch(extracted, references) } };
}

/** The original's mean counts every task alike, the harness's every question. */
function summarise(scored: readonly ScoredQuestion[]): Summaries {
  const groups = summarizeGroups(scored);
  const all = summarizeScores(scored);
  const average = averageGroups([...groups.values()], "average_");
  const scores = { ...average.scores, ...all.scores };
  return { overall: { ...all, scores, errors: { ...average.errors, ...all.errors } }, groups };
}
