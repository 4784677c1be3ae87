// Who judges the answers of a run.
import { OBJECTIVES } from "../objectives/index.ts";
import type { ObjectiveKind } from "../objectives/objective.ts";
import type { FinetuneSettings } from "../settings.ts";
import type { JudgeInputs, JudgePlan } from "./judge.ts";
import { planRewards, readGrader } from "./rewards.ts";

/** The judges of a run. */
export interface RunJudges {
  /** Of answers that it learns from, where it learns from such. */
  readonly learnt: JudgePlan | undefined;
  /** Of answers to held-out prompts: the same, unless `evaluateBy` names another. */
  readonly heldOut: JudgePlan | undefined;
}

/** Chooses the judges of a run. Throws `bad_option` and `unsupported` for one that cannot be used. */
export function planJudges(settings: FinetuneSettings, inputs: JudgeInputs): RunJudges {
  const kind: ObjectiveKind = OBJECTIVES[settings.objective];
  const learnt = kind.judge?.(settings, inputs);
  const grader = readGrader(settings, "evaluateBy", inputs);
  return { learnt, heldOut: grader === undefined ? learnt : planRewards(grader, inputs) };
}
