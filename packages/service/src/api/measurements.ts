// Steps and evaluations of a job as events and checkpoints show them: under OpenAI's names where it has some, and under TRL's
// otherwise.

import { omitUndefined } from "mixture-of-shards-core/common";
import type { Measurement } from "mixture-of-shards-core/training";
import type { CheckpointRow, JobMeasurement, JobRow } from "#store";

type Numbers = Readonly<Record<string, number>>;

/** Rewards among the metrics of a step or an evaluation; nothing for other runs. */
const rewards = ({ type, metrics = {} }: Measurement): Numbers =>
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

function measured(measurement: Measurement): Numbers {
  const { type, step, loss, accuracy, metrics } = measurement;
  return {
    step,
    ...(type === "step"
      ? { train_loss: loss, train_mean_token_accuracy: accuracy }
      : { full_valid_loss: loss, full_valid_mean_token_accuracy: accuracy }),
    ...rewards(measurement),
    ...metrics,
  };
}

/** The rest of a step's measurements, which OpenAI has no names for. */
function pace(measurement: Measurement): Numbers {
  if (measurement.type === "evaluation") return {};
  const { learningRate, gradientNorm, tokens, seconds } = measurement;
  return {
    learning_rate: learningRate,
    gradient_norm: gradientNorm,
    ...(seconds > 0 ? { tokens_per_second: tokens / seconds } : {}),
  };
}

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

type Plan = Pick<JobRow, "plan" | "steps">;

/** Message and data of an event. */
interface Shown {
  readonly message: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Message and data of a measurement of a run that learns from rewards; undefined for other runs. */
function showRewards({ trained, ...measurement }: JobMeasurement, { plan, steps }: Plan): Shown | undefined {
  const step = measurement.type === "step" ? measurement : trained;
  const evaluation = measurement.type === "evaluation" ? measurement : undefined;
  const numbers = { ...(step && rewards(step)), ...(evaluation && rewards(evaluation)) };
  const { train_mean_reward, full_valid_mean_reward, full_valid_mean_parse_error } = numbers;
  const named = {
    "train mean reward": train_mean_reward,
    "full validation mean reward": full_valid_mean_reward,
    "full validation mean parse error": full_valid_mean_parse_error,
  };
  const said = Object.entries(omitUndefined(named)).map(([name, value]) => `${name}=${value.toFixed(2)}`);
  if (said.length === 0) return undefined;
  const { grader: own, evaluateBy = own } = plan.settings;
  const grader = (evaluation === undefined ? own : evaluateBy) as NamedGrader | undefined;
  const metrics = { ...step?.metrics, ...evaluation?.metrics };
  const [training, evaluating] = [step?.seconds ?? 0, evaluation?.seconds ?? 0];
  return {
    // as OpenAI writes it, with a space before the comma
    message: [`Step ${measurement.step}/${steps ?? "?"} `, ...said].join(", "),
    data: {
      ...numbers,
      ...(grader && {
        scores: { graders: scores(grader, metrics) },
        errors: { graders: errors(grader, metrics) },
      }),
      timing: { step: { eval: evaluating, full_iteration: training + evaluating } },
    },
  };
}

/** A measurement as an event of its job. */
export function showMeasurement(measurement: JobMeasurement, job: Plan): Shown {
  const { type, step, loss } = measurement;
  const kind = type === "step" ? "training" : "validation";
  // JSON has null for what is no number
  const shown = loss === null ? "nan" : loss.toFixed(4);
  const ofRewards = showRewards(measurement, job);
  return {
    message: `Step ${step}/${job.steps ?? "?"}: ${kind} loss=${shown}`,
    ...ofRewards,
    data: {
      total_steps: job.steps,
      ...measured(measurement),
      ...pace(measurement),
      ...ofRewards?.data,
    },
  };
}

/** The metrics of a checkpoint: the last measurements up to its step. */
export const showMetrics = ({ step, metrics }: Pick<CheckpointRow, "step" | "metrics">): Numbers => ({
  ...(metrics.step && measured(metrics.step)),
  ...(metrics.evaluation && measured(metrics.evaluation)),
  step,
});
