// The micro-batches of a run that learns from its own answers: each update samples with the adapter as it is then. Seeds have
// names, so that a run that goes on in the middle of an update samples the same answers again.
import { MosError } from "#core";
import { type EncodedExample, packExamples, planEpoch, plannedBatch } from "#data";
import type { LiveEngine } from "#inference";
import type { MicroBatch, MicroBatchSettings, Position } from "../micro-batches.ts";
import { totalsOf } from "../objectives/objective.ts";
import type { RewardScale } from "./advantages.ts";
import {
  type Group,
  groupMetrics,
  isUniform,
  meanReward,
  type Prompt,
  type Reward,
  sampleGroups,
  toExamples,
} from "./groups.ts";

/** Settings of sampling. */
export interface RolloutSettings extends MicroBatchSettings {
  /** Updates of the whole run. */
  readonly steps: number;
  readonly groupSize: number;
  readonly maxCompletionLength: number;
  readonly temperature: number;
  readonly scaleRewards: RewardScale;
  /** With a weight of the divergence from the reference, answers have a gradient whatever their rewards. */
  readonly beta: number;
}

/** Options of a stream of rollouts. */
export interface RolloutOptions {
  readonly prompts: readonly Prompt[];
  readonly settings: RolloutSettings;
  readonly engine: Pick<LiveEngine, "sample">;
  readonly reward: Reward;
  readonly signal?: AbortSignal | undefined;
}

/** Updates from the start after which a run without any difference in rewards ends. */
const PATIENCE = 8;

/**
 * Samples and grades the answers of each update, from a position on, without end.
 *
 * @throws MosError `bad_data` where no group of the first updates has different rewards; `cancelled` by the signal.
 */
export async function* rollouts(options: RolloutOptions, start: Position): AsyncGenerator<MicroBatch, never> {
  const { settings } = options;
  let skipped = start.microBatches;
  let isSilent = start.updates === 0;
  for (const { update, epoch, prompts } of planUpdates(options, start.updates)) {
    const groups = await sampleGroups(prompts, { ...options, ...settings, label: `answer ${update}` });
    isSilent &&= groups.every(isUniform);
    if (isSilent && update + 1 >= Math.min(PATIENCE, settings.steps)) throw noSignal(update + 1, groups);
    const parts = layOut(groups, settings);
    for (const [i, part] of parts.entries()) {
      if (skipped-- > 0) continue;
      const metrics = i === 0 ? { metrics: groupMetrics(groups) } : {};
      yield { ...part, ...metrics, epoch, index: update * MAX_PARTS + i, isLast: i === parts.length - 1 };
    }
    skipped = 0;
  }
  throw new Error("there is always a next update");
}

/** Numbers of micro-batches, which name their random numbers, are apart by this from update to update. */
const MAX_PARTS = 2 ** 16;

interface PlannedUpdate {
  readonly update: number;
  readonly epoch: number;
  readonly prompts: readonly Prompt[];
}

/** The prompts of each update, epoch after epoch, in an order that the seed decides. */
function* planUpdates({ prompts, settings }: RolloutOptions, from: number): Generator<PlannedUpdate, void> {
  const { seed, batchSize, gradientAccumulationSteps } = settings;
  const plan = { seed, batchSize: batchSize * gradientAccumulationSteps, maxLength: 1, packing: false };
  const ones = prompts.map(() => 1);
  for (let epoch = 0, update = 0; ; epoch++)
    for (const rows of planEpoch(ones, { ...plan, epoch })) {
      if (update >= from) yield { update, epoch, prompts: rows.flat().map((i) => prompts[i] as Prompt) };
      update += 1;
    }
}

type Part = Pick<MicroBatch, "batch" | "isSkipped" | "update">;

/**
 * Rows of answers: one row is a micro-batch, so that one program serves them all. Answers of groups without a difference come
 * last, in micro-batches that are counted and not computed, as their gradient is 0.
 */
function layOut(
  groups: readonly Group[],
  { scaleRewards, maxLength, padToken, beta }: RolloutSettings,
): readonly Part[] {
  const examples = toExamples(groups, scaleRewards);
  const update = totalsOf(examples.flat());
  const pack = (chosen: readonly EncodedExample[], isSkipped: boolean): readonly Part[] =>
    packExamples(
      chosen.map(({ ids }) => ids.length),
      { maxLength },
    ).map((row) => ({
      batch: plannedBatch([row], chosen, { maxLength, lengthMultiple: maxLength, padToken }),
      isSkipped,
      update,
    }));
  const some = (isSkipped: boolean): readonly EncodedExample[] =>
    examples.filter((_, g) => (beta === 0 && isUniform(groups[g] as Group)) === isSkipped).flat();
  return [...pack(some(false), false), ...pack(some(true), true)];
}

const noSignal = (updates: number, groups: readonly Group[]): MosError => {
  const reward = meanReward(groups);
  return new MosError(
    "bad_data",
    `no signal: all rewards of every group are equal in the first ${updates} updates (${Number.isNaN(reward) ? "no answer could be graded" : `now ${Number(reward.toPrecision(3))}`}), so there is nothing to learn; ` +
      "choose a grader that gives some answers of the untrained model more than others, or train on examples first",
  );
};
