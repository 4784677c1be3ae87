import { MosError } from "#core";
import { type BbhTask, readBbh } from "../data/bbh.ts";
import { notesOfCounts } from "../data/counts.ts";
import { type BbhPrompt, directExamples, harnessBbh, openInstructBbh } from "../prompts/bbh.ts";
import type { Layout } from "../prompts/layout.ts";
import type { Ask, QuestionOptions, Task } from "../types.ts";
import { chooseDrafts, type Draft, finishDrafts, shotsOf } from "./draft.ts";
import { markText } from "./mark.ts";
import { meanOfGroups, summariesOf, summaryOf } from "./summary.ts";

/** BIG-Bench Hard: 27 tasks, with three worked examples before each question. */
export const bbh: Task = {
  name: "bbh",
  metric: { "open-instruct": "average_exact_match", "lm-eval": "exact_match" },
  runsPrograms: false,
  async questions(folder, options) {
    const reason = "every task comes with a prompt of three examples";
    const shots = shotsOf(options, { task: "bbh", usual: 3, least: 3, most: 3, reason });
    const layout = layoutOf(options);
    const data = await readBbh(folder);
    const drafts = data.tasks.flatMap((task) => draftsOf(task, layout));
    return {
      questions: await finishDrafts(chooseDrafts(drafts, options, "bbh"), options, askOf(options)),
      shots,
      direct: options.direct === true,
      dataDigest: data.digest,
      notes: notesOfCounts(data.counts),
    };
  },
  mark: markText("bbh"),
  /** The original's mean counts every task alike, the harness's every question. */
  summarise(marks) {
    const groups = summariesOf(marks);
    const { scores, questions } = summaryOf(marks);
    const average = meanOfGroups(groups.values())["exact_match"];
    const named = average === undefined ? {} : { average_exact_match: average };
    return { overall: { scores: { ...named, ...scores }, questions }, groups };
  },
};

function layoutOf({ rules, direct = false }: QuestionOptions): (prompt: BbhPrompt) => Layout {
  if (rules === "open-instruct")
    return direct
      ? ({ prompt, input }) => openInstructBbh({ prompt: directExamples(prompt), input })
      : openInstructBbh;
  if (!direct) return harnessBbh;
  throw new MosError(
    "bad_option",
    "bbh: lm-evaluation-harness's rules are here with chains of thought only; use open-instruct's for direct answers",
  );
}

const draftsOf = (
  { name, prompt, examples }: BbhTask,
  layout: (prompt: BbhPrompt) => Layout,
): readonly Draft[] =>
  examples.map(({ input, target }, index) => ({
    id: `bbh/${name}/${index}`,
    group: name,
    references: [target],
    layout: () => layout({ prompt, input }),
  }));

function askOf({ rules, format }: QuestionOptions): Ask {
  const greedy = { kind: "text", temperature: 0, topP: 1, samples: 1 } as const;
  if (rules === "lm-eval") return { ...greedy, maxTokens: 1024, stops: ["</s>", "Q", "\n\n"] };
  return { ...greedy, maxTokens: 512, stops: format === "none" ? ["\n\n"] : [] };
}
