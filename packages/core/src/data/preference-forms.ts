// Formats of preferences: pairs of answers to one prompt, answers that are rated, and prompts whose answers are graded.

import { z } from "zod";
import { isRecord } from "#common";
import type { LineTurn } from "./conversation-turns.ts";
import {
  type LineTools,
  lineTools,
  MESSAGE_NAMES,
  message,
  messageList,
  sharegptFields,
  sharegptMessage,
  systemTurns,
  toChat,
  toolFields,
  toPrompt,
} from "./conversations.ts";
import type { AnsweredExample, Example, PairExample, Place } from "./example.ts";
import { isBlank, joinInput, lineForm } from "./line-form.ts";
import { byShape, withToolList } from "./tool-lines.ts";

/** A part of a line: a text, a message or a list of messages. */
type Said = string | LineTurn | readonly LineTurn[];

const text = z.string("a string");
const said = byShape<Said>((value) => {
  if (Array.isArray(value)) return messageList(message);
  return isRecord(value) ? message : z.string("a string or a list of messages");
});

/** A part of a line, and the field that it is in. */
interface Part {
  readonly field: string;
  readonly said: Said;
  /** Index of its first message in the field; 0. */
  readonly from?: number;
}

const turnsOf = ({ said: given }: Part, role: LineTurn["role"]): readonly LineTurn[] =>
  typeof given === "string" ? [{ role, content: given, calls: [] }] : "role" in given ? [given] : given;

const nameOf = ({ said: given, field, from = 0 }: Part, i: number): string =>
  Array.isArray(given) ? `${field}[${from + i}]` : field;

interface AnswerOptions extends Partial<LineTools> {
  readonly place: Place;
  /** The field for a message's text. */
  readonly content?: string;
}

/** A prompt with its answer, or what is wrong with them. */
function toAnswered(
  prompt: Part,
  answer: Part,
  { place, content = "content", ...line }: AnswerOptions,
): AnsweredExample | string {
  for (const { said: given, field } of [prompt, answer])
    if (typeof given === "string" && isBlank(given))
      return field === prompt.field ? `${field} is empty` : `${field} is empty, so there is nothing to learn`;
  const { tools = [], variables } = line;
  if (typeof prompt.said === "string" && typeof answer.said === "string" && tools.length === 0 && !variables)
    return { kind: "completion", ...place, prompt: prompt.said, completion: answer.said };
  const asked = turnsOf(prompt, "user");
  const given = turnsOf(answer, "assistant");
  const problem = findSidesProblem([prompt, asked], [answer, given]);
  if (problem !== undefined) return problem;
  const chat = { ...line, tools, turns: [...asked, ...given], answerFrom: asked.length };
  return toChat(chat, place, {
    turn: (i) => (i < asked.length ? nameOf(prompt, i) : nameOf(answer, i - asked.length)),
    content,
  });
}

type Side = readonly [part: Part, turns: readonly LineTurn[]];

/** A prompt ends with what is to be answered, and an answer is the assistant's. */
function findSidesProblem([prompt, asked]: Side, [answer, given]: Side): string | undefined {
  const last = asked.length - 1;
  if (last < 0) return `there is no prompt before ${nameOf(answer, 0)}`;
  if (asked[last]?.role === "assistant" || asked[last]?.role === "system")
    return `${nameOf(prompt, last)} is ${asked[last].role === "system" ? "a system" : "an assistant"} message; a prompt ends with a user message or the result of a call`;
  if (given.length === 0) return `${answer.field} has no answer`;
  const odd = [0, given.length - 1].find((i) => given[i]?.role !== "assistant");
  return odd === undefined
    ? undefined
    : `${nameOf(answer, odd)} is a ${given[odd]?.role} message; an answer begins and ends with an assistant message`;
}

interface Sides {
  readonly prompt: Part;
  readonly chosen: Part;
  readonly rejected: Part;
}

/** The answers of a line that has them in fields of these names. */
const answersOf = (chosen: Said, rejected: Said): Pick<Sides, "chosen" | "rejected"> => ({
  chosen: { field: "chosen", said: chosen },
  rejected: { field: "rejected", said: rejected },
});

/** A pair, or what is wrong with it. */
function toPair({ prompt, chosen, rejected }: Sides, options: AnswerOptions): PairExample | string {
  const better = toAnswered(prompt, chosen, options);
  if (typeof better === "string") return better;
  const worse = toAnswered(prompt, rejected, options);
  if (typeof worse === "string") return worse;
  if (isSame(turnsOf(chosen, "assistant"), turnsOf(rejected, "assistant")))
    return `${chosen.field} and ${rejected.field} are the same, so neither is preferred`;
  return { kind: "pair", ...options.place, chosen: better, rejected: worse };
}

const isSame = (one: unknown, other: unknown): boolean => JSON.stringify(one) === JSON.stringify(other);

/** Length of what two lists begin with in common. */
function commonLength(one: ArrayLike<unknown>, other: ArrayLike<unknown>): number {
  let length = 0;
  while (length < Math.min(one.length, other.length) && isSame(one[length], other[length])) length++;
  return length;
}

/** Both conversations as the prompt that they begin with, and their answers. */
function splitMessages(chosen: readonly LineTurn[], rejected: readonly LineTurn[]): Sides | string {
  const from = commonLength(chosen, rejected);
  const parts = { chosen: chosen.slice(from), rejected: rejected.slice(from) };
  if (parts.chosen.length + parts.rejected.length === 0)
    return "chosen and rejected are the same, so neither is preferred";
  if (from === 0)
    return "chosen[0] and rejected[0] differ, so there is no prompt; both begin with the same messages";
  return {
    prompt: { field: "chosen", said: chosen.slice(0, from) },
    chosen: { field: "chosen", said: parts.chosen, from },
    rejected: { field: "rejected", said: parts.rejected, from },
  };
}

/** Both texts as the prompt that they begin with, without a part of a word, and their answers. */
function splitTexts(chosen: string, rejected: string): Sides | string {
  const common = commonLength(chosen, rejected);
  if (common === chosen.length && common === rejected.length)
    return "chosen and rejected are the same, so neither is preferred";
  let length = common;
  while (length > 0 && !/\s/.test(chosen[length - 1] ?? "")) length--;
  if (chosen[length - 1] === " ") length--; // tokens of words begin with the blank before them
  if (length === 0) length = common; // a script without blanks
  return {
    prompt: { field: "the part that chosen and rejected begin with", said: chosen.slice(0, length) },
    ...answersOf(chosen.slice(length), rejected.slice(length)),
  };
}

function splitPrompt(chosen: Said, rejected: Said): Sides | string {
  if (typeof chosen === "string" && typeof rejected === "string") return splitTexts(chosen, rejected);
  if (Array.isArray(chosen) && Array.isArray(rejected)) return splitMessages(chosen, rejected);
  return "chosen and rejected are not both texts or both lists of messages, so they have no prompt in common";
}

/** Tests whether an answer is a whole conversation, as in tables that have the prompt apart, too. */
const isWhole = (answer: Said): answer is readonly LineTurn[] =>
  Array.isArray(answer) && answer[0]?.role !== "assistant";

const pairFields = {
  system: text.nullish(),
  prompt: said,
  chosen: said,
  rejected: said,
  ...toolFields,
};

/** A prompt behind the system message of its line, where it has one. */
function withSystem(prompt: Part, system: string | null | undefined): Part {
  const before = systemTurns(system);
  return before.length === 0
    ? prompt
    : { ...prompt, said: [...before, ...turnsOf(prompt, "user")], from: -before.length };
}

const preferenceForm = lineForm({
  kind: "pairs",
  fields: ["prompt", "chosen", "rejected"],
  sample: '{"prompt": "How are you?", "chosen": "Fine, thank you.", "rejected": "Why?"}',
  prepare: withToolList,
  schema: z.object(pairFields),
  toExample({ system, prompt, chosen, rejected, ...line }, place) {
    const options = { place, ...lineTools(line) };
    if (!isWhole(chosen) && !isWhole(rejected)) {
      const asked = withSystem({ field: "prompt", said: prompt }, system);
      return toPair({ prompt: asked, ...answersOf(chosen, rejected) }, options);
    }
    const sides = splitPrompt(chosen, rejected);
    if (typeof sides === "string") return sides;
    const isThere = turnsOf(sides.prompt, "user").some(({ content }) => content === prompt);
    return isThere
      ? toPair(sides, options)
      : "chosen and rejected are conversations that do not begin with the prompt; leave the prompt or these messages out";
  },
});

const implicitForm = lineForm({
  kind: "pairs",
  fields: ["chosen", "rejected"],
  sample: '{"chosen": "How are you? Fine, thank you.", "rejected": "How are you? Why?"}',
  prepare: withToolList,
  schema: z.object({ chosen: said, rejected: said, ...toolFields }),
  toExample({ chosen, rejected, ...line }, place) {
    const sides = splitPrompt(chosen, rejected);
    return typeof sides === "string" ? sides : toPair(sides, { place, ...lineTools(line) });
  },
});

/** OpenAI's format of preferences. */
const openaiForm = lineForm({
  kind: "pairs",
  fields: ["input", "preferred_output", "non_preferred_output"],
  sample:
    '{"input": {"messages": [{"role": "user", "content": "How are you?"}]}, "preferred_output": [{"role": "assistant", "content": "Fine."}], "non_preferred_output": [{"role": "assistant", "content": "Why?"}]}',
  schema: z.object({
    input: z.object({ messages: messageList(message), ...toolFields }, "an object with messages"),
    preferred_output: messageList(message),
    non_preferred_output: messageList(message),
  }),
  toExample: ({ input: { messages, ...line }, preferred_output, non_preferred_output }, place) =>
    toPair(
      {
        prompt: { field: "input.messages", said: messages },
        chosen: { field: "preferred_output", said: preferred_output },
        rejected: { field: "non_preferred_output", said: non_preferred_output },
      },
      { place, ...lineTools(line) },
    ),
});

const sharegptPairForm = lineForm({
  kind: "pairs",
  fields: ["conversations", "chosen", "rejected"],
  sample:
    '{"conversations": [{"from": "human", "value": "How are you?"}], "chosen": {"from": "gpt", "value": "Fine."}, "rejected": {"from": "gpt", "value": "Why?"}}',
  prepare: withToolList,
  schema: z.object({ ...sharegptFields, chosen: sharegptMessage, rejected: sharegptMessage }),
  toExample: ({ conversations, system, tools, chosen, rejected }, place) =>
    toPair(
      {
        prompt: withSystem({ field: "conversations", said: conversations }, system),
        ...answersOf(chosen, rejected),
      },
      { place, tools: tools ?? [], content: "value" },
    ),
});

const instructionPairForm = lineForm({
  kind: "pairs",
  fields: ["instruction", "chosen", "rejected"],
  sample:
    '{"instruction": "Translate into French", "input": "cheese", "chosen": "fromage", "rejected": "Käse"}',
  schema: z.object({ instruction: text, input: text.nullish(), chosen: text, rejected: text }),
  toExample: ({ instruction, input, chosen, rejected }, place) => {
    const content = joinInput(instruction, input);
    if (content === "") return "instruction is empty";
    const prompt: Part = { field: "instruction", said: { role: "user", content, calls: [] } };
    return toPair({ prompt, ...answersOf(chosen, rejected) }, { place });
  },
});

/** Messages without the last one, which is an answer. */
const splitLast = (messages: readonly LineTurn[]): Pick<Sides, "prompt" | "chosen"> => ({
  prompt: { field: "messages", said: messages.slice(0, -1) },
  chosen: { field: "messages", said: messages.slice(-1), from: messages.length - 1 },
});

const messagesPairForm = lineForm({
  kind: "pairs",
  fields: ["messages", "rejected_response"],
  sample:
    '{"messages": [{"role": "user", "content": "How are you?"}, {"role": "assistant", "content": "Fine."}], "rejected_response": "Why?"}',
  prepare: withToolList,
  schema: z.object({ messages: messageList(message), rejected_response: said, ...toolFields }),
  toExample: ({ messages, rejected_response, ...line }, place) => {
    const { prompt, chosen } = splitLast(messages);
    const rejected = { field: "rejected_response", said: rejected_response };
    return toPair({ prompt, chosen, rejected }, { place, ...lineTools(line) });
  },
});

// Rated answers.

const LABELS: ReadonlyMap<unknown, boolean> = new Map<unknown, boolean>([
  [true, true],
  [1, true],
  ["true", true],
  ["1", true],
  [false, false],
  [0, false],
  ["false", false],
  ["0", false],
]);
const toLabel = (value: unknown): boolean | undefined =>
  LABELS.get(typeof value === "string" ? value.toLowerCase() : value);

/** Whether an answer is desirable; tables of texts have it as a text. */
const label = z.unknown().transform((value, context): boolean => {
  const found = toLabel(value);
  if (found !== undefined) return found;
  context.issues.push({ code: "custom", message: "true or false", input: value });
  return z.NEVER;
});

/** Many tables have a column of this name that says something else, often in numbers. */
const isRating = ({ label: given }: Readonly<Record<string, unknown>>): boolean =>
  toLabel(given) !== undefined && !/^[01]$/.test(String(given));

const toRated = (answer: AnsweredExample | string, isDesirable: boolean, place: Place): Example | string =>
  typeof answer === "string" ? answer : { kind: "rated", ...place, answer, isDesirable };

const ratedForm = lineForm({
  kind: "rated",
  fields: ["prompt", "completion", "label"],
  isLikely: isRating,
  sample: '{"prompt": "How are you?", "completion": "Fine, thank you.", "label": true}',
  prepare: withToolList,
  schema: z.object({ system: text.nullish(), prompt: said, completion: said, label, ...toolFields }),
  toExample: ({ system, prompt, completion, label: isDesirable, ...line }, place) => {
    const asked = withSystem({ field: "prompt", said: prompt }, system);
    const answer = toAnswered(
      asked,
      { field: "completion", said: completion },
      { place, ...lineTools(line) },
    );
    return toRated(answer, isDesirable, place);
  },
});

const messagesRatedForm = lineForm({
  kind: "rated",
  fields: ["messages", "label"],
  isLikely: isRating,
  sample:
    '{"messages": [{"role": "user", "content": "How are you?"}, {"role": "assistant", "content": "Why?"}], "label": false}',
  prepare: withToolList,
  schema: z.object({ messages: messageList(message), label, ...toolFields }),
  toExample: ({ messages, label: isDesirable, ...line }, place) => {
    const { prompt, chosen } = splitLast(messages);
    return toRated(toAnswered(prompt, chosen, { place, ...lineTools(line) }), isDesirable, place);
  },
});

// Prompts.

/** The fields of a line that its prompt does not take. */
function itemOf(line: Readonly<Record<string, unknown>>, prompt: string): Readonly<Record<string, unknown>> {
  const own = [prompt, ...Object.keys(toolFields)];
  return Object.fromEntries(Object.entries(line).filter(([name]) => !own.includes(name)));
}

const messagesPromptForm = lineForm({
  kind: "prompts",
  fields: ["messages"],
  isLikely: ({ messages, ...more }) => {
    const last: unknown = Array.isArray(messages) ? messages.at(-1) : undefined;
    const isAnswered = !isRecord(last) || last["role"] === "assistant";
    return !isAnswered && Object.keys(itemOf(more, "messages")).length > 0;
  },
  sample: '{"messages": [{"role": "user", "content": "How much is 2 + 2?"}], "reference": "4"}',
  prepare: withToolList,
  schema: z.looseObject({ messages: messageList(message), ...toolFields }),
  toExample: ({ messages, ...line }, place) => {
    const prompt = { turns: messages, ...lineTools(line), item: itemOf(line, "messages") };
    return toPrompt(prompt, place, MESSAGE_NAMES);
  },
});

const promptForm = lineForm({
  kind: "prompts",
  fields: ["prompt"],
  sample: '{"prompt": "How much is 2 + 2?", "reference": "4"}',
  prepare: withToolList,
  schema: z.looseObject({ prompt: said, ...toolFields }),
  toExample: ({ prompt: given, ...line }, place) => {
    if (typeof given === "string" && isBlank(given)) return "prompt is empty";
    const part = { field: "prompt", said: given };
    const prompt = { turns: turnsOf(part, "user"), ...lineTools(line), item: itemOf(line, "prompt") };
    return toPrompt(prompt, place, { turn: (i) => nameOf(part, i), content: "content" });
  },
});

/** Formats of preferences, in order of precedence for a line that has the fields of two. */
export const PREFERENCE_FORMS = {
  "openai-preference": openaiForm,
  "sharegpt-preference": sharegptPairForm,
  "instruction-preference": instructionPairForm,
  "messages-preference": messagesPairForm,
  preference: preferenceForm,
  "implicit-preference": implicitForm,
  "messages-rated": messagesRatedForm,
  rated: ratedForm,
  "messages-prompt": messagesPromptForm,
  prompt: promptForm,
} as const;
