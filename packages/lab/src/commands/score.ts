import { dirname, resolve } from "node:path";
import { MosError } from "mixture-of-shards";
import { counted, defineCommand, group, listenForInterrupt, liveLine, warn } from "mixture-of-shards/kit";
import { omitUndefined, parseWith, type SettingValues, setting } from "mixture-of-shards-core/common";
import { assertNoFolder, makeFolder, readJsonLines, writeFileAtomic } from "mixture-of-shards-core/files";
import { z } from "zod";
import {
  BENCHMARK_NAMES,
  createProgramChecker,
  evaluationSettings,
  findBenchmark,
  meanWithError,
  python,
  type ScoringTools,
  scorePrediction,
  type Verdict,
} from "#evaluation";

const options = {
  ...group("Data", {
    task: setting(z.enum(BENCHMARK_NAMES), { required: true, help: "benchmark whose rules apply" }),
    rules: evaluationSettings.rules,
    file: setting(z.string(), {
      required: true,
      placeholder: "file",
      help: "JSON Lines file of predictions and references",
    }),
  }),
  ...group("Output", {
    out: setting(z.string(), { placeholder: "file", help: "output file for the scores (default: stdout)" }),
  }),
  ...group("Machine", { python }),
};
type Values = SettingValues<typeof options> & { readonly json: boolean };

export const command: ReturnType<typeof defineCommand> = defineCommand({
  description: "Scores predictions from any program by the rules of a benchmark.",
  usage: "--task <name> --file <file> [options]",
  options,
  json: "also print the mean as JSON; scores are always JSON Lines",
  examples: `
Examples:
  mos score --task gsm8k --file cases.jsonl
  mos score --task bbh --rules lm-eval --file cases.jsonl --out scores.jsonl
  mos score --task humaneval --file completions.jsonl
  mos score --task humaneval --file completions.jsonl --python /usr/bin/python3

Each line is {"prediction": "So the answer is 18.", "references": "18"}; references may be a list, of which the best match
counts: a letter for mmlu, a number or a worked answer with #### for gsm8k, and for humaneval the list
["<prompt>", "<test>", "<entry point>"], and for bfcl, whose predictions are messages {"tool_calls": [{"name", "arguments"}]} as
JSON, ["<functions>", "<line of possible answers>"]. HumanEval programs run in a sandbox without files or network; --python runs them
with a local Python instead, without a sandbox.
Each result is a line {"extracted": "18", "score": 1}: 0 to 1, or 0 to 100 for tydiqa, whose score is F1. Tasks with
several metrics have a field for each. The mean is printed on stderr.`,
  run,
});

const anyReferences = z.union([z.string(), z.array(z.string()).min(1)]);

interface Case {
  readonly prediction: string;
  readonly references: readonly string[];
}

/** All of the file, so that a broken line is reported before anything is scored. */
async function readCases({ file, task }: Values): Promise<readonly Case[]> {
  const schema = z.object({
    prediction: z.string(),
    references: findBenchmark(task).references ?? anyReferences,
  });
  const cases: Case[] = [];
  for await (const { line, value } of readJsonLines(file)) {
    const place = { code: "bad_data", where: `${file}:${line}` } as const;
    const { prediction, references } = parseWith(schema, value, place);
    cases.push({ prediction, references: typeof references === "string" ? [references] : references });
  }
  if (cases.length === 0)
    throw new MosError(
      "bad_data",
      `${file}: the file holds no cases; write one per line: {"prediction": "…", "references": "…"}`,
    );
  return cases;
}

/** A line of the result: the first metric as the score, and all of several by their names. */
function toResultLine({ extracted, scores, reason }: Verdict) {
  const metrics = Object.entries(scores);
  const score = metrics[0]?.[1] ?? 0;
  return { extracted, score, ...(metrics.length > 1 ? scores : {}), ...omitUndefined({ reason }) };
}

/** Cases that are begun before the first of them is done; a sandbox runs some programs at a time. */
const AT_A_TIME = 8;

/** The scores of all cases, each of which is written as a line. */
async function scoreCases(
  cases: readonly Case[],
  { task, rules, python, json }: Values,
  write: (line: string) => void,
): Promise<readonly number[]> {
  const benchmark = findBenchmark(task);
  const runsPrograms = "program" in benchmark;
  using interrupt = runsPrograms ? listenForInterrupt("stopping", { silent: json }) : undefined;
  const signal = interrupt?.signal;
  await using checker = runsPrograms
    ? await createProgramChecker({ ...omitUndefined({ python }), signal })
    : undefined;
  const tools: ScoringTools = { rules, checker, signal };
  const scores: number[] = [];
  for (let begin = 0; begin < cases.length; begin += AT_A_TIME) {
    const some = cases.slice(begin, begin + AT_A_TIME);
    for (const verdict of await Promise.all(some.map((one) => scorePrediction(benchmark, one, tools)))) {
      const line = toResultLine(verdict);
      scores.push(line.score);
      write(JSON.stringify(line));
    }
  }
  return scores;
}

/** Reports an output that cannot be written before anything is scored, and never overwrites the cases. */
async function prepareOut(out: string, { file }: Values): Promise<void> {
  await assertNoFolder(out);
  if (resolve(out) === resolve(file))
    throw new MosError("bad_option", `--out ${out} would overwrite the cases; choose another file`);
  await makeFolder(dirname(resolve(out)));
}

/** Scores the predictions of a file, one line each in the file's order. */
async function run(options: Values): Promise<void> {
  const { task, rules, out, json } = options;
  if (out !== undefined) await prepareOut(out, options);
  const cases = await readCases(options);
  const lines: string[] = [];
  using progress = liveLine({ silent: json || out === undefined });
  const scores = await scoreCases(cases, options, (line) => {
    if (out === undefined) process.stdout.write(`${line}\n`);
    else progress.update(`${lines.push(line)} of ${counted(cases.length, "case")} scored`);
  });
  if (out !== undefined) await writeFileAtomic(out, `${lines.join("\n")}\n`);
  progress[Symbol.dispose]();
  const { mean, error = null } = meanWithError(scores);
  if (json) warn(JSON.stringify({ task, rules, cases: cases.length, mean, error }));
  else {
    const about = error === null ? "" : ` ± ${Number(error.toPrecision(2))}`;
    warn(
      `${task} by the rules of ${rules}: mean ${Number(mean.toFixed(4))}${about} of ${counted(cases.length, "case")}`,
    );
  }
}
