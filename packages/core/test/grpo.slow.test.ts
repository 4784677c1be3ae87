// What the bundled model learns from rewards.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type FinetuneOptions, finetune } from "#training";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-rewards-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const QUESTIONS = [
  "Do you open on Sundays?",
  "Can I bring my dog?",
  "What does a ticket cost?",
  "Is there a car park?",
];

/** The mean reward of each update. */
async function rewardsOf(seed: number, reward: FinetuneOptions["reward"]): Promise<readonly number[]> {
  const rewards: number[] = [];
  const run = finetune({
    model: "assets/tiny-english",
    data: QUESTIONS.map((content) => ({ messages: [{ role: "user", content }] }) as const),
    adapter: { method: "lora", rank: 8, alpha: 16 },
    settings: {
      objective: "grpo",
      steps: 20,
      batchSize: 4,
      groupSize: 8,
      maxCompletionLength: 32,
      seed,
      learningRate: 1e-3,
      warmup: 0,
      schedule: "constant",
    },
    reward,
    out: join(folder, `${seed}`),
    overwrite: true,
  });
  for await (const event of run) if (event.type === "step") rewards.push(event.metrics?.["reward"] ?? 0);
  return rewards;
}

const mean = (numbers: readonly number[]): number => numbers.reduce((a, b) => a + b, 0) / numbers.length;

test.each([0, 1, 2])(
  "seed %i: a wanted word is learnt from about 0.6 to 0.98 in 20 updates",
  async (seed) => {
    const rewards = await rewardsOf(seed, (_, { output_text: text }) => Number(text.includes("sorry")));
    expect(rewards[0]).toBeLessThan(0.85);
    expect(mean(rewards.slice(-3))).toBeGreaterThanOrEqual(0.98);
  },
);

test("answers come to a wanted length", async () => {
  const rewards = await rewardsOf(0, (_, { output_text: text }) => -Math.abs(40 - text.length) / 40);
  expect(mean(rewards.slice(-4))).toBeGreaterThan(mean(rewards.slice(0, 4)) + 0.05);
});
