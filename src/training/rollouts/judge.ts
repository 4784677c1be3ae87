// What the tokens of sampled answers are worth to learn: said by a judge, in whatever way.
import type { Place } from "#data";
import type { Sample } from "#inference";
import type { Metrics } from "../objectives/objective.ts";
import type { GradeTools } from "./rewards.ts";
import type { TeacherAccess, TokenTexts } from "./teacher.ts";

/** A prompt whose answers are judged. */
export interface Prompt extends Place {
  /** Token ids up to where the answer begins. */
  readonly ids: ArrayLike<number> & Iterable<number>;
  /** What its line says besides the prompt. */
  readonly item: Readonly<Record<string, unknown>>;
}

/** An answer, and what its judge found of it. */
export interface Answer<Verdict> extends Sample {
  readonly verdict: Verdict;
}

/** The answers to one prompt. */
export interface Group<Verdict> {
  readonly prompt: Prompt;
  readonly answers: readonly Answer<Verdict>[];
}

/** Judges answers. Dispose it. */
export interface Judge<Verdict = unknown> extends AsyncDisposable {
  /** Judges an answer when it ends, while others are written. */
  judge(prompt: Prompt, sample: Sample): Promise<Verdict>;
  /** For each answer of each group the advantage of its tokens: one for all of them, or one for each. */
  advantages(groups: readonly Group<Verdict>[]): readonly (readonly (number | Float32Array)[])[];
  metrics(groups: readonly Group<Verdict>[]): Metrics;
  /** What an evaluation compares where its metrics have no reward: the lower, the better. */
  loss?(groups: readonly Group<Verdict>[]): Metrics[string];
  /** Why one of the answers has no reward, where that is known. */
  findProblem?(groups: readonly Group<Verdict>[]): string | undefined;
  /** The sentence that ends a run in whose updates until now, as `when` says, all advantages were 0. */
  explainSilence(groups: readonly Group<Verdict>[], when: string): string;
}

/** What a judge may be given besides the settings. */
export interface JudgeInputs extends GradeTools {
  /** How the setting `teacher` is asked. */
  readonly teacherAccess?: TeacherAccess | undefined;
}

/** A judge that can be used, as far as that is known before anything is sampled. */
export interface JudgePlan {
  /** Throws `bad_data` for a prompt whose answers it cannot judge. */
  checkPrompt(prompt: Prompt): void;
  open(options: { readonly tokenizer: TokenTexts; readonly signal: AbortSignal | undefined }): Judge;
}
