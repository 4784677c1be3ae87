import { MosError } from "#core";
import { notesOfCounts } from "../data/counts.ts";
import { type Gsm8kRow, readGsm8k } from "../data/gsm8k.ts";
import { gsm8kExamples, gsm8kLayouts } from "../prompts/gsm8k.ts";
import { WORKED_EXAMPLES } from "../prompts/worked-examples.ts";
import { goldNumber, harnessGold } from "../scoring/index.ts";
import type { Ask, QuestionOptions, Task } from "../types.ts";
import { chooseDrafts, type Draft, finishDrafts, shotsOf } from "./draft.ts";
import { markText } from "./mark.ts";
import { summariesOf, summaryOf } from "./summary.ts";

/** GSM8K: sums in words, with eight worked examples before each. */
export const gsm8k: Task = {
  name: "gsm8k",
  metric: { "open-instruct": "exact_match", "lm-eval": "strict-match" },
  runsPrograms: false,
  async questions(folder, options) {
    const most = WORKED_EXAMPLES.length;
    const reason = "there are eight worked examples";
    const shots = shotsOf(options, { task: "gsm8k", usual: most, least: 0, most, reason });
    const data = await readGsm8k(folder);
    const drafts = chooseDrafts(draftsOf(data.test, shots, options), options, "gsm8k");
    return {
      questions: await finishDrafts(drafts, options, askOf(options)),
      shots,
      dataDigest: data.digest,
      notes: notesOfCounts(data.counts),
    };
  },
  mark: markText("gsm8k"),
  summarise: (marks) => ({ overall: summaryOf(marks), groups: summariesOf(marks) }),
};

function draftsOf(rows: readonly Gsm8kRow[], shots: number, { rules }: QuestionOptions): readonly Draft[] {
  const examples = gsm8kExamples(shots, rules);
  return rows.map(({ question, answer }, index) => {
    const id = `gsm8k/${index}`;
    return {
      id,
      group: "gsm8k",
      references: [rules === "open-instruct" ? goldOf(answer, id) : harnessGold(answer)],
      layout: () => gsm8kLayouts[rules]({ question, examples }),
    };
  });
}

function goldOf(answer: string, id: string): string {
  const gold = goldNumber(answer);
  if (Number.isFinite(Number(gold)) && Number(gold) !== 0) return gold;
  throw new MosError("bad_data", `${id}: the result ${JSON.stringify(gold)} is not a number other than 0`);
}

function askOf({ rules, format }: QuestionOptions): Ask {
  const greedy = { kind: "text", temperature: 0, topP: 1, samples: 1 } as const;
  if (rules === "lm-eval") return { ...greedy, maxTokens: 256, stops: ["Q:", "</s>", "<|im_end|>"] };
  return { ...greedy, maxTokens: 512, stops: format === "none" ? ["\n"] : [] };
}
