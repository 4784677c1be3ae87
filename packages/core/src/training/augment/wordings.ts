// Other wordings of a question by rule, as a hurried user types it: without some of its words, in lower case, with a slip of the
// keys. A model that has learnt an answer by one wording alone knows it by the first characters.
import { MosError, type Random, randomStream } from "#common";
import type { QuestionAnswer } from "#data";
import { nextTurn } from "#platform";
import { questionIndex } from "./question-index.ts";

/** Shares of the words that are left out, one of which is drawn for each wording. */
const LEFT_OUT = [0, 0.15, 0.3, 0.5] as const;
const LOWER_CASE = 0.3;
const SLIP = 0.3;
const NO_MARK = 0.3;
const MARK = /[?？]\s*$/u;

/** Draws of a wording before the question itself is taken. */
const ATTEMPTS = 3;

/** Words of a question that is reworded at most: the parts of a longer text may all matter. */
const MAX_WORDS = 32;
/** Tests whether a question may be reworded. */
export const isShort = (question: string): boolean => question.split(/\s+/u).length <= MAX_WORDS;

/** Words without which a question asks something else: numbers and codes, and negations. */
const isNeeded = (word: string): boolean =>
  /\p{N}/u.test(word) ||
  /^\P{L}*(no|not|nor|none|never|neither|cannot|without|except|\p{L}{2,6}n['’]t)\P{L}*$/iu.test(word);

/**
 * `count` wordings of each question, none of which is nearer to another question of the data than to its own. One that has no
 * such wording keeps its own. Throws `cancelled` by the signal.
 */
export async function otherWordings(
  lessons: readonly QuestionAnswer[],
  {
    count,
    seed,
    signal,
  }: { readonly count: number; readonly seed: number; readonly signal?: AbortSignal | undefined },
): Promise<readonly (readonly string[])[]> {
  const asks = questionIndex(lessons);
  const made: (readonly string[])[] = [];
  for (const [lesson, { question }] of lessons.entries()) {
    await nextTurn(); // each is compared with all questions
    if (signal?.aborted === true)
      throw new MosError(
        "cancelled",
        `cancelled after ${lesson} of ${lessons.length} questions were reworded`,
      );
    const random = randomStream(seed, `wordings ${lesson}`);
    const wording = (): string => {
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        const typed = typedHastily(question, random);
        if (asks(typed, lesson)) return typed;
      }
      return question;
    };
    made.push(Array.from({ length: count }, wording));
  }
  return made;
}

function typedHastily(question: string, random: Random): string {
  const words = question.replace(MARK, "").split(/\s+/u);
  const share = LEFT_OUT[random.below(LEFT_OUT.length)] as number;
  const kept = words.filter((word) => random.uniform() >= share || isNeeded(word));
  const chosen = [...(kept.length < 2 ? words : kept)];
  const at = random.below(chosen.length);
  const word = chosen[at] as string;
  if (random.uniform() < SLIP && !isNeeded(word)) chosen[at] = slip(word, random);
  const typed = chosen.join(" ");
  const text = random.uniform() < LOWER_CASE ? typed.toLowerCase() : typed;
  return MARK.test(question) && random.uniform() >= NO_MARK ? `${text}?` : text;
}

/** Leaves a letter out, or swaps two. */
function slip(word: string, random: Random): string {
  const letters = [...word];
  const at = random.below(Math.max(1, letters.length - 1));
  const [one = "", other = ""] = letters.slice(at, at + 2);
  if (!/^\p{L}{2}$/u.test(one + other)) return word;
  letters.splice(at, 2, ...(random.uniform() < 0.5 ? [other] : [other, one]));
  return letters.join("");
}
