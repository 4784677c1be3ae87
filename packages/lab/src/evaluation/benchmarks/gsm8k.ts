// GSM8K: arithmetic in words, with eight worked examples before each problem. open-instruct's `eval/gsm` with chains of
// thought, and lm-evaluation-harness's `gsm8k_cot`.

import { MosError } from "mixture-of-shards";
import { pythonStrip } from "mixture-of-shards-core/text";
import { z } from "zod";
import {
  GREEDY,
  type OutputSpec,
  type QuestionOptions,
  type QuestionSet,
  type Rules,
  type TextBenchmark,
  type Verdict,
} from "../benchmark.ts";
import { digestRows, jsonLines, readRows, tableRows, tablesNamed, writeBelow } from "../data.ts";
import { DIGIT, pythonRandom } from "../python.ts";
import { type ChatPrompt, chooseShots, type Draft, finishQuestions } from "../questions.ts";
import { exactMatch, foldAnswer, NO_ANSWER, summarizeGroups, summarizeScores } from "../scoring.ts";

export const gsm8k: TextBenchmark<"gsm8k"> = {
  name: "gsm8k",
  metric: { "open-instruct": "exact_match", "lm-eval": "strict-match" },
  scale: 1,
  source: {
    repository: "openai/gsm8k",
    wants: tablesNamed("main/test"),
    async write(tables, folder) {
      const rows = await tableRows(tables, "main/test", row);
      await writeBelow(folder, "gsm8k/test.jsonl", jsonLines(rows));
    },
  },
  read: readGsm8k,
  questions: makeQuestions,
  scorers: { "open-instruct": scoreLastNumber, "lm-eval": scoreHarness },
  summarise: (scored) => ({ overall: summarizeScores(scored), groups: summarizeGroups(scored) }),
};

// --- data

const row = z.object({
  question: z.string().min(1),
  answer: z.string().regex(/####\s*\S/, "a worked answer that ends in #### and the result"),
});

/** Reads `gsm8k/test.jsonl`. Throws `not_found`, `bad_data`, `storage`. */
export async function readGsm8k(folder: string) {
  const test = await readRows({ folder, parts: ["gsm8k", "test.jsonl"] }, row);
  return {
    test,
    counts: [{ what: "questions of GSM8K", found: test.length, expected: 1_319 }],
    digest: digestRows({ test }),
  };
}

// --- prompts

async function makeQuestions(folder: string, options: QuestionOptions): Promise<QuestionSet> {
  const max = WORKED_EXAMPLES.length;
  const reason = "the benchmark has eight worked examples";
  const shots = chooseShots(options, { benchmark: "gsm8k", default: max, min: 0, max, reason });
  const data = await readGsm8k(folder);
  const drafts = makeDrafts(data.test, shots, options);
  return finishQuestions({ benchmark: "gsm8k", data, drafts, output: outputSpec(options), shots }, options);
}

function makeDrafts(
  rows: readonly z.output<typeof row>[],
  shots: number,
  { rules }: QuestionOptions,
): readonly Draft[] {
  const examples = chooseExamples(shots, rules);
  const prompt = rules === "open-instruct" ? openInstructPrompt : harnessPrompt;
  return rows.map(({ question, answer }, index) => {
    const id = `gsm8k/${index}`;
    return {
      id,
      group: "gsm8k",
      references: [rules === "open-instruct" ? checkedGold(answer, id) : harnessGold(answer)],
      prompt: () => prompt(question, examples),
    };
  });
}

function checkedGold(answer: string, id: string): string {
  const gold = goldNumber(answer);
  if (Number.isFinite(Number(gold)) && Number(gold) !== 0) return gold;
  throw new MosError("bad_data", `${id}: the result ${JSON.stringify(gold)} must be a number other than 0`);
}

function outputSpec({ rules, format }: QuestionOptions): OutputSpec {
  if (rules === "lm-eval") return { ...GREEDY, maxTokens: 256, stop: ["Q:", "</s>", "<|im_end|>"] };
  return { ...GREEDY, maxTokens: 512, stop: format === "none" ? ["\n"] : [] };
}

/** A problem that is shown solved. */
type WorkedExample = (typeof WORKED_EXAMPLES)[number];

/** The examples that are shown: open-instruct draws them where it shows fewer than all. */
function chooseExamples(shots: number, rules: Rules): readonly WorkedExample[] {
  if (rules === "lm-eval" || shots === WORKED_EXAMPLES.length) return WORKED_EXAMPLES.slice(0, shots);
  return pythonRandom(42)
    .sample(WORKED_EXAMPLES.length, shots)
    .flatMap((index) => WORKED_EXAMPLES[index] ?? []);
}

function openInstructPrompt(question: string, examples: readonly WorkedExample[]): ChatPrompt {
  const header = `Answer the following question${examples.length === 0 ? "" : "s"}.\n\n`;
  const shown = examples.map(
    (example) =>
      `Question: ${example.question}\nAnswer: ${example.thought} So the answer is ${example.result}.\n\n`,
  );
  const content = `${header}${shown.join("")}Question: ${pythonStrip(question)}`;
  return { messages: [{ role: "user", content }], leadIn: "Answer:", plain: `${content}\nAnswer:` };
}

function harnessPrompt(question: string, examples: readonly WorkedExample[]): ChatPrompt {
  const shown = examples.map(
    (example) => `Q: ${example.question}\nA: ${example.thought} The answer is ${example.result}.\n\n`,
  );
  const content = `${shown.join("")}Q: ${question}\nA:`;
  return { messages: [{ role: "user", content }], leadIn: "", plain: content };
}

/**
 * The eight examples of table 20 in "Chain-of-Thought Prompting Elicits Reasoning in Large Language Models": a line for the
 * question, and one for the thought, whose last number is the result.
 */
const WORKED_EXAMPLES = Array.from(
  `
There are 15 trees in the grove. Grove workers will plant trees in the grove today. After they are done, there will be 21 trees. How many trees did the grove workers plant today?
There are 15 trees originally. Then there were 21 trees after some more were planted. So there must have been 21 - 15 = 6.
If there are 3 cars in the parking lot and 2 more cars arrive, how many cars are in the parking lot?
There are originally 3 cars. 2 more cars arrive. 3 + 2 = 5.
Leah had 32 chocolates and her sister had 42. If they ate 35, how many pieces do they have left in total?
Originally, Leah had 32 chocolates. Her sister had 42. So in total they had 32 + 42 = 74. After eating 35, they had 74 - 35 = 39.
Jason had 20 lollipops. He gave Denny some lollipops. Now Jason has 12 lollipops. How many lollipops did Jason give to Denny?
Jason started with 20 lollipops. Then he had 12 after giving some to Denny. So he gave Denny 20 - 12 = 8.
Shawn has five toys. For Christmas, he got two toys each from his mom and dad. How many toys does he have now?
Shawn started with 5 toys. If he got 2 toys each from his mom and dad, then that is 4 more toys. 5 + 4 = 9.
There were nine computers in the server room. Five more computers were installed each day, from monday to thursday. How many computers are now in the server room?
There were originally 9 computers. For each of 4 days, 5 more computers were added. So 5 * 4 = 20 computers were added. 9 + 20 is 29.
Michael had 58 golf balls. On tuesday, he lost 23 golf balls. On wednesday, he lost 2 more. How many golf balls did he have at the end of wednesday?
Michael started with 58 golf balls. After losing 23 on tuesday, he had 58 - 23 = 35. After losing 2 more, he had 35 - 2 = 33 golf balls.
Olivia has $23. She bought five bagels for $3 each. How much money does she have left?
Olivia had 23 dollars. 5 bagels for 3 dollars each will be 5 x 3 = 15 dollars. So she has 23 - 15 dollars left. 23 - 15 is 8.
`.matchAll(/(.+)\n(.*\D(\d+)[^\d\n]*)\n/g),
  ([, question = "", thought = "", result = ""]) => ({ question, thought, result }),
);

// --- scoring

const GROUPED = new RegExp(`(${DIGIT}),(${DIGIT})`, "gu");
/** A sign counts only before decimals, as in the original. */
const NUMBER = new RegExp(`[-+]?${DIGIT}*\\.${DIGIT}+|${DIGIT}+`, "gu");

/** Takes commas out of numbers in one pass: `1,234,567` is `1234567`, but `1,2,3` is `12,3`. */
const withoutGrouping = (text: string): string => text.replace(GROUPED, "$1$2");

/** open-instruct's answer to GSM8K: the last number, or all of the text where it holds none. */
function lastNumber(text: string): string {
  const plain = withoutGrouping(text);
  return plain.match(NUMBER)?.at(-1) ?? plain;
}

/** open-instruct's right answer out of a worked one of GSM8K: what follows its first `####`. A bare one stays. */
export function goldNumber(answer: string): string {
  const [, found] = answer.split("####");
  return found === undefined ? answer : withoutGrouping(pythonStrip(found));
}

/** lm-evaluation-harness's: what follows the last `####`. */
function harnessGold(answer: string): string {
  const [, ...found] = answer.split("####");
  const last = found.at(-1);
  return last === undefined ? answer : pythonStrip(last);
}

/**
 * lm-evaluation-harness's strict-match: the number after "The answer is ", which some character has to follow; of
 * one that ends the text the last digit is lost, as in the original.
 */
const strictNumber = (text: string): string => /The answer is (-?[0-9.,]+)[^\n]/.exec(text)?.[1] ?? NO_ANSWER;

/** lm-evaluation-harness's flexible-extract: the last that looks like a number, with what punctuation it has. */
const flexibleNumber = (text: string): string => text.match(/-?[$0-9.,]{2,}|-?[0-9]+/g)?.at(-1) ?? NO_ANSWER;

/** Text that lm-evaluation-harness removes from both sides: commas, dollars, all before the last `#### `, a final period. */
function plainNumber(text: string): string {
  const bare = text.replace(/[,$]/g, "");
  const at = bare.lastIndexOf("#### ");
  const answer = at < 0 ? bare : bare.slice(at + 5);
  return answer.replace(/\.(?=\n?$)/, "").toLowerCase();
}

function scoreLastNumber(prediction: string, references: readonly string[]): Verdict {
  const extracted = lastNumber(prediction);
  return {
    extracted,
    scores: { exact_match: exactMatch(extracted, references.map(goldNumber), foldAnswer) },
  };
}

function scoreHarness(prediction: string, references: readonly string[]): Verdict {
  const extracted = strictNumber(prediction);
  const golds = references.map(harnessGold);
  return {
    extracted,
    scores: {
      "strict-match": exactMatch(extracted, golds, plainNumber),
      "flexible-extract": exactMatch(flexibleNumber(prediction), golds, plainNumber),
    },
  };
}
