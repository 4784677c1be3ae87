import { dirname, resolve } from "node:path";
import { z } from "zod";
import { MosError, parseWith } from "#core";
import { markProgram, type ProgramChecker, scorers, type Verdict } from "#evaluation";
import { expectNoFolder, makeFolder, readJsonLines, writeFileAtomic } from "#storage";
import { listenForInterrupt } from "./interrupt.ts";
import { given } from "./option-values.ts";
import type { ScoreOptions } from "./score-command.ts";
import { counted, liveLine, note, sayLine } from "./terminal.ts";

const caseSchema = z.object({
  prediction: z.string(),
  references: z.union([z.string(), z.array(z.string()).min(1)]),
});
const problemSchema = z.object({
  prediction: z.string(),
  references: z.tuple([z.string(), z.string(), z.string()]),
});

interface Case {
  readonly prediction: string;
  readonly references: readonly string[];
}

/** All of the file, so that a broken line is told before anything is marked. */
async function readCases({ file, task }: ScoreOptions): Promise<readonly Case[]> {
  const cases: Case[] = [];
  for await (const { line, value } of readJsonLines(file)) {
    const place = { code: "bad_data", where: `${file}:${line}` } as const;
    if (task === "humaneval") {
      cases.push(parseWith(problemSchema, value, place));
      continue;
    }
    const { prediction, references: oneOrMore } = parseWith(caseSchema, value, place);
    const references = typeof oneOrMore === "string" ? [oneOrMore] : oneOrMore;
    // anything else would never be met, and nobody would know
    const odd = task === "mmlu" ? references.find((text) => !/^\s*[A-D]\s*$/.test(text)) : undefined;
    if (odd !== undefined)
      throw new MosError(
        "bad_data",
        `${place.where}: reference ${JSON.stringify(odd)} is none of A, B, C, D`,
      );
    cases.push({ prediction, references });
  }
  if (cases.length === 0)
    throw new MosError(
      "bad_data",
      `${file}: the file holds no cases; give a line {"prediction": "…", "references": "…"} for each`,
    );
  return cases;
}

/** A line of the result: the first metric as the score, and all of several by their names. */
function markOf({ extracted, scores, reason }: Verdict): { readonly score: number } {
  const metrics = Object.entries(scores);
  const score = metrics[0]?.[1] ?? 0;
  return { ...{ extracted, score }, ...(metrics.length > 1 ? scores : {}), ...given({ reason }) };
}

type Marker = (one: Case) => Promise<{ readonly score: number }>;

const problemMarker =
  (checker: ProgramChecker, signal: AbortSignal): Marker =>
  async ({ prediction: completion, references: [prompt = "", test = "", entryPoint = ""] }) =>
    markOf(await markProgram({ prompt, completion, test, entryPoint }, checker, signal));

/** Cases that are begun before the first of them is done; a sandbox runs some programs at a time. */
const AT_A_TIME = 8;

async function markAll(cases: readonly Case[], mark: Marker, write: (line: string) => void): Promise<number> {
  let sum = 0;
  for (let begin = 0; begin < cases.length; begin += AT_A_TIME)
    for (const line of await Promise.all(cases.slice(begin, begin + AT_A_TIME).map(mark))) {
      sum += line.score;
      write(JSON.stringify(line));
    }
  return sum / cases.length;
}

async function mean(
  cases: readonly Case[],
  { task, rules, python }: ScoreOptions,
  write: (line: string) => void,
): Promise<number> {
  if (task !== "humaneval")
    return markAll(
      cases,
      async ({ prediction, references }) => markOf(scorers[task][rules](prediction, references)),
      write,
    );
  using interrupt = listenForInterrupt();
  const { createProgramChecker } = await import("#sandbox");
  await using checker = await createProgramChecker({ ...given({ python }), signal: interrupt.signal });
  return await markAll(cases, problemMarker(checker, interrupt.signal), write); // before the checker is closed
}

/** What cannot be written is told before anything is marked, and the cases are not written over. */
async function prepareOut(out: string, { file }: ScoreOptions): Promise<void> {
  await expectNoFolder(out);
  if (resolve(out) === resolve(file))
    throw new MosError("bad_option", `--out ${out} is the file of the cases; give another`);
  await makeFolder(dirname(resolve(out)));
}

async function scoreInto(out: string, cases: readonly Case[], options: ScoreOptions): Promise<number> {
  using progress = liveLine({ silent: options.json === true });
  const lines: string[] = [];
  const score = await mean(cases, options, (line) =>
    progress.update(`${lines.push(line)} of ${counted(cases.length, "case")} marked`),
  );
  await writeFileAtomic(out, `${lines.join("\n")}\n`);
  return score;
}

/** Marks the answers of a file, one line each in the file's order. */
export async function runScore(options: ScoreOptions): Promise<void> {
  const { task, rules, out, json } = options;
  if (out !== undefined) await prepareOut(out, options);
  const cases = await readCases(options);
  const score =
    out === undefined ? await mean(cases, options, sayLine) : await scoreInto(out, cases, options);
  note(
    json === true
      ? JSON.stringify({ task, rules, cases: cases.length, mean: score })
      : `${task} by the rules of ${rules}: mean ${Number(score.toFixed(4))} of ${counted(cases.length, "case")}`,
  );
}
