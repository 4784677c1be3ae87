// Prompts of MMLU: open-instruct's `eval/mmlu`, and lm-evaluation-harness's `mmlu`.
import type { MmluRow } from "../data/mmlu.ts";
import { strip } from "../scoring/python-text.ts";
import type { Rules } from "../types.ts";
import type { Layout } from "./layout.ts";

export const LETTERS = ["A", "B", "C", "D"] as const;

export interface MmluPrompt {
  readonly row: MmluRow;
  /** Solved questions of the same subject. */
  readonly examples: readonly MmluRow[];
}

/** What a prompt asks, by whose rules. */
export const mmluLayouts: Readonly<Record<Rules, (prompt: MmluPrompt) => Layout>> = {
  "open-instruct": openInstruct,
  "lm-eval": harness,
};

const header = (subject: string): string =>
  `The following are multiple choice questions (with answers) about ${subject}.\n\n`;

const choices = (row: MmluRow): string =>
  LETTERS.map((letter, i) => `\n${letter}. ${row.choices[i]}`).join("");

const solved = (asked: string, row: MmluRow): string => `${asked} ${LETTERS[row.answer]}\n\n`;

function openInstruct({ row, examples }: MmluPrompt): Layout {
  const asked = (one: MmluRow): string => `${one.question}${choices(one)}\nAnswer:`;
  // every part of the subject's name has a blank before it, so that two follow "about"
  const subject = row.subject
    .split("_")
    .map((part) => ` ${part}`)
    .join("");
  const shown = examples.map((one) => solved(asked(one), one)).join("");
  const plain = header(subject) + shown + asked(row);
  return { messages: [{ role: "user", content: plain }], leadIn: "The answer is ", plain };
}

function harness({ row, examples }: MmluPrompt): Layout {
  const asked = (one: MmluRow): string => `${strip(one.question)}${choices(one)}\nAnswer:`;
  const description = header(row.subject.replaceAll("_", " "));
  const user = examples.map((one) => solved(asked(one), one)).join("") + asked(row);
  const messages = [
    { role: "system", content: description },
    { role: "user", content: user },
  ];
  return { messages, leadIn: "", plain: description + user };
}
