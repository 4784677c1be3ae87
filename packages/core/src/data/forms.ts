// The formats of a line of a data set.

import { z } from "zod";
import { isRecord } from "#common";
import { hintedForm, messagesForm, sharegptForm } from "./conversations.ts";
import { asTurns, type DataKind, type Example, type Place } from "./example.ts";
import { isBlank, joinInput, lineForm } from "./line-form.ts";
import { PREFERENCE_FORMS } from "./preference-forms.ts";

const text = z.string("a string");
/** A question and its answer as a conversation of two messages. */
const asChat = (place: Place, ask: string, answer: string): Example => ({
  kind: "chat",
  ...place,
  turns: asTurns(ask, answer),
});

const completionForm = lineForm({
  fields: ["prompt", "completion"],
  sample: '{"prompt": "The capital of France is", "completion": " Paris."}',
  schema: z.object({ prompt: text, completion: text }),
  toExample: ({ prompt, completion }, place) =>
    isBlank(completion)
      ? "completion is empty, so there is nothing to learn"
      : { kind: "completion", ...place, prompt, completion },
});

const instructionForm = lineForm({
  fields: ["instruction", "output"],
  sample: '{"instruction": "Translate into French", "input": "cheese", "output": "fromage"}',
  schema: z.object({ instruction: text, input: text.nullish(), output: text }),
  toExample({ instruction, input, output }, place) {
    const given = joinInput(instruction, input);
    if (given === "") return "instruction is empty";
    if (isBlank(output)) return "output is empty, so there is nothing to learn";
    return asChat(place, given, output);
  },
});

const questionForm = lineForm({
  fields: ["question", "answer"],
  sample: '{"question": "How much is 2 + 2?", "answer": "2 + 2 = 4"}',
  schema: z.object({ question: text, answer: text }),
  toExample({ question, answer }, place) {
    if (isBlank(question)) return "question is empty";
    return isBlank(answer)
      ? "answer is empty, so there is nothing to learn"
      : asChat(place, question, answer);
  },
});

const textForm = lineForm({
  fields: ["text"],
  sample: '{"text": "All of this text is learnt."}',
  schema: z.object({ text }),
  toExample: ({ text: whole }, place) =>
    isBlank(whole) ? "text is empty, so there is nothing to learn" : { kind: "text", ...place, text: whole },
});

/** Every accepted format, in order of precedence for a line that has the fields of two of one kind. */
export const FORMS = {
  messages: messagesForm,
  sharegpt: sharegptForm,
  completion: completionForm,
  instruction: instructionForm,
  question: questionForm,
  text: textForm, // last, since tables of other formats may also have a column of the whole text
  ...PREFERENCE_FORMS,
  "messages-hint": hintedForm,
} as const;

export type FormName = keyof typeof FORMS;

export const FORM_NAMES = Object.keys(FORMS) as readonly FormName[];

/** The end of every message about a line: the accepted formats. */
export const acceptedForms = (names: readonly FormName[]): string =>
  `Accepted formats, one JSON object per line, the same format on every line:\n${names
    .map((name) => `  ${FORMS[name].sample}`)
    .join("\n")}`;

/** The first field of a format that a value lacks. */
export const missingField = (name: FormName, value: unknown): string | undefined =>
  FORMS[name].fields.find((field) => !isRecord(value) || !Object.hasOwn(value, field));

/** The first of some formats whose fields a value has, if any. */
export const findForm = (value: unknown, names: readonly FormName[]): FormName | undefined =>
  names.find((name) => missingField(name, value) === undefined);

/** Formats of preferences first, as their lines may have the fields of others, too; but a prompt has none of its own. */
const rank = (name: FormName): number => (name === "prompt" ? 2 : Number(FORMS[name].kind === "examples"));
const BY_LIKELIHOOD = [...FORM_NAMES].sort((a, b) => rank(a) - rank(b));

/** The format that a value has where no kind of data is asked for, if any. */
export const likelyForm = (value: unknown, names: readonly FormName[]): FormName | undefined =>
  BY_LIKELIHOOD.find(
    (name) =>
      names.includes(name) &&
      missingField(name, value) === undefined &&
      isRecord(value) &&
      FORMS[name].isLikely(value),
  );

/** Formats of a kind. Pairs are answers that are rated, too. */
export const formsOf = (kind: DataKind): readonly FormName[] =>
  FORM_NAMES.filter(
    (name) => FORMS[name].kind === kind || (kind === "rated" && FORMS[name].kind === "pairs"),
  );
