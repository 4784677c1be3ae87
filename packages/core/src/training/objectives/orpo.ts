import {
  add,
  clip,
  log1mexp,
  logSigmoid,
  mul,
  neg,
  scalar,
  sub,
  sum,
  type Value,
} from "mixture-of-shards-graph";
import { type Batch, type EncodedExample, IGNORED } from "#data";
import { combined, labelColumn, meanBySequence, sumBySequence } from "./answers.ts";
import { objectiveKind } from "./objective.ts";
import { chosenLoss, chosenWeights, isChosen, pairMatrix, pairMetrics, pairsOf } from "./pairs.ts";

/** Mean log-probabilities are at most this: the odds of an answer that is certain are infinite. */
const CERTAIN = -1e-6;

/** The example with all tokens of prompt and chosen answer as targets; the column `prompt` marks those of the prompt. */
function learnPrompt(example: EncodedExample): EncodedExample {
  const [own = example.ids.length] = example.sequences ?? [];
  const chosen = (example.shared ?? 0) + own;
  const labels = example.labels.slice();
  const prompt: number[] = [];
  for (const [i, label] of example.labels.entries()) {
    if (i === 0 || i === chosen) continue;
    if (i < chosen && label === IGNORED) labels[i] = example.ids[i] ?? IGNORED;
    if ((labels[i] ?? IGNORED) !== IGNORED) prompt.push(Number(label === IGNORED));
  }
  return {
    ...example,
    labels,
    targetTokens: prompt.length,
    columns: { prompt: Float32Array.from(prompt) },
  };
}

/** 0 for each label of a prompt, 1 for one of an answer. */
const answerMarks = ({ columns, labelIds }: Batch): Float32Array =>
  columns.prompt?.map((mark) => 1 - mark) ?? new Float32Array(labelIds.length).fill(1);

/**
 * ORPO: the cross-entropy of prompt and chosen answer − β log σ(log odds of the chosen answer − those of the rejected one),
 * where the odds p/(1 − p) are of p = exp(the mean log-probability of an answer's tokens).
 */
export const orpo = objectiveKind({
  help: "learn from pairs without a reference: the chosen answers, and their odds against the rejected ones",
  data: "pairs",
  defaults: { beta: 0.1 },
  learningRate: 1,
  usesDropout: false,
  prepare: learnPrompt,
  create: ({ beta }) => ({
    usesReference: false,
    shown: ["rewards/margins", "rewards/accuracies"],
    loss(logprobs: Value): Value {
      const logOdds = (name: string): Value => {
        const mean = clip(combined(name, "pairs", logprobs), Number.NEGATIVE_INFINITY, CERTAIN);
        return sub(mean, log1mexp(mean));
      };
      const odds = sum(logSigmoid(sub(logOdds("chosen"), logOdds("rejected"))));
      return neg(add(mul(odds, scalar(beta)), sum(mul(logprobs, labelColumn("weights")))));
    },
    feeds(batch, context) {
      const marks = answerMarks(batch);
      const lengths = sumBySequence(batch, marks);
      const means = (ofChosen: boolean) =>
        pairMatrix(batch, (k, label) =>
          isChosen(k) === ofChosen ? (marks[label] ?? 0) / (lengths[k] ?? 1) : 0,
        );
      return { chosen: means(true), rejected: means(false), weights: chosenWeights(batch, context, 1) };
    },
    count: pairsOf,
    metrics(batch, logprobs) {
      const means = meanBySequence(batch, logprobs, answerMarks(batch));
      const odds = means.map((mean) => mean - Math.log(-Math.expm1(Math.min(mean, CERTAIN))));
      let [ratio, difference] = [0, 0];
      for (let k = 0; k < odds.length; k += 2) {
        const gap = (odds[k] ?? 0) - (odds[k + 1] ?? 0);
        difference += gap;
        ratio -= Math.log1p(Math.exp(-Math.abs(gap))) + Math.max(0, -gap);
      }
      const count = pairsOf(batch);
      return {
        ...pairMetrics(
          means.map((mean) => beta * mean),
          means,
        ),
        ...chosenLoss(batch, logprobs),
        log_odds_ratio: { sum: ratio, count },
        log_odds_chosen: { sum: difference, count },
      };
    },
  }),
});
