// Runs that are judged by the rewards of their answers to held-out prompts.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InferenceSession } from "onnxruntime-node";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { MosError } from "#common";
import {
  type FinetuneEvent,
  type FinetuneOptions,
  finetune,
  initialState,
  type TrainEvent,
  type TrainOptions,
  train,
} from "#training";
import { type TinyFolder, writeTinyFolder } from "./tiny-folder.ts";
import { randomExamples, tinySettings, tinyTrainable } from "./tiny-training.ts";

/** Answers that earn these rewards, evaluation after evaluation, in two parts. */
function rewarding(rewards: readonly number[], onPart = (_part: number): void => undefined) {
  let evaluations = 0;
  const answers: TrainOptions["answers"] = {
    parts: 2,
    async *evaluate(done) {
      let sums = done;
      while (sums.batches < 2) {
        onPart(evaluations * 2 + sums.batches);
        const { sum = 0, count = 0 } = sums.metrics["reward"] ?? {};
        const metrics = { reward: { sum: sum + (rewards[evaluations] ?? 0), count: count + 1 } };
        sums = { ...sums, batches: sums.batches + 1, metrics };
        yield sums;
      }
      evaluations += 1;
    },
  };
  return answers;
}

const judged = { ...tinySettings, evaluateEvery: 1, earlyStoppingPatience: 2 };
const examples = randomExamples([9, 12, 7, 11, 8, 10]);

async function eventsOf(over: Partial<TrainOptions>): Promise<readonly TrainEvent[]> {
  const model = tinyTrainable();
  const sets = { train: examples.slice(2), validation: examples.slice(0, 2) };
  const events: TrainEvent[] = [];
  const state = initialState(model.parameters);
  for await (const event of train({ model, ...sets, state, now: () => 0, settings: judged, ...over }))
    events.push(event);
  return events;
}

test("the highest reward is the best, whatever the loss is, and ends a run that has no patience", async () => {
  const events = await eventsOf({ answers: rewarding([0.4, 0.3, 0.6, 0.6, 0.5, 0.9]) });
  const evaluations = events.filter((event) => event.type === "evaluation");
  expect(evaluations.map(({ metrics }) => metrics?.["eval_reward"])).toEqual([0.4, 0.3, 0.6, 0.6, 0.5]);
  expect(evaluations.map(({ best }) => best)).toEqual([false, false, true, false, false]);
  const losses = evaluations.map(({ loss }) => loss);
  expect(losses).toEqual((await plainLosses()).slice(0, losses.length));
  expect(events.at(-1)).toMatchObject({
    type: "earlyStop",
    step: 4,
    best: { step: 2, loss: losses[2], reward: 0.6 },
  });
});

const plainLosses = async (): Promise<readonly number[]> =>
  (await eventsOf({ settings: { ...judged, earlyStoppingPatience: 0 } })).flatMap((event) =>
    event.type === "evaluation" ? [event.loss] : [],
  );

test.each([0, 1, 2, 3])(
  "a run that is interrupted in part %i goes on as if it had not been",
  async (part) => {
    const rewards = [0.4, 0.3, 0.6];
    const settings = { ...judged, steps: 2, earlyStoppingPatience: 0 };
    const whole = await eventsOf({ settings, answers: rewarding(rewards) });
    const stop = new AbortController();
    const model = tinyTrainable();
    const state = initialState(model.parameters);
    const answers = rewarding(rewards, (now) => {
      if (now !== part || stop.signal.aborted) return;
      stop.abort();
      throw new MosError("cancelled", "sampling was interrupted");
    });
    const first = await eventsOf({ model, state, settings, answers, signal: stop.signal });
    const [saved] = first.filter((event) => event.type === "checkpoint").slice(-1);
    expect(first.at(-1)).toMatchObject({ type: "stopped", step: Math.floor(part / 2) });
    expect(saved?.state.evaluating?.batches).toBe(part % 2 === 0 ? undefined : 1);
    const rest = await eventsOf({
      ...{ model, settings, state: saved?.state ?? state },
      answers: rewarding(rewards.slice(Math.floor(part / 2))),
    });
    const told = [...first, ...rest].filter(({ type }) => type === "step" || type === "evaluation");
    expect(told).toEqual(whole.filter(({ type }) => type === "step" || type === "evaluation"));
  },
);

// Runs on files

let folder: string;
let tiny: TinyFolder;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-evaluate-by-"));
  tiny = await writeTinyFolder(folder);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const close = {
  ...{ type: "text_similarity", name: "close", evaluation_metric: "fuzzy_match" },
  ...{ input: "{{sample.output_text}}", reference: "{{item.reference}}" },
};

const options = (out: string, settings: FinetuneOptions["settings"] = {}) =>
  ({
    ...{ model: tiny.model, data: tiny.data, out: join(folder, out), now: () => 0 },
    adapter: { method: "lora", rank: 2 },
    session: { threads: 1 },
    settings: {
      ...{ steps: 2, warmup: 0, batchSize: 1, validationSplit: 4, evaluateEvery: 1, evaluateBy: close },
      ...{ maxCompletionLength: 6, learningRate: 0.05, ...settings },
    },
  }) satisfies FinetuneOptions;

async function run(given: FinetuneOptions): Promise<readonly FinetuneEvent[]> {
  const events: FinetuneEvent[] = [];
  for await (const event of finetune(given)) events.push(event);
  return events;
}

const pairs = Array.from(
  { length: 6 },
  (_, i) =>
    ({
      prompt: [{ role: "user", content: `Question ${i}?` }],
      chosen: [{ role: "assistant", content: `Yes, ${i}.` }],
      rejected: [{ role: "assistant", content: "No, not at all." }],
    }) as const,
);

test.each([
  ["sft", undefined],
  ["dpo", pairs],
  ["kto", pairs],
] as const)("%s: each evaluation has a loss and the rewards of answers", async (objective, data) => {
  const given = options(objective, { objective });
  const events = await run({ ...given, ...(data === undefined ? {} : { data }) });
  const evaluations = events.filter((event) => event.type === "evaluation");
  expect(evaluations.map(({ step }) => step)).toEqual([0, 1, 2]);
  for (const { loss, metrics = {} } of evaluations) {
    expect(loss).toBeGreaterThan(0);
    expect(metrics["eval_reward"]).toBeGreaterThanOrEqual(0);
    expect(metrics["eval_rewards/close/mean"]).toBe(metrics["eval_reward"]);
    expect(metrics["eval_completions/mean_length"]).toBeLessThanOrEqual(6);
  }
  const lines = await readFile(join(given.out, "metrics.jsonl"), "utf8");
  expect(lines.match(/"eval_reward"/g)).toHaveLength(3);
});

test("a run disposes of all its programs, those of its sampler too", async () => {
  const real = InferenceSession.create.bind(InferenceSession);
  const create = vi.spyOn(InferenceSession, "create");
  try {
    const released = vi.fn();
    create.mockImplementation(async (...args) => {
      const session = await real(...args);
      const release = session.release.bind(session);
      session.release = () => {
        released();
        return release();
      };
      return session;
    });
    await run(options("disposed"));
    expect(create.mock.calls.length).toBeGreaterThan(3);
    expect(released).toHaveBeenCalledTimes(create.mock.calls.length);
  } finally {
    create.mockRestore();
  }
});

test("answers that are not asked for, cannot be given or not graded are errors that say so", async () => {
  const refused = async (settings: object, message: RegExp, data: FinetuneOptions["data"] = tiny.data) =>
    expect(run({ ...options("refused", settings), data })).rejects.toThrow(message);
  await refused(
    { validationSplit: 0 },
    /evaluateBy grades answers to held-out prompts, but nothing is held out/,
  );
  await refused(
    { evaluateBy: undefined },
    /maxCompletionLength is no setting of the objective sft, but of grpo, distill, and of evaluateBy/,
  );
  await refused({ groupSize: 4 }, /groupSize is no setting of the objective sft, but of grpo, distill;/);
  await refused({ evaluateBy: { ...close, input: "{{sample.text}}" } }, /evaluateBy.input: {{sample.text}}/);
  await refused(
    { evaluateBy: { ...close, reference: "{{item.city}}" } },
    /the grader needs {{item.city}}.*item are reference, messages/,
  );
  const model = { type: "score_model", model: "judge", input: [{ role: "user", content: "?" }] };
  await refused({ evaluateBy: model }, /evaluateBy: this run cannot ask the model "judge"/);
  const texts = Array.from({ length: 9 }, (_, i) => ({ text: `All of text ${i}` }));
  await refused({}, /none of the 4 held-out examples has a prompt/, texts);
  await run(options("resumed"));
  const other = { ...close, evaluation_metric: "rouge_l" };
  await expect(run({ ...options("resumed", { steps: 3, evaluateBy: other }), resume: true })).rejects.toThrow(
    /settings.evaluateBy was .*fuzzy_match.*now .*rouge_l/,
  );
});
