import { MosError } from "#core";
import { notesOfCounts } from "../data/counts.ts";
import { type MmluData, type MmluRow, readMmlu } from "../data/mmlu.ts";
import { type Layout, renderLayout } from "../prompts/layout.ts";
import { LETTERS, mmluLayouts } from "../prompts/mmlu.ts";
import type { Ask, Marked, QuestionOptions, Task } from "../types.ts";
import { chooseDrafts, type Draft, finishDrafts, shotsOf } from "./draft.ts";
import { markText } from "./mark.ts";
import { placeOfSubject } from "./mmlu-categories.ts";
import { groupMarks, summariesOf, summaryOf } from "./summary.ts";

/** open-instruct shows fewer examples in a prompt of more tokens than that. */
const MOST_TOKENS = 2048;

/** MMLU: 57 subjects, four choices; the letter that is likeliest behind the prompt is the answer. */
export const mmlu: Task = {
  name: "mmlu",
  metric: { "open-instruct": "average_acc", "lm-eval": "acc" },
  runsPrograms: false,
  async questions(folder, options) {
    const reason = "there are five solved questions of each subject";
    const shots = shotsOf(options, { task: "mmlu", usual: 0, least: 0, most: 5, reason });
    const data = await readMmlu(folder);
    const drafts = chooseDrafts(draftsOf(data, shots, options), options, "mmlu");
    return {
      questions: await finishDrafts(drafts, options, askOf(drafts[0], options)),
      shots,
      dataDigest: data.digest,
      notes: notesOfCounts(data.counts),
    };
  },
  mark: markText("mmlu"),
  summarise(marks) {
    const { scores, questions } = summaryOf(marks);
    const { acc } = scores;
    const average = acc === undefined ? {} : { average_acc: acc };
    return {
      overall: { scores: { ...average, ...scores, ...accuracies(marks) }, questions },
      groups: summariesOf(marks),
    };
  },
};

function draftsOf(data: MmluData, shots: number, options: QuestionOptions): readonly Draft[] {
  const examples = new Map<string, MmluRow[]>();
  for (const row of data.dev) examples.set(row.subject, [...(examples.get(row.subject) ?? []), row]);
  const seen = new Map<string, number>();
  return data.test.map((row) => {
    const index = seen.get(row.subject) ?? 0;
    seen.set(row.subject, index + 1);
    const shown = (examples.get(row.subject) ?? []).slice(0, shots);
    if (shown.length < shots)
      throw new MosError(
        "not_found",
        `mmlu: ${shown.length} solved questions of ${row.subject} are there, ${shots} are to be shown; add mmlu/dev.jsonl, or ask for fewer shots`,
      );
    return {
      id: `mmlu/${row.subject}/${index}`,
      group: row.subject,
      references: [LETTERS[row.answer] ?? ""],
      layout: () => layoutOf({ row, examples: shown }, options),
    };
  });
}

interface Shown {
  readonly row: MmluRow;
  readonly examples: readonly MmluRow[];
}

/** As many of the first examples as leave the prompt at its length. */
function layoutOf({ row, examples }: Shown, { rules, format, text }: QuestionOptions): Layout {
  for (let shots = examples.length; ; shots--) {
    const layout = mmluLayouts[rules]({ row, examples: examples.slice(0, shots) });
    if (rules === "lm-eval" || shots === 0) return layout;
    const prompt = renderLayout(layout, { format, text });
    if (text.tokenizer.encode(prompt, { addSpecialTokens: false }).length <= MOST_TOKENS) return layout;
  }
}

function askOf(first: Draft | undefined, { rules, format, text }: QuestionOptions): Ask {
  const encode = (written: string): readonly number[] =>
    text.tokenizer.encode(written, { addSpecialTokens: false });
  // The harness continues a chat's answer without the blank that it puts behind "Answer:".
  const before =
    rules === "open-instruct" || first === undefined
      ? " "
      : renderLayout(first.layout(), { format, text }) + (format === "none" ? " " : "");
  const candidates = LETTERS.map((letter) => encode(before + letter).at(-1) ?? -1);
  if (new Set(candidates).size < LETTERS.length || candidates.includes(-1))
    throw new MosError(
      "unsupported",
      `mmlu: this tokenizer ends " A" to " D" in the tokens ${candidates.join(", ")}, which do not tell the choices apart`,
    );
  return { kind: "choice", candidates, labels: LETTERS };
}

/** Accuracy in each category and subcategory, every question counting as much as any other. */
function accuracies(marks: readonly Marked[]): Readonly<Record<string, number>> {
  const scores: Record<string, number> = {};
  for (const kind of ["category", "subcategory"] as const) {
    const name = kind === "category" ? "cat_acc" : "subcat_acc";
    for (const [place, group] of groupMarks(marks, (mark) => placeOfSubject(mark.group)?.[kind] ?? "")) {
      const { acc } = summaryOf(group).scores;
      if (place !== "" && acc !== undefined) scores[`${name}/${place}`] = acc;
    }
  }
  return scores;
}
