// Prompts of TyDi QA with gold passages: open-instruct's `eval/tydiqa`.
import type { Tokenizer } from "#text";
import type { Language } from "../data/languages.ts";
import type { TydiqaRow } from "../data/tydiqa.ts";
import type { Layout } from "./layout.ts";
import { TYDIQA_WORDS } from "./tydiqa-words.ts";

export interface TydiqaPrompt {
  readonly language: Language;
  /** Passages are cut already. */
  readonly row: TydiqaRow;
  readonly examples: readonly TydiqaRow[];
}

export function tydiqaLayout({ language, row, examples }: TydiqaPrompt): Layout {
  const words = TYDIQA_WORDS[language];
  const asked = ({ context, question }: TydiqaRow): string =>
    `${words.passage} ${context}\n${words.question} ${question}\n`;
  const shown = examples.map((example) => `${asked(example)}${words.answer} ${example.answers[0] ?? ""}\n\n`);
  const content = `${words.instruction}\n\n${shown.join("")}${asked(row)}`;
  return {
    messages: [{ role: "user", content }],
    leadIn: words.answer,
    plain: content + words.answer,
  };
}

const PASSAGE_TOKENS = 512;

/** At most 512 ids, the first of the tokenizer's own among them: a cut passage begins with its text, such as `<s>`. */
export function cutPassage(context: string, tokenizer: Tokenizer): string {
  const ids = tokenizer.encode(context);
  return ids.length <= PASSAGE_TOKENS ? context : tokenizer.decode(ids.slice(0, PASSAGE_TOKENS));
}
