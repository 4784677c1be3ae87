import { MosError } from "#core";
import { notesOfCounts } from "../data/counts.ts";
import type { Language } from "../data/languages.ts";
import { readTydiqa, type TydiqaData, type TydiqaRow } from "../data/tydiqa.ts";
import { cutPassage, tydiqaLayout } from "../prompts/tydiqa.ts";
import { drawExamples } from "../prompts/tydiqa-examples.ts";
import type { Ask, QuestionOptions, Task } from "../types.ts";
import { chooseDrafts, type Draft, finishDrafts, shotsOf } from "./draft.ts";
import { markText } from "./mark.ts";
import { meanOfGroups, summariesOf } from "./summary.ts";

/** TyDi QA with gold passages: nine languages, with one solved question before each. */
export const tydiqa: Task = {
  name: "tydiqa",
  metric: { "open-instruct": "f1", "lm-eval": "f1" },
  runsPrograms: false,
  async questions(folder, options) {
    if (options.rules === "lm-eval")
      throw new MosError(
        "bad_option",
        "tydiqa: lm-evaluation-harness has no TyDi QA with gold passages; use open-instruct's rules",
      );
    const reason = "five passages of 512 tokens each fill a prompt";
    const shots = shotsOf(options, { task: "tydiqa", usual: 1, least: 0, most: 5, reason });
    const data = await readTydiqa(folder);
    const examples = drawExamples(data.languages, shots);
    const drafts = chooseDrafts(draftsOf(data, examples.byLanguage, options), options, "tydiqa");
    return {
      questions: await finishDrafts(drafts, options, askOf(options)),
      shots,
      dataDigest: data.digest,
      notes: [...notesOfCounts(data.counts), ...examples.notes],
    };
  },
  mark: markText("tydiqa"),
  /** Every language counts as much as any other. */
  summarise(marks) {
    const groups = summariesOf(marks);
    return { overall: { scores: meanOfGroups(groups.values()), questions: marks.length }, groups };
  },
};

function draftsOf(
  { languages }: TydiqaData,
  byLanguage: ReadonlyMap<Language, readonly TydiqaRow[]>,
  { text: { tokenizer } }: QuestionOptions,
): readonly Draft[] {
  const cut = (row: TydiqaRow): TydiqaRow => ({ ...row, context: cutPassage(row.context, tokenizer) });
  return languages.flatMap(({ name, dev }) => {
    const examples = (byLanguage.get(name) ?? []).map(cut);
    return dev.map((row) => ({
      id: `tydiqa/${row.id}`,
      group: name,
      references: row.answers,
      layout: () => tydiqaLayout({ language: name, row: cut(row), examples }),
    }));
  });
}

const askOf = ({ format }: QuestionOptions): Ask => ({
  kind: "text",
  maxTokens: 50,
  stops: format === "none" ? ["\n"] : [],
  temperature: 0,
  topP: 1,
  samples: 1,
});
