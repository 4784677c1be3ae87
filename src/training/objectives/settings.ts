// Settings of objectives. None has a default here: each objective has its own, so that a setting that is given to an
// objective without it is noticed.
import { choice, integer, number, type SettingValues } from "#core";

/** Settings of all objectives; `objective` chooses which of them there are. */
export const objectiveSettings = {
  beta: number({
    min: 0,
    defaultText: "0.1; simpo 2, grpo 0",
    help: "how strongly answers are held to the reference; without one, how sharply they are told apart",
  }),
  sftWeight: number({
    min: 0,
    defaultText: "dpo 1, simpo 0",
    help: "weight of the loss of plain training on the chosen answers; with 0 they may become unlikely",
  }),
  gamma: number({
    min: 0,
    defaultText: "0.5",
    help: "by how much the mean log-probability of the chosen answer, times beta, is to exceed the other's",
  }),
  desirableWeight: number({ above: 0, defaultText: "1", help: "weight of answers that are rated good" }),
  undesirableWeight: number({ above: 0, defaultText: "1", help: "weight of answers that are rated bad" }),
  grpoLoss: choice(["dapo", "grpo", "dr_grpo", "bnpo"], {
    defaultText: "dapo",
    help: "what the loss is a mean of: the tokens of an update, answers, answers by their sums, the tokens of a batch",
  }),
  importanceLevel: choice(["token", "sequence"], {
    defaultText: "token",
    help: "whether each token has a ratio of probabilities, or each answer the mean of its tokens'",
  }),
  epsilon: number({
    above: 0,
    below: 1,
    defaultText: "0.2",
    help: "by how much a ratio of probabilities may fall below 1 before its gradient ends",
  }),
  epsilonHigh: number({
    above: 0,
    defaultText: "0.2",
    help: "by how much a ratio of probabilities may rise above 1 before its gradient ends",
  }),
  maxCompletionLength: integer({
    min: 1,
    defaultText: "256",
    placeholder: "tokens",
    help: "maximum length of a sampled answer, in tokens",
  }),
};
/** Their values; undefined where they are left out. */
export type ObjectiveSettings = SettingValues<typeof objectiveSettings>;
