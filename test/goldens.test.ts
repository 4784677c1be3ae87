// The comparison with golden numbers: which of our losses the arguments of TRL's trainers mean.

import { type EncodedExample, makeBatch } from "mixture-of-shards-core/data";
import {
  type FinetuneSettings,
  OBJECTIVES,
  type Objective,
  type ObjectiveName,
} from "mixture-of-shards-core/training";
import { compile, leaf } from "mixture-of-shards-graph";
import { expect, test } from "vitest";
import { toObjective } from "../scripts/goldens/cases.ts";

/** Two answers of two tokens each to a prompt of one: a pair, or apart. */
function examples(isPair: boolean): readonly EncodedExample[] {
  const answer = (targets: number, desirable: number): EncodedExample => ({
    ...{ line: 1, ids: Int32Array.of(1, 2, 3), labels: Int32Array.of(-100, 2, 3), targetTokens: targets },
    ...{ truncated: false, truncatedTargets: 0 },
    columns: {
      reference: Float32Array.of(-1, -2),
      old: Float32Array.of(-1.5, -1),
      advantage: Float32Array.of(1, 1).map((x) => x * (desirable - 0.5)),
      desirable: Float32Array.of(desirable, desirable),
    },
  });
  if (!isPair) return [answer(2, 1), answer(2, 0)];
  const [one, other] = [answer(2, 1), answer(2, 0)];
  const ids = Int32Array.of(...one.ids, ...other.ids);
  const labels = Int32Array.of(...one.labels, ...other.labels);
  const reference = Float32Array.of(-1, -2, -1, -2);
  return [{ ...one, ids, labels, targetTokens: 4, sequences: [3, 3], columns: { reference } }];
}

async function lossOf(objective: Objective, isPair: boolean): Promise<number> {
  const batch = makeBatch(
    [examples(isPair)].flat().map((one) => [one]),
    { length: 6, padToken: 0 },
  );
  const data = Float32Array.of(-0.5, -1.75, -2, -2.5);
  await using program = await compile({ loss: objective.loss(leaf("x", ["labels", 1])) });
  const logprobs = async () => new Float32Array(4);
  const update = { tokens: 4, firstTokens: 2, examples: batch.examples, sequences: 2 };
  const fed = await objective.feeds(batch, { update, longest: 6, logprobs, hidden: logprobs });
  const { loss } = await program.run({ x: { shape: [4, 1], data }, ...fed });
  return loss?.data[0] ?? Number.NaN;
}

const ours = (name: ObjectiveName, settings: object): Objective =>
  OBJECTIVES[name].create(settings as FinetuneSettings);
const trl = (trainer: string, given: object) => toObjective({ name: "case", trainer, ...given }, 8).objective;

const both = ["sigmoid", "sft"];
test.each<[trainer: string, given: object, name: ObjectiveName, settings: object, factor: number]>([
  ["dpo", {}, "dpo", { sftWeight: 0 }, 1],
  ["dpo", { loss_type: both }, "dpo", { sftWeight: 1 }, 1],
  ["dpo", { loss_type: both, loss_weights: [1, 0.5] }, "dpo", { sftWeight: 0.5 }, 1],
  ["dpo", { loss_type: both, loss_weights: [2, 0.5] }, "dpo", { sftWeight: 0.25 }, 2],
  ["dpo", { loss_type: "hinge", loss_weights: [3] }, "dpo", { dpoLoss: "hinge", sftWeight: 0 }, 3],
  ["dpo", { loss_type: ["robust"] }, "dpo", { dpoLoss: "robust", labelSmoothing: 0, sftWeight: 0 }, 1],
  ["cpo", { loss_type: "simpo" }, "simpo", { beta: 0.1, sftWeight: 1 }, 1],
  ["cpo", { loss_type: "simpo", beta: 2, cpo_alpha: 0, simpo_gamma: 1 }, "simpo", { gamma: 1 }, 1],
  [
    "kto",
    { desirable_weight: 2, undesirable_weight: 3 },
    "kto",
    { desirableWeight: 2, undesirableWeight: 3 },
    1,
  ],
  ["grpo", { epsilon: 0.1 }, "grpo", { epsilon: 0.1, epsilonHigh: 0.1, maxCompletionLength: 8 }, 1],
  ["grpo", { epsilon_high: 0.9 }, "grpo", { epsilonHigh: 0.9, maxCompletionLength: 8 }, 1],
  [
    "grpo",
    { loss_type: "dr_grpo", scale_rewards: "none" },
    "grpo",
    { grpoLoss: "dr_grpo", maxCompletionLength: 8 },
    1,
  ],
])("%s with %o is %s with %o", async (trainer, given, name, settings, factor) => {
  const isPair = OBJECTIVES[name].data === "pairs";
  const expected = factor * (await lossOf(ours(name, settings), isPair));
  expect(await lossOf(trl(trainer, given), isPair)).toBeCloseTo(expected, 5);
});

test.each<[trainer: string, given: object, message: RegExp]>([
  ["dpo", { f_divergence_type: "js" }, /the argument f_divergence_type of the trainer dpo is not known/],
  ["dpo", { epsilon: 0.1 }, /the argument epsilon of the trainer dpo/],
  ["dpo", { loss_type: ["sigmoid", "hinge"] }, /loss_type \["sigmoid","hinge"\]/],
  ["dpo", { loss_type: both, loss_weights: [1] }, /with loss_weights \[1\] is not known/],
  ["dpo", { loss_type: "nca_pair" }, /nca_pair/],
  ["cpo", { loss_type: "hinge" }, /loss_type "hinge" is not known/],
  ["cpo", {}, /loss_type "sigmoid" is not known/],
  ["kto", { loss_type: "apo_zero_unpaired" }, /apo_zero_unpaired/],
  ["grpo", { num_iterations: 2 }, /num_iterations/],
  ["grpo", { loss_type: "cispo" }, /cispo/],
  ["sdft", { distillation_mode: "sampled_token", teacher_model_kind: "base" }, /sampled_token/],
  ["sdft", { distillation_mode: "full_logits", teacher_model_kind: "ema" }, /ema is not known/],
  ["bco", {}, /the trainer bco has no objective here/],
])("%s with %o is refused", (trainer, given, message) => {
  expect(() => trl(trainer, given)).toThrow(message);
});
