import { dirname, resolve } from "node:path";
import { z } from "zod";
import { MosError, parseWith } from "#core";
import {
  benchmarkOf,
  createProgramChecker,
  type ScoringTools,
  scorePrediction,
  type Verdict,
} from "#evaluation";
import { expectNoFolder, makeFolder, readJsonLines, writeFileAtomic } from "#storage";
import { listenForInterrupt } from "./interrupt.ts";
import { given } from "./option-values.ts";
import type { ScoreOptions } from "./score-command.ts";
import { counted, liveLine, note, sayLine } from "./terminal.ts";

const anyReferences = z.union([z.string(), z.array(z.string()).min(1)]);

interface Case {
  readonly prediction: string;
  readonly references: readonly string[];
}

/** All of the file, so that a broken line is reported before anything is scored. */
async function readCases({ file, task }: ScoreOptions): Promise<readonly Case[]> {
  const schema = z.object({
    prediction: z.string(),
    references: benchmarkOf(task).references ?? anyReferences,
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
      `${file}: the file holds no cases; give a line {"prediction": "…", "references": "…"} for each`,
    );
  return cases;
}

/** A line of the result: the first metric as the score, and all of several by their names. */
function lineOf({ extracted, scores, reason }: Verdict): { readonly score: number } {
  const metrics = Object.entries(scores);
  const score = metrics[0]?.[1] ?? 0;
  return { ...{ extracted, score }, ...(metrics.length > 1 ? scores : {}), ...given({ reason }) };
}

/** Cases that are begun before the first of them is done; a sandbox runs some programs at a time. */
const AT_A_TIME = 8;

/** The mean of all cases, each of which is written as a line. */
async function scoreCases(
  cases: readonly Case[],
  { task, rules, python }: ScoreOptions,
  write: (line: string) => void,
): Promise<number> {
  const benchmark = benchmarkOf(task);
  const runsPrograms = "program" in benchmark;
  using interrupt = runsPrograms ? listenForInterrupt() : undefined;
  const signal = interrupt?.signal;
  await using checker = runsPrograms
    ? await createProgramChecker({ ...given({ python }), signal })
    : undefined;
  const tools: ScoringTools = { rules, checker, signal };
  let sum = 0;
  for (let begin = 0; begin < cases.length; begin += AT_A_TIME) {
    const some = cases.slice(begin, begin + AT_A_TIME);
    for (const verdict of await Promise.all(some.map((one) => scorePrediction(benchmark, one, tools)))) {
      const line = lineOf(verdict);
      sum += line.score;
      write(JSON.stringify(line));
    }
  }
  return sum / cases.length;
}

/** What cannot be written is reported before anything is scored, and the cases are not written over. */
async function prepareOut(out: string, { file }: ScoreOptions): Promise<void> {
  await expectNoFolder(out);
  if (resolve(out) === resolve(file))
    throw new MosError("bad_option", `--out ${out} is the file of the cases; give another`);
  await makeFolder(dirname(resolve(out)));
}

async function scoreInto(out: string, cases: readonly Case[], options: ScoreOptions): Promise<number> {
  using progress = liveLine({ silent: options.json === true });
  const lines: string[] = [];
  const score = await scoreCases(cases, options, (line) =>
    progress.update(`${lines.push(line)} of ${counted(cases.length, "case")} scored`),
  );
  await writeFileAtomic(out, `${lines.join("\n")}\n`);
  return score;
}

/** Scores the predictions of a file, one line each in the file's order. */
export async function runScore(options: ScoreOptions): Promise<void> {
  const { task, rules, out, json } = options;
  if (out !== undefined) await prepareOut(out, options);
  const cases = await readCases(options);
  const score =
    out === undefined ? await scoreCases(cases, options, sayLine) : await scoreInto(out, cases, options);
  note(
    json === true
      ? JSON.stringify({ task, rules, cases: cases.length, mean: score })
      : `${task} by the rules of ${rules}: mean ${Number(score.toFixed(4))} of ${counted(cases.length, "case")}`,
  );
}
