// Graders of sampled answers: what their tokens are worth to learn.
import type { ChatClient, Place } from "#data";
import type { PythonGraders, readSample } from "#graders";
import type { Sample } from "#inference";
import type { Metrics } from "../objectives/objective.ts";
import type { TeacherAccess, TokenTexts } from "./teacher.ts";

/** A prompt whose answers are graded. */
export interface Prompt extends Place {
  /** Token ids up to where the answer begins. */
  readonly ids: ArrayLike<number> & Iterable<number>;
  /** What its line says besides the prompt. */
  readonly item: Readonly<Record<string, unknown>>;
}

/** An answer, and what its grader found of it. */
export interface Answer<Grade> extends Sample {
  readonly grade: Grade;
}

/** The answers to one prompt. */
export interface Group<Grade> {
  readonly prompt: Prompt;
  readonly answers: readonly Answer<Grade>[];
}

/** Grades answers. Dispose it. */
export interface AnswerGrader<Grade = unknown> extends AsyncDisposable {
  /** Grades an answer when it ends, while others are written. */
  grade(prompt: Prompt, sample: Sample): Promise<Grade>;
  /** For each answer of each group the advantage of its tokens: one for all of them, or one for each. */
  advantages(groups: readonly Group<Grade>[]): readonly (readonly (number | Float32Array)[])[];
  metrics(groups: readonly Group<Grade>[]): Metrics;
  /** What an evaluation compares where its metrics have no reward: the lower, the better. */
  loss?(groups: readonly Group<Grade>[]): Metrics[string];
  /** Why one of the answers has no reward, where that is known. */
  findProblem?(groups: readonly Group<Grade>[]): string | undefined;
  /** The sentence that ends a run in whose updates until now, as `when` says, all advantages were 0. */
  explainSilence(groups: readonly Group<Grade>[], when: string): string;
}

/** Rewards of answers to the prompt of a line. NaN leaves an answer out. */
export type RewardFunction = (
  item: Prompt["item"],
  sample: ReturnType<typeof readSample>,
) => number | Promise<number>;

/** What a grader may be given besides the settings. */
export interface GraderInputs {
  /** Rewards of answers to prompts, in the place of the setting `grader`. */
  readonly reward?: RewardFunction | undefined;
  /** Answers the chat requests of graders of the type `score_model`, as OpenAI's API does. */
  readonly scoreModel?: ChatClient | undefined;
  /** Runs graders of the type `python`, and stays open; without it, a run opens a sandbox of its own. */
  readonly pythonGraders?: Pick<PythonGraders, "run"> | undefined;
  /** How the setting `teacher` is asked. */
  readonly teacherAccess?: TeacherAccess | undefined;
}

/** A grader that can be used, as far as that is known before anything is sampled. */
export interface GraderPlan {
  /** Throws `bad_data` for a prompt whose answers it cannot grade. */
  checkPrompt(prompt: Prompt): void;
  open(options: { readonly tokenizer: TokenTexts; readonly signal: AbortSignal | undefined }): AnswerGrader;
}
