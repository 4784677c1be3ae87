// Cases asked and graded, and lessons as the lines that training reads.
import { MosError } from "#common";
import { type ExampleInput, withHint } from "#data";
import { answerPrompts, type GraderTools, openGrader } from "#training";
import type { PairedCase } from "./gate.ts";
import type { LearningSettings } from "./learning-settings.ts";
import { answerOf, type Lesson, promptOf } from "./lesson.ts";
import { type Case, itemOf } from "./plan.ts";

type AskOptions = Parameters<typeof answerPrompts>[1];

/** How a model is asked; one prompt at a time, so that answers do not depend on each other. */
export interface AskModelOptions extends Omit<AskOptions, "maxBatch"> {
  /** System message of prompts that have none. */
  readonly system: string | undefined;
}

/** Answers so far. */
interface AskProgress {
  readonly done: number;
  readonly total: number;
}

/** The answers of a model to prompts, in their order. Throws what `openEngine` throws. */
export async function* askModel(
  prompts: readonly Lesson["messages"][],
  { system, ...options }: AskModelOptions,
): AsyncGenerator<AskProgress, readonly string[]> {
  const asked = prompts.map((messages) =>
    system === undefined || messages[0]?.role === "system"
      ? messages
      : [{ role: "system", content: system }, ...messages],
  );
  const answers: string[] = [];
  let done = 0;
  for await (const [i, { answer }] of answerPrompts(asked, { ...options, maxBatch: 1 })) {
    answers[i] = answer.trim();
    yield { done: ++done, total: prompts.length };
  }
  return answers;
}

/** Reward from which an answer is right, where its grader has no `pass_threshold`. */
const PASS = 0.8;

/** Says of each answer to the cases whether it is right. Throws MosError `bad_option` where one cannot be graded, `cancelled`. */
export async function gradeAnswers(
  cases: readonly Case[],
  answers: readonly string[],
  tools: GraderTools & { readonly signal: AbortSignal | undefined },
): Promise<readonly boolean[]> {
  const right: boolean[] = [];
  for (const [i, one] of cases.entries()) {
    await using grader = openGrader(one.grader, tools);
    const { reward, problem } = await grader.grade(itemOf(one), answers[i] ?? "");
    if (Number.isNaN(reward))
      throw new MosError("bad_option", `an answer could not be graded: ${problem}; check the grader`);
    const least = "pass_threshold" in one.grader ? one.grader.pass_threshold : undefined;
    right.push(reward >= (least ?? PASS));
  }
  return right;
}

/** A case with what both versions answered, and whether that is right. */
export interface AnsweredCase extends Omit<Case, "grader">, PairedCase {
  readonly answerBefore: string;
  readonly answerAfter: string;
}

/** A prompt with a remark as the teacher reads it. */
export const hintedPrompt = (lesson: Lesson): Lesson["messages"] =>
  withHint(promptOf(lesson), String(lesson.hint));

/**
 * A lesson as a line of training data. Where it has a remark alone, the answer is the teacher's; the teacher of `sdft` is shown the
 * wanted answer where there is no remark.
 */
export function toLine(
  lesson: Lesson,
  { objective, answer }: Pick<LearningSettings, "objective"> & { readonly answer: string },
): ExampleInput {
  const { weight = 1, hint = `A good answer: ${answer}` } = lesson;
  const messages = [...promptOf(lesson), { role: "assistant" as const, content: answer, weight }];
  return objective === "sdft" ? { messages, hint } : { messages };
}

/** Tests whether the teacher must answer first. */
export const needsTeacher = (lesson: Lesson): boolean => answerOf(lesson) === undefined;
