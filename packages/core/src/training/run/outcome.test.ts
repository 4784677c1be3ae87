import { expect, test } from "vitest";
import type { Batch, ChatExample } from "#data";
import { loadText, openModel } from "#models";
import type { Parameters } from "../step-graph.ts";
import { describeOutcome, measureOutcome, outcomeWarning } from "./outcome.ts";
import type { RunPlan } from "./plan.ts";

const MODEL = "assets/tiny-english";

const question = (line: number, asked: string, answer: string): ChatExample => ({
  kind: "chat",
  line,
  source: { unit: "line" },
  turns: [
    { role: "user", content: asked, isTarget: false },
    { role: "assistant", content: answer, isTarget: true },
  ],
});

/** A plan for five questions and as many answers of the base as are held apart, on a base that counts as large. */
async function plan(): Promise<RunPlan> {
  await using files = await openModel(MODEL);
  const { config } = files;
  const train = Array.from({ length: 5 }, (_, i) =>
    question(i + 1, `What is the number of house ${i}?`, `It is ${i}.`),
  );
  const answers = Array.from({ length: 100 }, (_, i) => ({
    prompt: `Say ${i}`,
    answer: `It is ${i}.`,
    isCut: false,
  }));
  return {
    settings: { objective: "sft", promptFormat: "template", maxLength: 256, seed: 0 },
    base: { name: "tiny", config: { ...config, vocabularySize: 10_000_000 } },
    text: await loadText(MODEL),
    data: { train, validation: [], all: train },
    train: { report: { longest: 200 } },
    augmented: { record: { answers } },
    run: { batchSize: 4, maxLength: 256, packing: true, padToken: 0 },
  } as unknown as RunPlan;
}

/** Every target of the trained model has this log-probability; of the one before, −0.1. */
const source = (after: number) => ({
  logprobs: async ({ labelIds }: Batch, parameters?: Parameters) =>
    new Float32Array(labelIds.length).fill(parameters === undefined ? after : -0.1),
});

test("answers are learnt where every token is certain, and kept where they are as likely as before", async () => {
  const measured = await measureOutcome(await plan(), { source: source(-0.2), before: new Map() });
  expect(measured?.taught).toEqual({ right: 5, of: 5 });
  expect(measured?.hasty).toEqual({ right: 5, of: 5 });
  expect(measured?.kept).toEqual({ right: 20, of: 20 });
  expect(measured?.textLoss.before).toBeCloseTo(0.1, 5);
  expect(measured?.textLoss.after).toBeCloseTo(0.2, 5);
});

test("what is lost is told, with what would do", async () => {
  const measured = await measureOutcome(await plan(), { source: source(-0.8), before: new Map() });
  expect(measured).toMatchObject({ taught: { right: 0, of: 5 }, kept: { right: 0, of: 20 } });
  expect(outcomeWarning(measured!)).toMatch(/^much of what the base knew is lost.*--keep/);
  expect(describeOutcome(measured!)).toEqual({
    learnt: "0 of 5 answers word for word, 0 of 5 where the question is typed in haste",
    kept: "0 of 20 answers to general prompts, loss on ordinary text 0.10 → 0.80 (+700 %)",
    text: expect.stringMatching(/^Learnt: 0 of 5 .*\. Kept: 0 of 20 .*\(\+700 %\)\.$/),
  });
});

test("little lost is no warning", () => {
  const fine = {
    taught: { right: 1, of: 1 },
    hasty: undefined,
    kept: undefined,
    textLoss: { before: 4, after: 4.1 },
  };
  expect(outcomeWarning(fine)).toBeUndefined();
  expect(describeOutcome(fine)).toEqual({
    learnt: "1 of 1 answers word for word",
    kept: "loss on ordinary text 4.00 → 4.10 (+2 %)",
    text: "Learnt: 1 of 1 answers word for word. Kept: loss on ordinary text 4.00 → 4.10 (+2 %).",
  });
});

test("a run that teaches no chat model has no outcome", async () => {
  const planned = await plan();
  const other = { ...planned, settings: { ...planned.settings, objective: "dpo" } } as RunPlan;
  expect(await measureOutcome(other, { source: source(-0.1), before: new Map() })).toBeUndefined();
});

test("plain text has no answers, and held-out answers that are cut away count for nothing", async () => {
  const planned = await plan();
  const train = [{ kind: "text", text: "It is five.", line: 1, source: { unit: "line" } }];
  const other = {
    ...planned,
    data: { ...planned.data, train },
    train: { report: { longest: 4 } },
  } as unknown as RunPlan;
  const measured = await measureOutcome(other, { source: source(-0.1), before: new Map() });
  expect(measured).toMatchObject({ taught: undefined, hasty: undefined, kept: undefined });
  expect(outcomeWarning(measured!)).toBeUndefined();
  expect(describeOutcome(measured!).learnt).toBe("");
});

test("an abort ends it", async () => {
  const options = { source: source(-0.1), before: new Map(), signal: AbortSignal.abort() };
  expect(await measureOutcome(await plan(), options)).toBeUndefined();
});
