import { MosError } from "#core";
import { notesOfCounts } from "../data/counts.ts";
import { type HumanEvalRow, readHumanEval } from "../data/humaneval.ts";
import { humanEvalLayouts } from "../prompts/humaneval.ts";
import { estimatePassAtK, markProgram } from "../scoring/index.ts";
import type { Ask, Marked, QuestionOptions, Summary, Task, Verdict } from "../types.ts";
import { chooseDrafts, type Draft, finishDrafts, shotsOf } from "./draft.ts";
import { groupMarks } from "./summary.ts";

const STOPS = ["\nclass", "\ndef", "\n#", "\nif", "\nprint"];

/** HumanEval: bodies of Python functions, which are run against their tests. */
export const humaneval: Task = {
  name: "humaneval",
  metric: { "open-instruct": "pass@1", "lm-eval": "pass@1" },
  runsPrograms: true,
  async questions(folder, options) {
    const reason = "HumanEval has no examples";
    const shots = shotsOf(options, { task: "humaneval", usual: 0, least: 0, most: 0, reason });
    const ask = askOf(options);
    const data = await readHumanEval(folder);
    const drafts = chooseDrafts(draftsOf(data.test, options), options, "humaneval");
    return {
      questions: await finishDrafts(drafts, options, ask),
      shots,
      dataDigest: data.digest,
      notes: notesOfCounts(data.counts),
    };
  },
  async mark({ references, id }, answers, { checker, signal }) {
    if (checker === undefined)
      throw new MosError("bad_option", "humaneval: programs have to be run; give a checker");
    const [prompt, test, entryPoint] = references;
    if (prompt === undefined || test === undefined || entryPoint === undefined)
      throw new MosError("bad_data", `${id}: a prompt, a test and an entry point are expected`);
    const verdicts: Verdict[] = [];
    for (const completion of answers)
      verdicts.push(await markProgram({ prompt, completion, test, entryPoint }, checker, signal));
    return verdicts;
  },
  summarise: (marks) => ({
    overall: passRates(marks),
    groups: new Map([...groupMarks(marks)].map(([name, group]) => [name, passRates(group)])),
  }),
};

const draftsOf = (rows: readonly HumanEvalRow[], { rules }: QuestionOptions): readonly Draft[] =>
  rows.map(({ task_id, prompt, test, entry_point }) => ({
    id: `humaneval/${task_id.replace(/^HumanEval\//, "")}`,
    group: "humaneval",
    references: [prompt, test, entry_point],
    layout: () => humanEvalLayouts[rules](prompt),
  }));

function askOf({ rules, samples, temperature }: QuestionOptions): Ask {
  if (samples !== undefined && !(Number.isSafeInteger(samples) && samples > 0))
    throw new MosError(
      "bad_option",
      `humaneval: ${samples} samples cannot be drawn; give a whole number from 1`,
    );
  if (temperature !== undefined && !(Number.isFinite(temperature) && temperature >= 0))
    throw new MosError("bad_option", `humaneval: temperature ${temperature} is not usable; give 0 or more`);
  const own = { kind: "text", stops: STOPS } as const;
  const usual =
    rules === "open-instruct"
      ? ({ ...own, maxTokens: 512, temperature: 0.1, topP: 0.95, samples: 20 } as const)
      : ({ ...own, maxTokens: 1024, temperature: 0, topP: 1, samples: 1 } as const);
  return { ...usual, temperature: temperature ?? usual.temperature, samples: samples ?? usual.samples };
}

/** Only those that there are enough answers for, of every problem. */
function passRates(marks: readonly Marked[]): Summary {
  const counts = marks.map(({ verdicts }) => ({
    samples: verdicts.length,
    passed: verdicts.filter(({ scores }) => scores["passed"] === 1).length,
  }));
  const rates = [1, 5, 10, 20].flatMap((k) => {
    const rate = estimatePassAtK(counts, k);
    return rate === undefined ? [] : [[`pass@${k}`, rate] as const];
  });
  return { scores: Object.fromEntries(rates), questions: marks.length };
}
