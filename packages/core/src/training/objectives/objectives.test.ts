import { compile, grad, leaf } from "mixture-of-shards-graph";
import { expect, test } from "vitest";
import { randomStream } from "#common";
import { type Batch, type EncodedExample, makeBatch } from "#data";
import { anchoredExample } from "../augment/replay.ts";
import type { FinetuneSettings } from "../settings.ts";
import { OBJECTIVES, type ObjectiveName } from "./index.ts";
import { addMetrics, averageMetrics, type FeedContext, totalsOf } from "./objective.ts";
import type { ObjectiveSettings } from "./settings.ts";

const random = randomStream(3, "objectives");
const numbers = (n: number, low: number, high: number) =>
  Float32Array.from({ length: n }, () => low + (high - low) * random.uniform());

/** An example whose sequences are prompts and answers of these lengths. */
function example(
  line: number,
  sequences: readonly (readonly [prompt: number, answer: number])[],
): EncodedExample {
  const parts = sequences.map(([prompt, answer]) => {
    const ids = Array.from({ length: prompt + answer }, (_, i) => 10 * line + i);
    return { ids, labels: ids.map((id, i) => (i < prompt ? -100 : id)) };
  });
  const targetTokens = sequences.reduce((sum, [, answer]) => sum + answer, 0);
  return {
    line,
    ids: Int32Array.from(parts.flatMap(({ ids }) => ids)),
    labels: Int32Array.from(parts.flatMap(({ labels }) => labels)),
    targetTokens,
    truncated: false,
    truncatedTargets: 0,
    sequences: parts.map(({ ids }) => ids.length),
    columns: {
      reference: numbers(targetTokens, -3, -0.1),
      old: numbers(targetTokens, -3, -0.1),
      advantage: new Float32Array(targetTokens).fill(line % 2 === 0 ? 1.5 : -0.7),
      desirable: new Float32Array(targetTokens).fill(line % 2),
    },
  };
}

const pairs = [
  example(1, [
    [3, 4],
    [3, 2],
  ]),
  example(2, [
    [2, 1],
    [2, 5],
  ]),
  example(3, [
    [4, 3],
    [4, 3],
  ]),
];
const rated = ([1, 2, 3, 4, 5] as const).map((line) => example(line, [[line + 1, 6 - line]]));
/** Every second one is anchored, prompt and answer. */
const anchored = rated.map((one, i) => {
  if (i % 2 === 0) return one;
  const held = anchoredExample(one);
  return { ...held, columns: { ...held.columns, reference: numbers(held.targetTokens, -3, -0.1) } };
});

/** Numbers of the labels of each sequence. */
function bySequence({ labelSequences, sequences }: Batch, all: ArrayLike<number>): readonly number[][] {
  const found = Array.from({ length: sequences }, (): number[] => []);
  for (const [label, k] of labelSequences.entries()) found[k]?.push(all[label] as number);
  return found;
}
const total = (xs: readonly number[]) => xs.reduce((a, b) => a + b, 0);
const mean = (xs: readonly number[]) => total(xs) / xs.length;
const sigma = (x: number) => 1 / (1 + Math.exp(-x));

/** The mean loss as a formula in double precision. */
type Formula = (logprobs: Float64Array, batch: Batch) => number;

const meanOfPairs = (sequences: readonly number[], of: (chosen: number, rejected: number) => number) =>
  mean(sequences.flatMap((x, k) => (k % 2 === 0 ? [of(x, sequences[k + 1] as number)] : [])));

const sft: Formula = (logprobs, { columns: { anchor, reference } }) =>
  mean(Array.from(logprobs, (x, i) => (anchor?.[i] === 1 ? (x - (reference?.[i] as number)) ** 2 / 2 : -x)));

const simpo: Formula = (logprobs, batch) =>
  meanOfPairs(bySequence(batch, logprobs).map(mean), (c, r) => -Math.log(sigma(2 * (c - r) - 0.5))) -
  0.3 * mean(bySequence(batch, logprobs).flatMap((xs, k) => (k % 2 === 0 ? xs : [])));

const orpo: Formula = (logprobs, batch) => {
  const all = bySequence(batch, logprobs);
  const marks = bySequence(batch, batch.columns.prompt as Float32Array);
  const means = all.map((xs, k) => mean(xs.filter((_, i) => marks[k]?.[i] === 0)));
  const logOdds = (x: number) => x - Math.log(1 - Math.exp(x));
  const odds = meanOfPairs(means, (c, r) => Math.log(sigma(logOdds(c) - logOdds(r))));
  return -mean(all.flatMap((xs, k) => (k % 2 === 0 ? xs : []))) - 0.1 * odds;
};

/** With a shift of 0.25 nats for each answer. */
const kto: Formula = (logprobs, batch) => {
  const reference = bySequence(batch, batch.columns.reference as Float32Array).map(total);
  return mean(
    bySequence(batch, logprobs).map((xs, k) => {
      const q = total(xs) - (reference[k] as number);
      return (k + 1) % 2 === 1 ? 1 - sigma(0.1 * (q - 0.25)) : 1.25 * (1 - sigma(0.1 * (0.25 - q)));
    }),
  );
};

type Kind = "dapo" | "grpo" | "dr_grpo" | "bnpo";
const grpo =
  (kind: Kind, level: "token" | "sequence", beta: number): Formula =>
  (logprobs, batch) => {
    const { old, advantage, reference } = batch.columns;
    const ratios = bySequence(
      batch,
      logprobs.map((x, i) => x - (old?.[i] as number)),
    ).map((xs) => xs.map((x) => Math.exp(level === "token" ? x : mean(xs))));
    const flat = ratios.flat();
    const losses = bySequence(
      batch,
      logprobs.map((x, i) => {
        const [ratio, a, d] = [flat[i] as number, advantage?.[i] as number, (reference?.[i] as number) - x];
        const clipped = Math.min(Math.max(ratio, 0.8), 1.3);
        return -Math.min(ratio * a, clipped * a) + beta * ratio * (Math.exp(d) - d - 1);
      }),
    );
    if (kind === "grpo") return mean(losses.map(mean));
    return kind === "dr_grpo" ? total(losses.flat()) / (losses.length * 8) : mean(losses.flat());
  };

const cases: readonly {
  readonly name: ObjectiveName;
  readonly settings: Partial<ObjectiveSettings>;
  readonly formula: Formula;
}[] = [
  { name: "sft", settings: {}, formula: sft },
  { name: "simpo", settings: { sftWeight: 0.3 }, formula: simpo },
  { name: "orpo", settings: {}, formula: orpo },
  { name: "kto", settings: { undesirableWeight: 1.25 }, formula: kto },
  { name: "distill", settings: { epsilonHigh: 0.3 }, formula: grpo("dapo", "token", 0) },
  ...(["dapo", "grpo", "dr_grpo", "bnpo"] as const).flatMap((grpoLoss) =>
    (["token", "sequence"] as const).flatMap((importanceLevel) =>
      [0, 0.04].map((beta) => ({
        name: "grpo" as const,
        settings: { grpoLoss, importanceLevel, beta, epsilonHigh: 0.3, maxCompletionLength: 8 },
        formula: grpo(grpoLoss, importanceLevel, beta),
      })),
    ),
  ),
];

/** One row for each example. */
const inRows = (examples: readonly EncodedExample[]): Batch =>
  makeBatch(
    examples.map((x) => [x]),
    { length: 16, padToken: 0 },
  );

test.each(cases)("$name $settings: loss and gradient are those of the formula", async (one) => {
  const kind = OBJECTIVES[one.name];
  const objective = kind.create(one.settings as FinetuneSettings);
  const given = kind.data === "pairs" ? pairs : one.name === "sft" ? anchored : rated;
  const examples = given.map(kind.prepare ?? ((x) => x));
  const batch = inRows(examples);
  const logprobs = numbers(batch.labelIds.length, -3, -0.1);
  const context: FeedContext = {
    update: totalsOf(examples),
    longest: 16,
    // the shift of the formula, for all answers together
    logprobs: async ({ labelIds }, of) =>
      new Float32Array(labelIds.length).fill(of === "policy" ? 0.25 * batch.sequences : 0, 0, 1),
    hidden: async () => new Float32Array(),
  };
  const x = leaf("x", ["labels", 1]);
  const loss = objective.loss(x);
  await using program = await compile({ loss, dx: grad(loss, [x])[0] ?? x });
  const shape = [logprobs.length, 1];
  const outputs = await program.run({
    x: { shape, data: logprobs },
    ...(await objective.feeds(batch, context)),
  });
  const count = objective.count(batch);
  expect((outputs["loss"]?.data[0] ?? Number.NaN) / count).toBeCloseTo(
    one.formula(Float64Array.from(logprobs), batch),
    5,
  );
  for (const label of logprobs.keys()) {
    const at = (step: number) =>
      one.formula(
        Float64Array.from(logprobs, (value, i) => value + (i === label ? step : 0)),
        batch,
      );
    const slope = (at(1e-5) - at(-1e-5)) / 2e-5;
    expect((outputs["dx"]?.data[label] ?? Number.NaN) / count, `label ${label}`).toBeCloseTo(slope, 5);
  }
});

test.each(["token", "sequence"] as const)(
  "grpo reports its divergence from the reference, by %s",
  (level) => {
    const settings = { beta: 0.04, importanceLevel: level } as FinetuneSettings;
    const batch = inRows(rated);
    const logprobs = numbers(batch.labelIds.length, -3, -0.1);
    const { old, reference = new Float32Array() } = batch.columns;
    const ratios = bySequence(
      batch,
      logprobs.map((x, i) => x - (old?.[i] as number)),
    ).flatMap((xs) => xs.map((x) => Math.exp(level === "token" ? x : mean(xs))));
    const expected = mean(
      ratios.map((ratio, i) => {
        const d = (reference[i] as number) - (logprobs[i] as number);
        return ratio * (Math.exp(d) - d - 1);
      }),
    );
    const fed = { reference: { shape: [reference.length, 1], data: reference } };
    const metrics = averageMetrics(OBJECTIVES.grpo.create(settings).metrics(batch, logprobs, fed));
    expect(metrics?.["kl"]).toBeCloseTo(expected, 5);
  },
);

const additive: readonly Omit<(typeof cases)[number], "formula">[] = [
  { name: "sft", settings: {} },
  { name: "dpo", settings: {} },
  { name: "dpo", settings: { dpoLoss: "ipo" } },
  { name: "orpo", settings: {} },
  { name: "simpo", settings: { sftWeight: 0.3 } },
  ...(["dapo", "grpo", "dr_grpo"] as const).map((grpoLoss) => ({
    name: "grpo" as const,
    settings: { grpoLoss },
  })),
];

test.each(additive)("$name $settings: three batches of an update add up to the same as one", async (one) => {
  const kind = OBJECTIVES[one.name];
  const objective = kind.create(one.settings as FinetuneSettings);
  const examples = pairs.map(kind.prepare ?? ((x) => x));
  const logprobs = examples.map(({ targetTokens }) => numbers(targetTokens, -3, -0.1));
  await using program = await compile({ loss: objective.loss(leaf("x", ["labels", 1])) });
  const context: FeedContext = {
    update: totalsOf(examples),
    longest: 16,
    logprobs: async () => new Float32Array(),
    hidden: async () => new Float32Array(),
  };
  const evaluate = async (indices: readonly number[]) => {
    const batch = inRows(indices.flatMap((i) => examples[i] ?? []));
    const data = Float32Array.from(indices.flatMap((i) => [...(logprobs[i] ?? [])]));
    const fed = await objective.feeds(batch, context);
    const { loss } = await program.run({ x: { shape: [data.length, 1], data }, ...fed });
    return {
      loss: loss?.data[0] ?? Number.NaN,
      count: objective.count(batch),
      metrics: objective.metrics(batch, data, fed),
    };
  };
  const whole = await evaluate([0, 1, 2]);
  const parts = [await evaluate([0]), await evaluate([1]), await evaluate([2])];
  expect(total(parts.map(({ loss }) => loss))).toBeCloseTo(whole.loss, 4);
  expect(total(parts.map(({ count }) => count))).toBeCloseTo(whole.count, 6);
  const summed = averageMetrics(parts.map(({ metrics }) => metrics).reduce(addMetrics)) ?? {};
  for (const [name, value] of Object.entries(averageMetrics(whole.metrics) ?? {}))
    expect(summed[name], name).toBeCloseTo(value, 5);
});
