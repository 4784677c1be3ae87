// What a run measures as the events and the result file of its job.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Measurement } from "mixture-of-shards-core/training";
import { expect, test } from "vitest";
import { showMeasurement, showMetrics } from "../src/api/job-events.ts";
import { formatResults, metricsAt, toJobEvent } from "../src/worker/job-report.ts";
import { isAskedFor } from "../src/worker/watch.ts";

const step = (number: number, metrics?: Measurement["metrics"]): Measurement => ({
  ...({ type: "step", step: number, loss: 0.5, accuracy: 0.25, learningRate: 0.1, gradientNorm: 2 } as const),
  ...{ tokens: 8, seconds: 2, metrics },
});
const evaluation = (number: number, metrics?: Measurement["metrics"]): Measurement => ({
  ...({ type: "evaluation", step: number, loss: 0.75, accuracy: 0.125, seconds: 3 } as const),
  metrics,
});
const job = (steps: number, settings = {}) => ({ steps, plan: { adapter: {}, settings } });

/** Reads the metrics of a run as the worker finds them. */
async function withMetrics<T>(lines: readonly Measurement[], read: (run: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "mos-notes-"));
  try {
    await writeFile(join(folder, "metrics.jsonl"), lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
    return await read(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

const PAIRS: readonly [Measurement, Measurement, Measurement, Measurement] = [
  evaluation(0, { "eval_rewards/margins": 0 }),
  step(1, { "rewards/margins": 0, "logps/chosen": -3 }),
  step(2, { "rewards/margins": 0.5, "logps/chosen": -2 }),
  evaluation(2, { "eval_rewards/margins": 0.25 }),
];

test("metrics of an objective are in the events of its job, beside those that all have", () => {
  expect(showMeasurement(PAIRS[2], job(4))).toEqual({
    message: "Step 2/4: training loss=0.5000",
    data: {
      ...{ step: 2, total_steps: 4, train_loss: 0.5, train_mean_token_accuracy: 0.25 },
      ...{ learning_rate: 0.1, gradient_norm: 2, tokens_per_second: 4, tokens: 8, seconds: 2 },
      ...{ "rewards/margins": 0.5, "logps/chosen": -2 },
    },
  });
  expect(showMeasurement(PAIRS[3], job(4)).data).toEqual({
    ...{ step: 2, total_steps: 4, full_valid_loss: 0.75, full_valid_mean_token_accuracy: 0.125 },
    "eval_rewards/margins": 0.25,
  });
  // as it comes back from the database
  const stored: Measurement = JSON.parse(JSON.stringify({ ...PAIRS[2], loss: Number.NaN }));
  expect(showMeasurement(stored, job(4)).message).toBe("Step 2/4: training loss=nan");
});

const metricsOf = (at: number) => async (run: string) =>
  showMetrics({ step: at, metrics: await metricsAt(run, at) });

test("they are columns of the result file behind OpenAI's, and metrics of checkpoints", async () => {
  const csv = async (run: string): Promise<string> => {
    const parts: Uint8Array[] = [];
    for await (const part of formatResults(run)) parts.push(part);
    return Buffer.concat(parts).toString();
  };
  const columns = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy";
  expect(await withMetrics(PAIRS, csv)).toBe(
    `${columns},eval_rewards/margins,rewards/margins,logps/chosen\n1,0.5,0.25,,,,0,-3\n2,0.5,0.25,0.75,0.125,0.25,0.5,-2\n`,
  );
  expect(await withMetrics([step(1)], csv)).toBe(`${columns}\n1,0.5,0.25,,\n`);
  expect(await withMetrics(PAIRS, metricsOf(1))).toEqual({
    ...{
      step: 1,
      train_loss: 0.5,
      train_mean_token_accuracy: 0.25,
      "rewards/margins": 0,
      "logps/chosen": -3,
    },
    ...{ full_valid_loss: 0.75, full_valid_mean_token_accuracy: 0.125, "eval_rewards/margins": 0 },
  });
});

test("a run that learns from rewards reports them as OpenAI's jobs do", async () => {
  const train = { reward: 0.42, "rewards/right/mean": 0.42, "completions/mean_length": 9, frac_ungraded: 0 };
  const valid = { eval_reward: 0.675, "eval_rewards/right/mean": 0.675, eval_frac_unreadable: 0.25 };
  const [trained, evaluated] = [step(10, train), evaluation(10, valid)];
  const run = job(20, { grader: { type: "string_check", name: "right" } });
  expect(showMeasurement(trained, run).message).toBe("Step 10/20 , train mean reward=0.42");
  const { message, data } = showMeasurement({ ...evaluated, trained }, run);
  expect(message).toBe(
    "Step 10/20 , train mean reward=0.42, full validation mean reward=0.68, full validation mean parse error=0.25",
  );
  expect(data).toMatchObject({
    ...{ step: 10, total_steps: 20, train_mean_reward: 0.42, full_valid_mean_reward: 0.675 },
    ...{ full_valid_mean_parse_error: 0.25, completion_tokens_mean: 9, mean_unresponsive_rewards: 0 },
    scores: {
      graders: [{ name: "right", type: "string_check", train_reward_mean: 0.42, valid_reward_mean: 0.675 }],
    },
    timing: { step: { eval: 3, full_iteration: 5 } },
  });
  expect(showMeasurement(evaluated, run).message).toBe(
    "Step 10/20 , full validation mean reward=0.68, full validation mean parse error=0.25",
  );
  expect(await withMetrics([trained, evaluated], metricsOf(10))).toMatchObject({
    ...{ train_mean_reward: 0.42, full_valid_mean_reward: 0.675 },
  });
});

test("an evaluation is noted with the step before it, unless another process made that", () => {
  const [trained, evaluated] = [step(10), evaluation(10)] as never[];
  expect(toJobEvent(evaluated!, { steps: 20, trained: trained! })?.data).toMatchObject({ trained });
  expect(toJobEvent(evaluated!, { steps: 20, trained: step(9) as never })?.data).toEqual(evaluated);
});

test("checkpoints that are published are those of save_every and the last one, none of a job that was paused before its first step", () => {
  const published = (saveEvery: number, steps: number, last = steps): readonly number[] =>
    Array.from({ length: last + 1 }, (_, at) => at).filter((at) =>
      isAskedFor(
        { plan: { adapter: {}, settings: { saveEvery } } },
        { step: at, isLast: at === last },
        steps,
      ),
    );
  expect(published(2, 5)).toEqual([2, 4, 5]);
  expect(published(2, 9, 3), "a run that ends early").toEqual([2, 3]);
  expect(published(1, 2000)).toHaveLength(1000);
});
