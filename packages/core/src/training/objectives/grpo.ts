import {
  add,
  clip,
  exp,
  type HostTensor,
  leaf,
  matmul,
  minimum,
  mul,
  neg,
  scalar,
  sub,
  sum,
  type Value,
} from "mixture-of-shards-graph";
import type { Batch } from "#data";
import { chooseGrader, planRewards } from "../rollouts/rewards.ts";
import { column, fedColumn, labelColumn, labelMatrix, meanBySequence, sumBySequence } from "./answers.ts";
import { type Metrics, type Objective, objectiveKind } from "./objective.ts";
import { type ObjectiveSettings, SAMPLING_DEFAULTS } from "./settings.ts";

type Settings = { readonly [K in keyof ObjectiveSettings]: NonNullable<ObjectiveSettings[K]> };
type RatioOptions = Pick<Settings, "beta" | "importanceLevel" | "epsilon" | "epsilonHigh">;

/** Tokens of an answer, of its micro-batch, and of the longest answer that may be sampled. */
interface Lengths {
  readonly answer: number;
  readonly batch: number;
  readonly longest: number;
}

/** The weight of each token in the summed loss, and what the sum is divided by. */
interface Aggregation {
  weight(lengths: Lengths): number;
  count(batch: Batch): number;
}

const AGGREGATIONS: Readonly<Record<Settings["grpoLoss"], Aggregation>> = {
  // the mean over all tokens of an update
  dapo: { weight: () => 1, count: ({ labelIds }) => labelIds.length },
  // the mean of the answers' means
  grpo: { weight: ({ answer }) => 1 / answer, count: ({ sequences }) => sequences },
  // a sum over each answer, so that its length does not change the weight of its tokens
  dr_grpo: { weight: ({ longest }) => 1 / longest, count: ({ sequences }) => sequences },
  // the mean over the tokens of a micro-batch
  bnpo: { weight: ({ batch }) => 1 / batch, count: () => 1 },
};

/** log ρ of each token: log π − log π of the sampler. With a level of "sequence" it is the mean over its answer. */
function logRatio(logprobs: Value, level: RatioOptions["importanceLevel"]): Value {
  const own = sub(logprobs, labelColumn("old"));
  if (level === "token") return own;
  const answers = leaf("answers", ["sequences", "labels"]);
  const means = mul(matmul(answers, own), leaf("inverse_lengths", ["sequences", 1]));
  return matmul(answers, means, { transposeA: true });
}

/** Shares of what is clipped, and the divergence from the reference. */
function ratioMetrics(
  batch: Batch,
  logprobs: Float32Array,
  {
    beta,
    importanceLevel,
    epsilon,
    epsilonHigh,
    reference,
  }: RatioOptions & { readonly reference: HostTensor | undefined },
): Metrics {
  const { old = [], advantage = [] } = batch.columns;
  const isToken = importanceLevel === "token";
  const own = Float64Array.from(logprobs, (logprob, label) => logprob - (old[label] as number));
  const means = meanBySequence(batch, own);
  const ratios = own.map((x, label) =>
    Math.exp(isToken ? x : (means[batch.labelSequences[label] as number] as number)),
  );
  // each token counts, or each answer by its first token: all of them have its ratio and its advantage
  const counted = [...ratios.keys()].filter(
    (label) => isToken || batch.labelSequences[label] !== batch.labelSequences[label - 1],
  );
  const share = (isClipped: (ratio: number, advantage: number) => boolean) => ({
    sum: counted.filter((label) => isClipped(ratios[label] as number, advantage[label] as number)).length,
    count: counted.length,
  });
  const isLow = (ratio: number, gain: number) => gain < 0 && ratio < 1 - epsilon;
  const isHigh = (ratio: number, gain: number) => gain > 0 && ratio > 1 + epsilonHigh;
  const divergence = ratios.map((ratio, label) => {
    const d = (reference?.data[label] as number) - (logprobs[label] as number);
    return (Math.expm1(d) - d) * ratio;
  });
  return {
    "clip_ratio/low_mean": share(isLow),
    "clip_ratio/high_mean": share(isHigh),
    "clip_ratio/region_mean": share((ratio, gain) => isLow(ratio, gain) || isHigh(ratio, gain)),
    ...(beta > 0 ? { kl: { sum: divergence.reduce((a, x) => a + x, 0), count: ratios.length } } : {}),
  };
}

type Options = RatioOptions & Pick<Settings, "grpoLoss" | "maxCompletionLength"> & Pick<Objective, "shown">;

/**
 * −min(ρA, clip(ρ)A) for each token, with the ratio ρ of its probabilities by the policy and by the sampler and its advantage
 * A, and β ρ (eᵈ − d − 1), where d is the log ratio of reference and policy.
 */
export function policyGradient(options: Options): Objective {
  const { beta, grpoLoss, importanceLevel, epsilon, epsilonHigh, maxCompletionLength, shown } = options;
  return {
    usesReference: beta > 0,
    shown,
    loss(logprobs: Value): Value {
      const ratio = exp(logRatio(logprobs, importanceLevel));
      const advantage = labelColumn("advantage");
      const clipped = mul(clip(ratio, 1 - epsilon, 1 + epsilonHigh), advantage);
      const gain = minimum(mul(ratio, advantage), clipped);
      const weights = labelColumn("weights");
      const loss = neg(sum(mul(gain, weights)));
      if (beta === 0) return loss;
      const d = sub(labelColumn("reference"), logprobs);
      const divergence = mul(sub(exp(d), add(d, scalar(1))), ratio);
      return add(loss, mul(sum(mul(divergence, weights)), scalar(beta)));
    },
    async feeds(batch, { logprobs }) {
      const reference = async (): Promise<HostTensor> =>
        column(batch.columns.reference ?? (await logprobs(batch, "reference")));
      const lengths = sumBySequence(batch);
      const weight = (answer: number) =>
        AGGREGATIONS[grpoLoss].weight({
          answer,
          batch: batch.labelIds.length,
          longest: maxCompletionLength,
        });
      const perToken = Float32Array.from(batch.labelSequences, (k) => weight(lengths[k] ?? 1));
      return {
        advantage: fedColumn(batch, "advantage"),
        old: fedColumn(batch, "old"),
        weights: column(perToken),
        ...(beta > 0 ? { reference: await reference() } : {}),
        ...(importanceLevel === "sequence"
          ? {
              answers: labelMatrix(batch, batch.sequences, (row) => ({ row, value: 1 })),
              inverse_lengths: column(Float32Array.from(lengths, (n) => 1 / n)),
            }
          : {}),
      };
    },
    count: AGGREGATIONS[grpoLoss].count,
    metrics: (batch, logprobs, fed) =>
      ratioMetrics(batch, logprobs, { ...options, reference: fed["reference"] }),
  };
}

/** Learning from the rewards of sampled answers, by the advantage of each over the others of its group. */
export const grpo = objectiveKind({
  help: "learn from sampled answers that a grader rates",
  data: "prompts",
  defaults: {
    ...SAMPLING_DEFAULTS,
    beta: 0,
    grpoLoss: "dapo",
    importanceLevel: "token",
    epsilon: 0.2,
    epsilonHigh: 0.2,
    scaleRewards: "group",
    grader: undefined,
    responseFormat: undefined,
  },
  learningRate: 1,
  usesDropout: true,
  grader: (settings, inputs) =>
    planRewards(chooseGrader(settings, inputs), { ...inputs, scale: settings.scaleRewards }),
  create: (settings) => policyGradient({ ...settings, shown: ["reward"] }),
});
