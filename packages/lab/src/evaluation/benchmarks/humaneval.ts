// HumanEval: bodies of Python functions, which are run against their tests. open-instruct's `eval/codex_humaneval`, and
// lm-evaluation-harness's `humaneval`.
import { promisify } from "node:util";
import { gzip } from "node:zlib";
import { MosError } from "mixture-of-shards";
import { z } from "zod";
import type {
  OutputSpec,
  ProgramBenchmark,
  QuestionOptions,
  QuestionSet,
  ScoredQuestion,
  ScoreSummary,
} from "../benchmark.ts";
import {
  assertUnique,
  benchmarkFileExists,
  digestRows,
  jsonLines,
  readRows,
  tableRows,
  tablesNamed,
  writeBelow,
} from "../data.ts";
import { type ChatPrompt, chooseShots, type Draft, finishQuestions } from "../questions.ts";
import { summarizeGroups, summarizeScores } from "../scoring.ts";

export const humaneval: ProgramBenchmark<"humaneval"> = {
  name: "humaneval",
  metric: { "open-instruct": "pass@1", "lm-eval": "pass@1" },
  scale: 1,
  source: {
    repository: "openai/openai_humaneval",
    wants: tablesNamed("openai_humaneval/test"),
    async write(tables, folder) {
      const rows = await tableRows(tables, "openai_humaneval/test", row);
      await writeBelow(folder, "humaneval/HumanEval.jsonl.gz", await promisify(gzip)(jsonLines(rows)));
    },
  },
  read: readHumanEval,
  questions: makeQuestions,
  references: z.tuple([z.string(), z.string(), z.string()]),
  program: (completion, [prompt, test, entryPoint]) => {
    if (prompt === undefined || test === undefined || entryPoint === undefined)
      throw new MosError("bad_data", "humaneval: references must be a prompt, a test and an entry point");
    return humanEvalProgram({ prompt, completion, test, entryPoint });
  },
  summarise: (scored) => ({ overall: passRates(scored), groups: summarizeGroups(scored, passRates) }),
};

// --- data

const row = z.object({
  task_id: z.string().min(1).max(100),
  prompt: z.string().min(1),
  entry_point: z.string().regex(/^[A-Za-z_]\w*$/, "the name of a Python function"),
  canonical_solution: z.string(),
  test: z.string().min(1),
});

/** Reads `humaneval/HumanEval.jsonl.gz`, or the same unpacked. Throws `not_found`, `bad_data`, `storage`. */
export async function readHumanEval(folder: string) {
  const packed = { folder, parts: ["humaneval", "HumanEval.jsonl.gz"] };
  const plain = { folder, parts: ["humaneval", "HumanEval.jsonl"] };
  const usePlain = !(await benchmarkFileExists(packed)) && (await benchmarkFileExists(plain));
  const test = await readRows(usePlain ? plain : packed, row);
  assertUnique(
    test.map(({ task_id }) => task_id),
    "humaneval",
  );
  return {
    test,
    counts: [{ what: "problems of HumanEval", found: test.length, expected: 164 }],
    digest: digestRows({ test }),
  };
}

// --- prompts

const STOP = ["\nclass", "\ndef", "\n#", "\nif", "\nprint"];

async function makeQuestions(folder: string, options: QuestionOptions): Promise<QuestionSet> {
  const reason = "HumanEval has no examples";
  const shots = chooseShots(options, { benchmark: "humaneval", default: 0, min: 0, max: 0, reason });
  const output = outputSpec(options);
  const data = await readHumanEval(folder);
  const drafts = makeDrafts(data.test, options);
  return finishQuestions({ benchmark: "humaneval", data, drafts, output, shots }, options);
}

const makeDrafts = (rows: readonly z.output<typeof row>[], { rules }: QuestionOptions): readonly Draft[] =>
  rows.map(({ task_id, prompt, test, entry_point }) => ({
    id: `humaneval/${task_id.replace(/^HumanEval\//, "")}`,
    group: "humaneval",
    references: [prompt, test, entry_point],
    prompt: () => (rules === "open-instruct" ? openInstructPrompt(prompt) : harnessPrompt(prompt)),
  }));

function outputSpec({ rules, samples, temperature }: QuestionOptions): OutputSpec {
  if (samples !== undefined && !(Number.isSafeInteger(samples) && samples > 0))
    throw new MosError(
      "bad_option",
      `humaneval: samples must be a whole number of at least 1, not ${samples}`,
    );
  if (temperature !== undefined && !(Number.isFinite(temperature) && temperature >= 0))
    throw new MosError("bad_option", `humaneval: temperature ${temperature} is invalid; give 0 or more`);
  const text = { kind: "text", stop: STOP } as const;
  const own =
    rules === "open-instruct"
      ? ({ ...text, maxTokens: 512, temperature: 0.1, topP: 0.95, samples: 20 } as const)
      : ({ ...text, maxTokens: 1024, temperature: 0, topP: 1, samples: 1 } as const);
  return { ...own, temperature: temperature ?? own.temperature, samples: samples ?? own.samples };
}

/** The function's head is repeated in the lead-in, so that its body follows. */
const openInstructPrompt = (prompt: string): ChatPrompt => ({
  messages: [{ role: "user", content: `Complete the following python function.\n\n\n${prompt}` }],
  leadIn: `Here is the completed function:\n\n\n${prompt}`,
  plain: prompt,
});

const harnessPrompt = (prompt: string): ChatPrompt => ({
  messages: [{ role: "user", content: prompt }],
  leadIn: "",
  plain: prompt,
});

// --- scoring

/**
 * The Python program that runs to its end where a completion passes its tests: the head of a function, its body, leading blanks
 * included, Python that defines `check`, and the function's name.
 */
export const humanEvalProgram = ({
  prompt,
  completion,
  test,
  entryPoint,
}: Readonly<Record<"prompt" | "completion" | "test" | "entryPoint", string>>): string =>
  `${prompt}${completion}\n${test}\ncheck(${entryPoint})`;

/**
 * The chance that one of `k` completions passes, drawn from `n` of which `c` passed: the unbiased estimate, 0 to 1. Where
 * fewer than `k` failed it is 1, also for a `k` above `n`.
 *
 * @example
 * passAtK(20, 3, 1); // 0.15
 */
export function passAtK(n: number, c: number, k: number): number {
  if (n - c < k) return 1;
  let allFail = 1;
  for (let i = n - c + 1; i <= n; i++) allFail *= 1 - k / i;
  return 1 - allFail;
}

/** Pass rates of one problem. The chance of one draw is the share that passed, also where `passed` is a difference of shares. */
function passRatesAtK({ verdicts }: ScoredQuestion, ks: readonly number[]): Readonly<Record<string, number>> {
  const passed = verdicts.reduce((sum, { scores }) => sum + (scores["passed"] ?? 0), 0);
  const rate = (k: number): number =>
    k === 1 ? passed / verdicts.length : passAtK(verdicts.length, passed, k);
  return Object.fromEntries(ks.map((k) => [`pass@${k}`, rate(k)]));
}

/** Only those that there are enough completions for, of every problem. */
function passRates(scored: readonly ScoredQuestion[]): ScoreSummary {
  const ks = [1, 5, 10, 20].filter((k) => scored.every(({ verdicts }) => verdicts.length >= k));
  const problems = scored.map((problem) => ({
    ...problem,
    verdicts: [{ scores: passRatesAtK(problem, ks) }],
  }));
  return summarizeScores(problems);
}
