// The loss on validation examples, batch by batch.

import type { SessionOptions } from "mixture-of-shards-graph";
import type { Adapter } from "#adapters";
import { MosError } from "#common";
import { batches, type EncodedExample, type Example, encodeExamples } from "#data";
import type { BaseModel } from "#models";
import { nextTurn } from "#platform";
import type { TrainingState, UnfinishedEvaluation } from "./checkpoint.ts";
import { addLosses, type GradientSource, gradientSource, NO_LOSS } from "./gradients.ts";
import { type BatchSettings, lengthMultiple, rowsAtOnce } from "./micro-batches.ts";
import { totalsOf } from "./objectives/objective.ts";
import type { ResolvedSettings } from "./settings.ts";
import { adapterModel, frozenModel } from "./step-graph.ts";

/** The loss over a set of examples. @inline */
export interface ValidationLoss {
  /** Mean over its target tokens in nats, or what the objective of a run has in its place. */
  readonly loss: number;
  /** Share of the target tokens that are the likeliest. */
  readonly accuracy: number;
}

/** What evaluations are compared by: the reward, where there is one, or else its loss. */
export interface Evaluated {
  readonly loss: number;
  /** The mean reward of answers to held-out prompts. */
  readonly reward?: number | undefined;
}

/** The evaluation before training, where it was made. */
export const baseOf = ({
  baseLoss: loss,
  baseReward: reward,
}: Pick<TrainingState, "baseLoss" | "baseReward">): Evaluated | undefined =>
  loss === undefined ? undefined : { loss, reward };

/** The mean reward in the metrics of an evaluation. */
export const rewardOf = ({
  metrics,
}: {
  readonly metrics?: Readonly<Record<string, number>> | undefined;
}): number | undefined => metrics?.["eval_reward"];

/** Tests for a better evaluation than one before; the first is better than none. */
export function isBetter({ loss, reward }: Evaluated, before: Evaluated | undefined): boolean {
  if (before === undefined) return true;
  return reward === undefined || before.reward === undefined ? loss < before.loss : reward > before.reward;
}

/** What decides about an evaluation: "loss 1.234" or "reward 0.667". */
export const measureOf = ({ loss, reward }: Evaluated): readonly [name: "loss" | "reward", value: string] =>
  reward === undefined ? ["loss", loss.toFixed(3)] : ["reward", reward.toFixed(3)];

/** The sums of an evaluation before its first batch. */
export const NOTHING_EVALUATED: UnfinishedEvaluation = { batches: 0, ...NO_LOSS, seconds: 0 };

/** Options of an evaluation's batches, and its position. */
export type ValidationOptions = BatchSettings & {
  /** The sums of the batches that are evaluated already. */
  readonly done: UnfinishedEvaluation;
  /** Parts among these that are no batches; 0. */
  readonly before?: number;
  /** Milliseconds of a monotonic clock. */
  readonly now: () => number;
};

/** Evaluates the batches that are left, in the order of the examples, and gives the sums after each. */
export async function* validationSums(
  source: GradientSource,
  examples: readonly EncodedExample[],
  { done, before = 0, now, ...settings }: ValidationOptions,
): AsyncGenerator<UnfinishedEvaluation, void> {
  const planned = batches(examples, {
    ...settings,
    epoch: 0,
    seed: 0,
    shuffle: false,
    lengthMultiple: lengthMultiple(settings),
    batchSize: rowsAtOnce(settings),
    start: done.batches - before,
  });
  const update = totalsOf(examples);
  let sums = done;
  for (const batch of planned) {
    const started = now();
    const part = await source.loss(batch, update);
    await nextTurn();
    sums = {
      batches: sums.batches + 1,
      ...addLosses(sums, part),
      seconds: sums.seconds + (now() - started) / 1000,
    };
    yield sums;
  }
}

/** The means of these sums. */
export const averageLoss = ({ loss, count, correct, targets }: UnfinishedEvaluation): ValidationLoss => ({
  loss: loss / count,
  accuracy: targets === 0 ? 0 : correct / targets,
});

/**
 * The mean cross-entropy over the target tokens of all examples, and the share of them that are the likeliest.
 *
 * @throws MosError `cancelled` when the signal is aborted.
 */
export async function evaluateLoss(
  source: GradientSource,
  examples: readonly EncodedExample[],
  { signal, ...settings }: BatchSettings & { readonly signal?: AbortSignal | undefined },
): Promise<ValidationLoss> {
  let sums = NOTHING_EVALUATED;
  for await (const next of validationSums(source, examples, { ...settings, done: sums, now: () => 0 })) {
    if (signal?.aborted === true) throw new MosError("cancelled", "the evaluation was interrupted");
    sums = next;
  }
  return averageLoss(sums);
}

/** Options of measuring a loss. @inline */
export interface ValidationLossOptions {
  /** The base as it is without one. */
  readonly adapter?: Adapter | undefined;
  readonly settings: Pick<
    ResolvedSettings,
    "maxLength" | "promptFormat" | "system" | "batchSize" | "packing"
  >;
  readonly session?: SessionOptions;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Measures the validation loss as training does, with the same prompts and batches.
 *
 * @returns the means, and the number of examples that have target tokens.
 * @throws MosError `bad_data`; `cancelled` when the signal is aborted.
 */
export async function validationLoss(
  { model, text: { tokenizer, template } }: BaseModel,
  data: readonly Example[],
  { adapter, settings, session, signal }: ValidationLossOptions,
): Promise<ValidationLoss & { readonly examples: number }> {
  const { maxLength, promptFormat, system, batchSize, packing } = settings;
  const options = { tokenizer, template, maxLength, promptFormat, system, signal };
  const { encoded, report } = await encodeExamples(data, options);
  const measured = adapter === undefined ? frozenModel(model) : adapterModel(model, adapter);
  await using source = gradientSource(measured, { ...session, maxSegment: report.longest });
  const { padToken, eosTokens } = model.config;
  const batch = { batchSize, maxLength, packing, padToken: padToken ?? eosTokens[0] ?? 0, signal };
  return { ...(await evaluateLoss(source, encoded, batch)), examples: encoded.length };
}
