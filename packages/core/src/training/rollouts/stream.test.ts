import { expect, test } from "vitest";
import { randomStream } from "#common";
import type { LiveEngine, SampleRequest } from "#inference";
import type { MicroBatch } from "../micro-batches.ts";
import type { Prompt } from "./grader.ts";
import { gradeByRewards, type RewardGrader } from "./rewards.ts";
import { type RolloutOptions, rollouts } from "./stream.ts";

/** Answers with random tokens of the request's seed; the first request ends last. */
const engine = (seen: SampleRequest[] = []): LiveEngine => ({
  async *sample(requests, signal) {
    seen.push(...requests);
    for (const [i, { seed, maxTokens }] of [...requests.entries()].reverse()) {
      signal?.throwIfAborted();
      const random = randomStream(seed, "answer");
      const tokens = Array.from({ length: 1 + random.below(maxTokens) }, () => random.below(50));
      const logprobs = Float32Array.from(tokens, () => -random.uniform());
      yield [i, { tokens, logprobs, text: tokens.join(" "), hasEnded: tokens.length < maxTokens }] as const;
    }
  },
  [Symbol.asyncDispose]: async () => undefined,
});

/** Of the first prompt all answers are equally good; of the others by their length. */
const reward: RewardGrader["grade"] = async ({ name }, text) => {
  const length = text.split(" ").length;
  return { reward: name === "p0" ? 1 : length, scores: { length } };
};

const byRewards = (grade: RewardGrader["grade"]) =>
  gradeByRewards({ grade, [Symbol.asyncDispose]: async () => undefined }, "group");

const prompts: readonly Prompt[] = Array.from({ length: 5 }, (_, i) => ({
  line: i + 1,
  ids: Array.from({ length: i + 2 }, (_, k) => 60 + k),
  item: { name: `p${i}` },
}));

const settings = {
  ...{ batchSize: 2, gradientAccumulationSteps: 1, maxLength: 16, packing: true, padToken: 0, seed: 7 },
  ...{ steps: 6, groupSize: 4, maxCompletionLength: 6, temperature: 1 },
  // as the settings of a run have it
  grader: { type: "string_check" },
} as const;

const options = (over: Partial<RolloutOptions> = {}): RolloutOptions => ({
  ...{ prompts, settings, engine: engine(), grader: byRewards(reward) },
  ...over,
});

async function take(count: number, stream: AsyncGenerator<MicroBatch>): Promise<readonly MicroBatch[]> {
  const taken: MicroBatch[] = [];
  for await (const one of stream) if (taken.push(one) === count) break;
  return taken;
}

test("an update has all answers of its prompts, with what their tokens count", async () => {
  const parts = await take(40, rollouts(options(), { updates: 0, microBatches: 0 }));
  const update = parts.slice(0, parts.findIndex(({ isLast }) => isLast) + 1);
  expect(update.reduce((sum, { batch }) => sum + batch.examples, 0)).toBe(8);
  const [first, ...others] = update;
  expect(first?.metrics?.["reward"]?.count).toBe(8);
  expect(first?.metrics?.["reward_std"]?.count).toBe(2);
  expect(first?.metrics?.["rewards/length/mean"]?.sum).toBe(first?.metrics?.["completions/mean_length"]?.sum);
  expect(others.every(({ metrics }) => metrics === undefined)).toBe(true);
  for (const { batch, isSkipped } of parts) {
    const { advantage = new Float32Array(), old = new Float32Array() } = batch.columns;
    expect([batch.rows, batch.length, advantage.length]).toEqual([1, 16, batch.labelIds.length]);
    expect(advantage.every((x) => x === 0)).toBe(isSkipped);
    expect(old.every((x) => x < 0 || Object.is(x, -0))).toBe(true);
  }
  expect(parts.some(({ isSkipped }) => isSkipped)).toBe(true);
});

test("answers to a prompt share it where that makes fewer rows", async () => {
  const long = prompts.map((one) => ({ ...one, ids: Array.from({ length: 20 }, (_, k) => 60 + k) }));
  const wide = { ...settings, maxLength: 48, temperature: 1 };
  const parts = await take(
    40,
    rollouts(options({ prompts: long, settings: wide }), { updates: 0, microBatches: 0 }),
  );
  const update = parts.slice(0, parts.findIndex(({ isLast }) => isLast) + 1);
  expect(update.reduce((sum, { batch }) => sum + batch.sequences, 0)).toBe(8);
  // 8 answers behind 20 tokens each would need 4 rows at least
  expect(update.length).toBeLessThan(4);
  for (const { batch } of update) {
    expect(batch.examples).toBe(batch.sequences);
    for (const [k, index] of batch.labelIndices.entries())
      expect(batch.ids[index + 1]).toBe(batch.labelIds[k]);
    expect(batch.columns.old).toHaveLength(batch.labelIds.length);
  }
});

test("a stream that goes on anywhere gives the same micro-batches", async () => {
  const all = await take(30, rollouts(options(), { updates: 0, microBatches: 0 }));
  const seen: SampleRequest[] = [];
  let [updates, microBatches] = [0, 0];
  for (const [i, part] of all.slice(0, -1).entries()) {
    [updates, microBatches] = part.isLast ? [updates + 1, 0] : [updates, microBatches + 1];
    const [next] = await take(1, rollouts(options({ engine: engine(seen) }), { updates, microBatches }));
    expect({ ...next, metrics: undefined }).toEqual({ ...all[i + 1], metrics: undefined });
  }
  // an update's answers have seeds of their own, the same whenever they are sampled
  const perEpoch = 5 * settings.groupSize;
  expect(new Set(seen.map(({ seed }) => seed)).size % perEpoch).toBe([8, 16, 0][updates % 3]);
});

test("without a difference in rewards there is an end, and a reason", async () => {
  const equal: RewardGrader["grade"] = async () => ({ reward: 0, scores: {} });
  const none: RewardGrader["grade"] = async () => ({ reward: Number.NaN, scores: {} });
  const start = { updates: 0, microBatches: 0 };
  const error = {
    code: "no_signal",
    message: expect.stringContaining(
      "no signal: all rewards of every group are equal in the first 6 updates (now 0)",
    ),
  };
  await expect(take(200, rollouts(options({ grader: byRewards(equal) }), start))).rejects.toMatchObject(
    error,
  );
  await expect(take(200, rollouts(options({ grader: byRewards(none) }), start))).rejects.toThrow(
    "no answer could be graded",
  );
  await expect(
    take(30, rollouts(options({ grader: byRewards(equal) }), { updates: 1, microBatches: 0 })),
  ).resolves.toBeTruthy();
});

test("a grader that fails and a signal end the stream", async () => {
  const broken: RewardGrader["grade"] = async () => Promise.reject(new Error("the grader is away"));
  const start = { updates: 0, microBatches: 0 };
  await expect(take(1, rollouts(options({ grader: byRewards(broken) }), start))).rejects.toThrow("away");
  const signal = AbortSignal.abort(new Error("stopped"));
  await expect(take(1, rollouts(options({ signal }), start))).rejects.toThrow("stopped");
});
