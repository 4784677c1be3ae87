// What a run that learns from rewards reports, as the events of OpenAI's jobs by reinforcement do.
import type { FinetuneEvent } from "mixture-of-shards";
import { omitUndefined } from "mixture-of-shards/cli";

type Step = Extract<FinetuneEvent, { readonly type: "step" }>;
type Evaluation = Extract<FinetuneEvent, { readonly type: "evaluation" }>;
type Numbers = Readonly<Record<string, number>>;

/** Rewards among the metrics of a step or an evaluation, under OpenAI's names; nothing for other runs. */
export const rewardNumbers = ({ type, metrics = {} }: Step | Evaluation): Numbers =>
  omitUndefined(
    type === "step"
      ? {
          train_mean_reward: metrics["reward"],
          completion_tokens_mean: metrics["completions/mean_length"],
          mean_unresponsive_rewards: metrics["frac_ungraded"],
        }
      : {
          full_valid_mean_reward: metrics["eval_reward"],
          full_valid_mean_parse_error: metrics["eval_frac_unreadable"],
        },
  );

/** A grader as a job's plan has it. */
interface NamedGrader {
  readonly type: string;
  readonly name?: string;
  readonly graders?: Readonly<Record<string, { readonly type: string }>>;
}

/** The rewards by a grader, and by each part of one that has several. */
function scores({ type, name = type, graders = {} }: NamedGrader, metrics: Numbers) {
  const parts = Object.entries(graders).map(([part, inner]) => ({ name: part, type: inner.type }));
  return [{ name, type }, ...parts].map((grader) => ({
    ...grader,
    train_reward_mean: metrics[`rewards/${grader.name}/mean`] ?? null,
    valid_reward_mean: metrics[`eval_rewards/${grader.name}/mean`] ?? null,
  }));
}

/** What went wrong in grading, as shares of the answers. */
const errors = ({ type, name = type }: NamedGrader, metrics: Numbers) => [
  {
    name,
    type,
    ...Object.fromEntries(
      Object.entries(metrics).flatMap(([metric, share]) => {
        const [, held, error] = /^(eval_)?errors\/(.*)$/.exec(metric) ?? [];
        return error === undefined
          ? []
          : [[`${held === undefined ? "train" : "valid"}_${error}_mean`, share]];
      }),
    ),
  },
];

/** What is known of a run when it reports. */
export interface RunSoFar {
  readonly steps: number | undefined;
  /** The step before an evaluation; undefined where this process has made none. */
  readonly trained?: Step | undefined;
  /** The grader of the run's settings. */
  readonly grader?: unknown;
  /** That of its evaluations, where it is another. */
  readonly evaluateBy?: unknown;
}

/** Message and data of a step or an evaluation of a run that learns from rewards; undefined for other runs. */
export function rewardNote(
  event: Step | Evaluation,
  { steps, trained, grader: own, evaluateBy = own }: RunSoFar,
): { readonly message: string; readonly data: Readonly<Record<string, unknown>> } | undefined {
  const step = event.type === "step" ? event : trained?.step === event.step ? trained : undefined;
  const evaluation = event.type === "evaluation" ? event : undefined;
  const numbers = { ...(step && rewardNumbers(step)), ...(evaluation && rewardNumbers(evaluation)) };
  const { train_mean_reward, full_valid_mean_reward, full_valid_mean_parse_error } = numbers;
  const rewards = {
    "train mean reward": train_mean_reward,
    "full validation mean reward": full_valid_mean_reward,
    "full validation mean parse error": full_valid_mean_parse_error,
  };
  const said = Object.entries(omitUndefined(rewards)).map(([name, value]) => `${name}=${value.toFixed(2)}`);
  if (said.length === 0) return undefined;
  const grader = evaluation === undefined ? own : evaluateBy;
  const metrics = { ...step?.metrics, ...evaluation?.metrics };
  const [training, evaluating] = [step?.seconds ?? 0, evaluation?.seconds ?? 0];
  return {
    // as OpenAI writes it, with a space before the comma
    message: [`Step ${event.step}/${steps ?? "?"} `, ...said].join(", "),
    data: {
      ...numbers,
      ...(grader === undefined
        ? {}
        : {
            scores: { graders: scores(grader as NamedGrader, metrics) },
            errors: { graders: errors(grader as NamedGrader, metrics) },
          }),
      timing: { step: { eval: evaluating, full_iteration: training + evaluating } },
    },
  };
}
