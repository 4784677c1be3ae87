import { add, logSigmoid, mul, neg, scalar, sub, sum, type Value } from "mixture-of-shards-graph";
import { combined, labelColumn, meanBySequence, sumBySequence } from "./answers.ts";
import { objectiveKind } from "./objective.ts";
import { chosenLoss, chosenWeights, isChosen, pairMatrix, pairMetrics, pairsOf } from "./pairs.ts";

/**
 * SimPO: −log σ(β(c̄ − r̄) − γ) with the mean log-probabilities c̄ and r̄ of the tokens of the chosen and the rejected answer,
 * and `sftWeight` times the cross-entropy of chosen answers.
 */
export const simpo = objectiveKind({
  help: "learn from pairs without a reference: mean log-probabilities that differ by a margin",
  data: "pairs",
  defaults: { beta: 2, gamma: 0.5, sftWeight: 0 },
  learningRate: 1,
  usesDropout: false,
  create: ({ beta, gamma, sftWeight }) => ({
    usesReference: false,
    shown: ["rewards/margins", "rewards/accuracies"],
    loss(logprobs: Value): Value {
      const margin = combined("differences", "pairs", logprobs);
      const preference = sum(logSigmoid(sub(mul(margin, scalar(beta)), scalar(gamma))));
      return neg(add(preference, sum(mul(logprobs, labelColumn("weights")))));
    },
    feeds(batch, context) {
      const lengths = sumBySequence(batch);
      return {
        differences: pairMatrix(batch, (k) => (isChosen(k) ? 1 : -1) / (lengths[k] ?? 1)),
        weights: chosenWeights(batch, context, sftWeight),
      };
    },
    count: pairsOf,
    metrics(batch, logprobs) {
      const means = meanBySequence(batch, logprobs);
      return {
        ...pairMetrics(
          means.map((mean) => beta * mean),
          means,
        ),
        ...(sftWeight > 0 ? chosenLoss(batch, logprobs) : {}),
      };
    },
  }),
});
