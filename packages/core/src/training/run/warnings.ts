// Signs in the events of a run that training has gone wrong.
import { RUN_FILES } from "#adapters";
import type { BestEvaluation } from "../checkpoint.ts";
import { type Objective, plainTraining } from "../objectives/objective.ts";
import type { TrainEvent } from "../trainer.ts";
import { type Evaluated, isBetter, measureOf, rewardOf } from "../validation.ts";
import type { FinetuneEvent, WarningReason } from "./interface.ts";

/** Loss that a run must have been below that of guessing, before reaching it is a sign of anything. */
const CLEARLY = 0.05;

/** Answers to a few prompts often earn the same as before. */
const isSuccess = (now: Evaluated, base: Evaluated): boolean =>
  isBetter(now, base) || (now.reward !== undefined && now.reward === base.reward);

/** Looks at each event of a run for signs that training has gone wrong, and says so once for each. */
export function watchForCollapse({
  keepsBest,
  vocabularySize,
  objective = plainTraining,
  ...run
}: {
  /** The last update, as far as it is known. */
  readonly lastStep: number;
  /** True if the run gives its best adapter, not its last. */
  readonly keepsBest: boolean;
  readonly vocabularySize: number;
  /** The evaluation before training. */
  readonly base: Evaluated | undefined;
  readonly best: BestEvaluation | undefined;
  /** Plain training by default. */
  readonly objective?: Pick<Objective, "warn" | "guessingLoss">;
}): (event: TrainEvent) => readonly FinetuneEvent[] {
  let { base, best, lastStep } = run;
  let firstLoss = base?.loss;
  const said = new Set<WarningReason>();
  const guessing = objective.guessingLoss?.(vocabularySize) ?? Number.POSITIVE_INFINITY;
  const advice = "use a lower --learning-rate";
  const checkStep = (event: TrainEvent): readonly (readonly [WarningReason, string])[] => {
    // an update may hold nothing but what is to stay as it was: at first it has no gradient, and its loss is none of the data
    if (event.type !== "step" || event.targetTokens === 0) return [];
    const { step, loss, gradientNorm, metrics } = event;
    // other objectives than plain training may have nothing to learn from an update
    const isStalled = gradientNorm === 0 && Object.keys(metrics ?? {}).every((name) => name === "kept");
    firstLoss ??= loss;
    const wasBetter = firstLoss < guessing - CLEARLY;
    return [
      ...(isStalled
        ? [["no_gradient", `step ${step}: the gradient is exactly 0, so training has stalled`] as const]
        : []),
      ...(wasBetter && loss > guessing - 1e-3
        ? [
            [
              "guessing",
              `step ${step}: the loss ${loss.toFixed(3)} is no better than guessing (${guessing.toFixed(3)} for ${vocabularySize} tokens), and began at ${firstLoss.toFixed(3)}`,
            ] as const,
          ]
        : []),
    ];
  };
  const checkEvaluation = (event: TrainEvent): readonly (readonly [WarningReason, string])[] => {
    if (event.type !== "evaluation") return [];
    const { step, loss } = event;
    const now: Evaluated = { loss, reward: rewardOf(event) };
    if (step === 0) [base, firstLoss] = [now, loss];
    if (event.best) best = { step, ...now };
    if (step !== lastStep || base === undefined || isSuccess(now, base)) return [];
    if (keepsBest && best !== undefined) return [];
    const storage =
      best === undefined
        ? "no evaluation was better than the base, so there is no best adapter"
        : `${RUN_FILES.best}/ holds the best one, of step ${best.step} with ${measureOf(best)[1]}`;
    const said = `the validation ${measureOf(now).join(" is ")} after training and ${measureOf(base)[1]} before: this adapter is no better than the base alone; ${storage}`;
    return [["worse_than_base", said]];
  };
  // held-out examples tell more than a batch, but not every run has them
  let isEvaluated = false;
  const checkMetrics = (event: TrainEvent): readonly (readonly [WarningReason, string])[] => {
    isEvaluated ||= event.type === "evaluation";
    if (event.type !== "evaluation" && (event.type !== "step" || isEvaluated)) return [];
    const plain = Object.entries(event.metrics ?? {}).map(([name, x]) => [name.replace(/^eval_/, ""), x]);
    const found = objective.warn?.(Object.fromEntries(plain));
    return found === undefined ? [] : [["objective", `step ${event.step}: ${found}`]];
  };
  return (event) => {
    if (event.type === "step") lastStep = event.ending?.step ?? lastStep;
    return [...checkStep(event), ...checkEvaluation(event), ...checkMetrics(event)].flatMap(
      ([reason, message]) => {
        if (said.has(reason) || event.type === "checkpoint") return [];
        said.add(reason);
        return [{ type: "warning", reason, step: event.step, message: `${message}; ${advice}` }] as const;
      },
    );
  };
}
