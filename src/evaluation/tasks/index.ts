import type { Task, TaskName } from "../types.ts";
import { bbh } from "./bbh.ts";
import { gsm8k } from "./gsm8k.ts";
import { humaneval } from "./humaneval.ts";
import { mmlu } from "./mmlu.ts";
import { tydiqa } from "./tydiqa.ts";

/**
 * The benchmarks by name.
 *
 * @example
 * const { questions } = await tasks.gsm8k.questions("data", { rules: "open-instruct", format: "tulu", seed: 0, text });
 */
export const tasks: Readonly<Record<TaskName, Task>> = { mmlu, bbh, gsm8k, tydiqa, humaneval };
