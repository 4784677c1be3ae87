// What the objectives of pairs share. Of pair k, sequence 2k is the chosen answer and 2k + 1 the rejected one.

import type { HostTensor } from "mixture-of-shards-graph";
import type { Batch } from "#data";
import { column, labelMatrix } from "./answers.ts";
import type { FeedContext, Metrics } from "./objective.ts";

export const isChosen = (sequence: number): boolean => sequence % 2 === 0;

export const pairsOf = ({ sequences }: Batch): number => sequences / 2;

/** The matrix [pairs, labels] with a number for each label of a pair's answers. */
export const pairMatrix = (batch: Batch, value: (sequence: number, label: number) => number): HostTensor =>
  labelMatrix(batch, pairsOf(batch), (sequence, label) => ({
    row: Math.floor(sequence / 2),
    value: value(sequence, label),
  }));

/**
 * Weights of the labels in a sum that is divided by the pairs of an update, and then is `share` times the mean over the
 * tokens of the update's chosen answers.
 */
export function chosenWeights(batch: Batch, { update }: FeedContext, share: number): HostTensor {
  const weight = (share * update.examples) / Math.max(1, update.firstTokens);
  return column(Float32Array.from(batch.labelSequences, (sequence) => (isChosen(sequence) ? weight : 0)));
}

/** The mean over the tokens of chosen answers of −log π. */
export function chosenLoss({ labelSequences }: Batch, logprobs: Float32Array): Metrics {
  let [sum, count] = [0, 0];
  for (const [label, sequence] of labelSequences.entries())
    if (isChosen(sequence)) {
      sum -= logprobs[label] ?? 0;
      count += 1;
    }
  return { nll_loss: { sum, count } };
}

/** The metrics that all objectives of pairs have, from the reward and the log-probability of each sequence. */
export function pairMetrics(rewards: ArrayLike<number>, logprobs: ArrayLike<number>): Metrics {
  const sums = { chosen: 0, rejected: 0, margins: 0, accuracies: 0 };
  const logps = { chosen: 0, rejected: 0 };
  const count = rewards.length / 2;
  for (let k = 0; k < rewards.length; k += 2) {
    const [chosen, rejected] = [rewards[k] ?? 0, rewards[k + 1] ?? 0];
    sums.chosen += chosen;
    sums.rejected += rejected;
    sums.margins += chosen - rejected;
    sums.accuracies += Number(chosen > rejected);
    logps.chosen += logprobs[k] ?? 0;
    logps.rejected += logprobs[k + 1] ?? 0;
  }
  return Object.fromEntries(
    Object.entries({ rewards: sums, logps }).flatMap(([group, named]) =>
      Object.entries(named).map(([name, sum]) => [`${group}/${name}`, { sum, count }]),
    ),
  );
}
