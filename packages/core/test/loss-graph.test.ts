import { compile, grad, type HostTensor, neg, sum } from "mixture-of-shards-graph";
import { describe, expect, test } from "vitest";
import { type Batch, type EncodedExample, makeBatch } from "#data";
import { plainLinear, weightLeaves } from "#models";
import {
  type BatchGradients,
  gradientSource,
  type TrainableModel,
  targetLogprobs,
  wholeModel,
} from "#training";
import { runs } from "../../../test/runs.ts";
import { tinyModel } from "./tiny-model.ts";
import { randomExamples, tinyLoaded, tinyTrainable } from "./tiny-training.ts";

const examples = randomExamples([9, 5, 14, 3, 2]);
const [a, b, c, d, e] = examples as [
  EncodedExample,
  EncodedExample,
  EncodedExample,
  EncodedExample,
  EncodedExample,
];
const options = { length: 32, padToken: 0 };

/** Gradients of a batch, copied before the next run. */
async function computeGradients(
  model: TrainableModel,
  batches: readonly Batch[],
  maxSegment?: number,
): Promise<BatchGradients[]> {
  await using source = gradientSource(model, maxSegment === undefined ? {} : { maxSegment });
  const results: BatchGradients[] = [];
  for (const batch of batches) {
    const part = await source.gradients(batch, undefined);
    results.push({ ...part, gradients: new Map([...part.gradients].map(([n, g]) => [n, g.slice()])) });
  }
  return results;
}

const counts = ({ labelIds: { length } }: Batch) => ({ targets: length, count: length, metrics: {} });

function sumParts(parts: readonly BatchGradients[]): BatchGradients {
  return parts.reduce((left, right) => ({
    loss: left.loss + right.loss,
    targets: left.targets + right.targets,
    count: left.count + right.count,
    metrics: {},
    correct: left.correct + right.correct,
    gradients: new Map(
      [...left.gradients].map(([name, g]) => [name, g.map((x, i) => x + right.gradients.get(name)![i]!)]),
    ),
  }));
}

function expectClose(left: BatchGradients, right: BatchGradients): void {
  expect(left.targets).toBe(right.targets);
  expect(left.correct).toBe(right.correct);
  expect(Math.abs(left.loss - right.loss)).toBeLessThan(1e-5 * left.loss);
  for (const [name, g] of left.gradients) {
    const other = right.gradients.get(name)!;
    const scale = g.reduce((most, x) => Math.max(most, Math.abs(x)), 1);
    const worst = g.reduce((most, x, i) => Math.max(most, Math.abs(x - other[i]!)), 0);
    expect(
      g.some((x) => x !== 0),
      name,
    ).toBe(true);
    expect(worst / scale, name).toBeLessThan(1e-5);
  }
}

const adapter = tinyTrainable();
const whole = wholeModel(tinyLoaded());

describe.each([
  ["an adapter", adapter],
  ["the whole model", whole],
])("%s", (_, model) => {
  test("packed rows have the loss and the gradients of the same examples one to a row", async () => {
    const packed = makeBatch(
      [
        [a, b, c],
        [d, e],
      ],
      options,
    );
    const alone = examples.map((one) => makeBatch([[one]], { ...options, length: 16 }));
    const [together, ...parts] = await computeGradients(model, [packed, ...alone]);
    expectClose(together!, sumParts(parts));
  });

  test("comparing tokens within the maxSegment example only changes nothing", async () => {
    const batch = makeBatch(
      [
        [a, b, c],
        [d, e],
      ],
      options,
    );
    const [full] = await computeGradients(model, [batch]);
    const [windowed] = await computeGradients(model, [batch], 14);
    expectClose(full!, windowed!);
  });

  test("neither the order of examples in a row, nor the padding token, nor longer rows matter", async () => {
    const [first, second] = await computeGradients(model, [
      makeBatch(
        [
          [a, b, c],
          [d, e],
        ],
        options,
      ),
      makeBatch(
        [
          [e, c, d],
          [b, a],
        ],
        { length: 40, padToken: 31 },
      ),
    ]);
    expectClose(first!, second!);
  });
});

test("the loss without gradients is that of the training graph", async () => {
  const batch = makeBatch([[a, b], [c]], options);
  await using source = gradientSource(adapter);
  const { loss, targets } = await source.gradients(batch, undefined);
  const evaluated = await source.loss(batch);
  expect(evaluated.targets).toBe(targets);
  expect(evaluated.loss).toBeCloseTo(loss, 3);
});

test("only targets matter: other ids at positions that no target attends to change nothing", async () => {
  const ids = a.ids.slice();
  ids[8] = (ids[8]! + 1) % 48; // no other token attends to the last one
  const labels = a.labels.map((label, i) => (i === 8 ? -100 : label));
  const [first, second] = await computeGradients(adapter, [
    makeBatch([[{ ...a, labels }]], options),
    makeBatch([[{ ...a, labels, ids }]], options),
  ]);
  expect(first!.targets).toBe(labels.filter((label) => label >= 0).length);
  expectClose(first!, second!);
});

describe("the graph itself", () => {
  const { config, weights } = tinyModel();
  const leaves = weightLeaves(config);
  const batch = makeBatch(
    [
      [a, b, c],
      [d, e],
    ],
    options,
  );
  const feeds: Record<string, HostTensor> = {
    ...Object.fromEntries(weights),
    ids: { shape: [2, 32], data: batch.ids },
    positions: { shape: [2, 32], data: batch.positions },
    segments: { shape: [2, 32], data: batch.segments },
    label_indices: { shape: [batch.labelIds.length], data: batch.labelIndices },
    label_ids: { shape: [batch.labelIds.length], data: batch.labelIds },
  };
  const name = "model.layers.0.self_attn.k_proj.weight";
  async function run(chunks: {
    readonly headChunk?: number;
    readonly queryBlock?: number;
    readonly maxSegment?: number;
  }): Promise<BatchGradients> {
    const { maxSegment = 32, ...sizes } = chunks;
    const shape = { rows: 2, length: 32, maxSegment };
    const options = { shape, weights: leaves, linear: plainLinear, ...sizes };
    const { logprobs, misses } = targetLogprobs(config, options);
    const loss = neg(sum(logprobs));
    const [dk, head] = grad(loss, [leaves.get(name)!, leaves.get("lm_head.weight")!]);
    await using program = await compile({ loss, misses, dk: dk!, head: head! });
    const outputs = await program.run(feeds);
    const floats = (key: string) => outputs[key]!.data as Float32Array;
    return {
      loss: floats("loss")[0]!,
      ...counts(batch),
      correct: floats("misses").reduce((count, isMiss) => count + 1 - isMiss, 0),
      gradients: new Map([
        ["dk", floats("dk")],
        ["head", floats("head")],
      ]),
    };
  }

  test("chunks of labels and blocks of queries are a matter of memory only", async () => {
    const usual = await run({});
    const some = [{ headChunk: 5 }, { headChunk: 64, queryBlock: 7 }];
    const more = [{ headChunk: 1 }, { queryBlock: 1 }];
    for (const chunks of runs(2) > 1 ? [...some, ...more] : some) expectClose(usual, await run(chunks));
  });

  test("so is leaving out keys further back than the maxSegment example", async () => {
    const usual = await run({});
    for (const queryBlock of runs(2) > 1 ? [1, 2, 5, 13] : [1, 5])
      expectClose(usual, await run({ queryBlock, maxSegment: 14 }));
    // with less than the maxSegment example something is missing
    expect(Math.abs((await run({ queryBlock: 1, maxSegment: 4 })).loss - usual.loss)).toBeGreaterThan(1e-4);
  });

  test("the loss is that of a literal softmax over a hand-made head", async () => {
    // with a head of zeros every token is equally likely
    const head = { shape: [48, 16], data: new Float32Array(48 * 16) };
    const { logprobs, misses } = targetLogprobs(config, {
      shape: { rows: 2, length: 32 },
      weights: leaves,
      linear: plainLinear,
    });
    await using program = await compile({ logprobs, misses });
    const outputs = await program.run({ ...feeds, "lm_head.weight": head });
    for (const logprob of outputs["logprobs"]!.data) expect(logprob).toBeCloseTo(-Math.log(48), 5);
    expect(outputs["misses"]!.data[0]).toBe(0); // none is likelier than the target
  });
});
