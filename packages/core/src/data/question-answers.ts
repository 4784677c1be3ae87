// Questions and answers about a passage: how a teacher is asked for them, how its answer is read, and which of them are kept.
import { z } from "zod";
import { tryJson } from "#common";
import type { ChatMessage } from "#text";
import type { SourcedPassage } from "./documents.ts";
import { normalise } from "./example.ts";
import { UNSPACED_CHARACTER } from "./passages.ts";

/** A question about a passage, and its answer. */
export interface QuestionAnswer {
  readonly question: string;
  readonly answer: string;
}

/** Options of a request for questions. */
export interface QuestionOptions {
  /** Number of questions. */
  readonly questions: number;
  /** More instructions for the teacher, such as the language of the answers. */
  readonly instructions?: string | undefined;
}

/** The messages that ask a teacher for questions and answers about a passage. */
export function askForQuestions(
  { headings, text }: Pick<SourcedPassage, "headings" | "text">,
  { questions, instructions }: QuestionOptions,
): readonly ChatMessage[] {
  const rules = [
    `Write ${questions} different questions that a reader might ask and that the passage below answers, with their answers.`,
    "Each question must be understood without the passage: name its subject, and never mention the passage or a text.",
    "Each answer is one to three full sentences and says only what the passage says.",
    "Use the language of the passage.",
    ...(instructions === undefined ? [] : [instructions]),
    'Reply with JSON only: [{"question": "…", "answer": "…"}, …]',
  ];
  const place = headings.length === 0 ? "" : `Section: ${headings.join(" > ")}\n`;
  return [{ role: "user", content: `${rules.join("\n")}\n\n${place}Passage:\n"""\n${text}\n"""` }];
}

const pairSchema = z
  .union([
    z.object({ question: z.string(), answer: z.string() }),
    z.object({ q: z.string(), a: z.string() }).transform(({ q, a }) => ({ question: q, answer: a })),
  ])
  .transform(({ question, answer }) => ({ question: question.trim(), answer: answer.trim() }));

/** An answer of a teacher is read up to here. */
const MAX_CHARACTERS = 1 << 18;

/**
 * Reads questions and answers out of whatever a teacher writes: objects of JSON in a list, in lines, between prose, or cut
 * off at the end; else lines that begin with `Q:` and `A:`, numbered or not.
 */
export function readQuestionAnswers(answer: string): readonly QuestionAnswer[] {
  const text = answer.slice(0, MAX_CHARACTERS).replace(/^[\s\S]*<\/think>/, "");
  const found = innerObjects(text).flatMap((part) => {
    const { data } = pairSchema.safeParse(tryJson(part));
    return data === undefined ? [] : [data];
  });
  return found.length > 0 ? found : labelledPairs(text);
}

/** The objects of JSON in a text that hold no other objects. Braces in strings do not count. */
function innerObjects(text: string): readonly string[] {
  const found: string[] = [];
  let begin: number | undefined;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const character = text[i];
    if (inString && character === "\\") i++;
    // no string of JSON goes over a line end, so that a mark too many in prose spoils no more than its line
    else if (character === "\n") inString = false;
    else if (character === '"') inString = begin !== undefined && !inString;
    else if (character === "{" && !inString) begin = i;
    else if (character === "}" && !inString && begin !== undefined) {
      found.push(text.slice(begin, i + 1));
      begin = undefined;
    }
  }
  return found;
}

/** "1. Q: ", "A: ", "**Question 2:** " at the start of a line. */
const LABEL = /^[\s>*_#\-\d.)(]*(?:(Q(?:uestion)?)|A(?:nswer)?)\s*(?:\d+[*_]*\s*|[*_]+\s*)?[:.)]\s*[*_]*\s*/i;
const MAX_LABEL = 100;

/** Lines with labels; a question or an answer goes on to the next label. */
function labelledPairs(text: string): readonly QuestionAnswer[] {
  const pairs: { question: string; answer: string }[] = [];
  let field: "question" | "answer" = "question";
  for (const line of text.split("\n")) {
    const label = LABEL.exec(line.slice(0, MAX_LABEL));
    const rest = line.slice(label?.[0].length ?? 0);
    if (label?.[1] !== undefined) pairs.push({ question: "", answer: "" });
    if (label !== null) field = label[1] === undefined ? "answer" : "question";
    const last = pairs.at(-1);
    if (last !== undefined) last[field] += `${rest}\n`;
  }
  return pairs.map(({ question, answer }) => ({ question: question.trim(), answer: answer.trim() }));
}

/** Why a pair is dropped. */
export type DropReason = "empty" | "unsupported" | "duplicate";

/** Letters of a word that are compared, so that endings do not matter. */
const STEM = 5;
/** Words that are compared have at least this many letters. */
const MIN_LETTERS = 4;
/** Part of an answer's words that the passage must have. */
const MIN_SHARE = 0.5;

/** The beginnings of a text's long words, and the characters of writing without spaces. */
function stems(text: string): readonly string[] {
  const plain = text.normalize("NFKC").toLowerCase();
  const words = plain.replace(UNSPACED_CHARACTER, " ").match(/\p{L}+/gu) ?? [];
  return [
    ...words.filter(({ length }) => length >= MIN_LETTERS).map((word) => word.slice(0, STEM)),
    ...(plain.match(UNSPACED_CHARACTER) ?? []),
  ];
}
/** The numbers of a text; 1,000 and 1.000 are 1000. */
const numbersIn = (text: string): readonly string[] =>
  (text.normalize("NFKC").match(/\d[\d.,]*/g) ?? []).map((number) =>
    number.replace(/(?<![.,])[.,]+$/, "").replace(/[.,](?=\d{3}(?!\d))/g, ""),
  );

/**
 * Tests whether a passage supports an answer: at least half of the answer's words of four letters or more are in it, compared
 * by their first five letters, or of its characters in writing without spaces, and so are all of its numbers, unless the question
 * has them. Short answers without such words pass.
 */
export function isSupported({ question, answer }: QuestionAnswer, passage: string): boolean {
  const known = new Set(stems(passage));
  const found = stems(answer);
  const share = found.length === 0 ? 1 : found.filter((stem) => known.has(stem)).length / found.length;
  const numbers = new Set(numbersIn(`${passage} ${question}`));
  return share >= MIN_SHARE && numbersIn(answer).every((number) => numbers.has(number));
}

/** The reason to drop a pair; `asked` has the normalised questions before it, and gets this one if it is kept. */
export function dropReason(
  pair: QuestionAnswer,
  { passage, asked }: { readonly passage: string; readonly asked: Set<string> },
): DropReason | undefined {
  if (pair.question === "" || pair.answer === "") return "empty";
  if (!isSupported(pair, passage)) return "unsupported";
  const question = normalise(pair.question);
  if (asked.has(question)) return "duplicate";
  asked.add(question);
  return undefined;
}
