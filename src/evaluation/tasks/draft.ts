// Every task drafts all of its questions cheaply; only those that are asked get a prompt and tokens.
import { setImmediate } from "node:timers/promises";
import { MosError, randomStream } from "#core";
import { encodePrompt, type Layout, renderLayout } from "../prompts/layout.ts";
import type { Ask, Question, QuestionOptions, TaskName } from "../types.ts";

/** A question whose prompt is not made yet. */
export interface Draft {
  readonly id: string;
  readonly group: string;
  readonly references: readonly string[];
  readonly layout: () => Layout;
}

/** Those of the drafts that are asked, in the order of the data. */
export function chooseDrafts(
  drafts: readonly Draft[],
  { limit, seed }: Pick<QuestionOptions, "limit" | "seed">,
  task: TaskName,
): readonly Draft[] {
  if (limit === undefined || limit >= drafts.length) return drafts;
  if (!Number.isSafeInteger(limit) || limit < 1)
    throw new MosError(
      "bad_option",
      `limit ${limit} is not usable; give the number of questions of each task`,
    );
  const order = randomStream(seed, `questions of ${task}`).permutation(drafts.length);
  const chosen = new Set(order.subarray(0, limit));
  return drafts.filter((_, index) => chosen.has(index));
}

/** Questions out of drafts. `ask` is what all of them ask for. Throws `cancelled`. */
export async function finishDrafts(
  drafts: readonly Draft[],
  { format, text, signal }: Pick<QuestionOptions, "format" | "text" | "signal">,
  ask: Ask,
): Promise<readonly Question[]> {
  const questions: Question[] = [];
  for (const { id, group, references, layout } of drafts) {
    const prompt = renderLayout(layout(), { format, text });
    questions.push({ id, group, prompt, tokens: encodePrompt(prompt, text.tokenizer), ask, references });
    // thousands of long prompts take half a minute, in which a signal has to be heard
    if (questions.length % 64 === 0) await setImmediate();
    if (signal?.aborted === true) throw new MosError("cancelled", "the evaluation was stopped");
  }
  return questions;
}

/** How many examples the rules show, and between which numbers one may choose. */
export interface ShotRule {
  readonly task: TaskName;
  readonly usual: number;
  readonly least: number;
  readonly most: number;
  /** Why no other number will do. */
  readonly reason: string;
}

/** @throws MosError `bad_option` for a number that the task does not have. */
export function shotsOf({ shots }: Pick<QuestionOptions, "shots">, rule: ShotRule): number {
  const { task, usual, least, most, reason } = rule;
  if (shots === undefined) return usual;
  if (Number.isSafeInteger(shots) && shots >= least && shots <= most) return shots;
  const usable = least === most ? `leave it out, or give ${usual}` : `give ${least} to ${most}`;
  throw new MosError("bad_option", `${task}: ${shots} shots cannot be given, since ${reason}; ${usable}`);
}
