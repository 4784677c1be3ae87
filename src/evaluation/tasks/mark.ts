import { scorers, type TextTask } from "../scoring/index.ts";
import type { Task } from "../types.ts";

/** Marks each answer by its text. */
export const markText =
  (task: TextTask): Task["mark"] =>
  async ({ references }, answers, { rules }) =>
    answers.map((answer) => scorers[task][rules](answer, references));
