// Direct preference optimisation: a pair's chosen answer becomes likelier against the rejected one than by the reference.
// In formulas, c and r are what the log-probabilities of the chosen and the rejected answer have gained on the reference.

import {
  add,
  logSigmoid,
  mul,
  neg,
  relu,
  scalar,
  sigmoid,
  sub,
  sum,
  type Value,
} from "mixture-of-shards-graph";
import type { Batch } from "#data";
import { combined, fedColumn, labelColumn, sumBySequence } from "./answers.ts";
import { type FeedContext, type Feeds, objectiveKind } from "./objective.ts";
import { chosenLoss, chosenWeights, isChosen, pairMatrix, pairMetrics, pairsOf } from "./pairs.ts";
import type { ObjectiveSettings } from "./settings.ts";

type DpoOptions = {
  readonly [K in "beta" | "dpoLoss" | "labelSmoothing" | "sftWeight"]: NonNullable<ObjectiveSettings[K]>;
};

const scaled = (x: Value, factor: number): Value => mul(x, scalar(factor));

/** The loss of each pair [pairs, 1]. */
function pairLoss(c: Value, r: Value, { dpoLoss, beta, labelSmoothing: epsilon }: DpoOptions): Value {
  const margin = sub(c, r);
  const wrong = neg(logSigmoid(scaled(margin, beta)));
  switch (dpoLoss) {
    case "sigmoid":
    case "sigmoid_norm":
      return wrong;
    case "robust": {
      const right = neg(logSigmoid(scaled(margin, -beta)));
      return scaled(sub(scaled(wrong, 1 - epsilon), scaled(right, epsilon)), 1 / (1 - 2 * epsilon));
    }
    case "ipo": {
      const gap = sub(margin, scalar(1 / (2 * beta)));
      return mul(gap, gap);
    }
    case "hinge":
      return relu(sub(scalar(1), scaled(margin, beta)));
    case "apo_zero":
      return add(sub(scalar(1), sigmoid(scaled(c, beta))), sigmoid(scaled(r, beta)));
  }
}

/** The summed loss of a batch, with the chosen answers' own cross-entropy. */
function batchLoss(logprobs: Value, options: DpoOptions): Value {
  const gained = sub(logprobs, labelColumn("reference"));
  const answers = (name: string): Value => combined(name, "pairs", gained); // [pairs, 1]
  const loss = sum(pairLoss(answers("chosen"), answers("rejected"), options));
  return options.sftWeight === 0 ? loss : sub(loss, sum(mul(logprobs, labelColumn("weights"))));
}

function feedPairs(batch: Batch, context: FeedContext, { dpoLoss, sftWeight }: DpoOptions): Feeds {
  const isMean = dpoLoss === "ipo" || dpoLoss === "sigmoid_norm";
  const lengths = sumBySequence(batch);
  const share = (k: number): number => (isMean ? 1 / (lengths[k] ?? 1) : 1);
  return {
    reference: fedColumn(batch, "reference"),
    chosen: pairMatrix(batch, (k) => (isChosen(k) ? share(k) : 0)),
    rejected: pairMatrix(batch, (k) => (isChosen(k) ? 0 : share(k))),
    ...(sftWeight === 0 ? {} : { weights: chosenWeights(batch, context, sftWeight) }),
  };
}

/** Nats by which the log-probability of answers must have fallen for that to be no chance. */
const CLEARLY = 1;

export const dpo = objectiveKind({
  help: "learn from pairs: the chosen answer gains on the reference by more than the rejected one",
  data: "pairs",
  defaults: { beta: 0.1, dpoLoss: "sigmoid", labelSmoothing: 0.1, sftWeight: 1 },
  learningRate: 0.5,
  usesDropout: false,
  create(options) {
    const { beta, sftWeight } = options;
    return {
      usesReference: true,
      shown: ["rewards/margins", "rewards/accuracies"],
      loss: (logprobs) => batchLoss(logprobs, options),
      feeds: (batch, context) => feedPairs(batch, context, options),
      count: pairsOf,
      metrics(batch, logprobs) {
        const policy = sumBySequence(batch, logprobs);
        const reference = sumBySequence(batch, fedColumn(batch, "reference").data);
        const rewards = policy.map((logprob, k) => beta * (logprob - (reference[k] ?? 0)));
        return {
          ...pairMetrics(rewards, policy),
          ...(sftWeight > 0 ? chosenLoss(batch, logprobs) : {}),
        };
      },
      warn: ({ "rewards/chosen": chosen = 0, "rewards/margins": margin = 0 }) =>
        chosen < -beta * CLEARLY && margin > 0
          ? `chosen answers are less likely than before training, by ${(-chosen / beta).toFixed(1)} nats, though rejected ones have lost more; raise sftWeight or beta, or make fewer updates`
          : undefined,
    };
  },
});
