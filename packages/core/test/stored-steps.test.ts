// A whole step on a base that is not float32, against the same step on the numbers that it stands for.

import { grad, leaf, neg, sum } from "mixture-of-shards-graph";
import type { WeightFormat } from "mixture-of-shards-graph/common";
import { beforeAll, describe, expect, test } from "vitest";
import { METHOD_NAMES, methods } from "#adapters";
import { makeBatch } from "#data";
import { floatWeight, type LoadedModel, toLayerShapes, type Weight } from "#models";
import {
  adapterModel,
  type BatchGradients,
  type GradientSourceOptions,
  gradientSource,
  type TrainableModel,
  targetLogprobs,
} from "#training";
import { type Node, sortNodes } from "../../graph/src/value.ts";
import { withFactors } from "./layer-shapes.ts";
import { randomAdapter } from "./random-adapter.ts";
import { expand, FORMS, randomWeight } from "./stored-weights.ts";
import { randomExamples, tinyLoaded } from "./tiny-training.ts";

const [a, b, c, d, e] = randomExamples([9, 5, 14, 3, 2]) as [never, never, never, never, never];
const packed = makeBatch(
  [
    [a, b, c],
    [d, e],
  ],
  { length: 32, padToken: 0 },
);

// widths that blocks of 64 divide
const plain = tinyLoaded({
  overrides: { hidden_size: 64, intermediate_size: 128, head_dim: 16, vocab_size: 49 },
});

/** The tiny model with matrices of this form, and the same with their numbers in float32. Int8 is for linear layers only. */
function makeBases(format: WeightFormat): readonly [LoadedModel, LoadedModel] {
  const stored = new Map<string, Weight>();
  const expanded = new Map<string, Weight>();
  for (const [name, weight] of plain.weights) {
    const isStored = format.kind === "int8rows" ? name.includes("_proj.") : weight.shape.length > 1;
    const one = isStored ? randomWeight(format, weight.shape, name) : undefined;
    stored.set(name, one ?? weight);
    expanded.set(name, one === undefined ? weight : floatWeight(weight.shape, expand(one)));
  }
  return [
    { ...plain, weights: stored },
    { ...plain, weights: expanded },
  ];
}

const withMethod = (
  base: LoadedModel,
  method: (typeof METHOD_NAMES)[number],
  deviation = 0.2,
): TrainableModel =>
  adapterModel(
    base,
    randomAdapter({ ...methods[method].example, dropout: 1 / 7 }, withFactors(toLayerShapes(base.config)), {
      seed: 7,
      deviation,
    }),
  );

async function computeGradients(
  model: TrainableModel,
  options: GradientSourceOptions = {},
): Promise<BatchGradients> {
  await using source = gradientSource(model, options);
  const masks = (length: number) => Float32Array.from({ length }, (_, i) => (i % 7 === 0 ? 0 : 7 / 6));
  const found = await source.gradients(packed, masks);
  return { ...found, gradients: new Map([...found.gradients].map(([name, g]) => [name, g.slice()])) };
}

/** The largest difference of each gradient by its largest number. */
function expectClose(found: BatchGradients, expected: BatchGradients, tolerance: number): void {
  expect(Math.abs(found.loss / expected.loss - 1)).toBeLessThan(tolerance);
  for (const [name, g] of expected.gradients) {
    const other = found.gradients.get(name)!;
    const size = g.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    expect(size, name).toBeGreaterThan(0);
    const worst = g.reduce((most, x, i) => Math.max(most, Math.abs(x - other[i]!)), 0);
    expect(worst / size, name).toBeLessThan(tolerance);
  }
}

/** Of halves, of 4 bits and of 8; what the others decode to is in stored-weights.test.ts. */
const STEPPED = new Set(["bfloat16", "4 bits, offsets, halves (Q4_1)", "8 bits, halves (Q8_0)"]);

describe.each(Object.entries(FORMS))("on a base stored as %s", (form, format) => {
  const tags = STEPPED.has(form) ? [] : ["thorough"];
  test("packed rows with dropout have the loss and the gradients of its float32 numbers", {
    tags,
  }, async () => {
    const [stored, expanded] = makeBases(format);
    const expected = await computeGradients(withMethod(expanded, "mos"));
    const found = await computeGradients(withMethod(stored, "mos"));
    expectClose(found, expected, 1e-4);
    const again = await computeGradients(withMethod(stored, "mos"), { rematerialise: "layers" });
    expect(again).toEqual(found);
  });
});

describe("on a base of 4 bits", () => {
  const [stored, expanded] = makeBases(FORMS["4 bits, offsets, halves (Q4_1)"]!);
  const expectSame = async (method: (typeof METHOD_NAMES)[number]): Promise<void> =>
    expectClose(
      await computeGradients(withMethod(stored, method)),
      await computeGradients(withMethod(expanded, method)),
      1e-4,
    );
  for (const method of METHOD_NAMES) {
    const tags = method === "mos" || method === "lora" ? [] : ["thorough"];
    test(`${method} has the gradients of its float32 numbers`, { tags }, () => expectSame(method));
  }
});

test("a matrix is dequantised when the other operand of its product is there, and again in the backward pass", () => {
  const [base] = makeBases(FORMS["4 bits, offsets, halves (Q4_1)"]!);
  const model = withMethod(base, "lora");
  const shape = { rows: 2, length: 32 };
  const mask = leaf("masks", [model.maskBufferLength(shape)]);
  const { logprobs } = targetLogprobs(base.config, {
    shape,
    weights: model.weights,
    linear: model.linear(shape, mask),
  });
  const loss = neg(sum(logprobs));
  const nodes = sortNodes([loss, ...grad(loss, [...model.trainable.values()])]);
  const forward = new Set(sortNodes([loss]));
  /** All nodes that depend on some of these. */
  const behind = (roots: readonly Node[]): ReadonlySet<Node> => {
    const found = new Set(roots);
    for (const node of nodes)
      if (node.inputs.some((x) => x?.source.kind === "output" && found.has(x.source.node))) found.add(node);
    return found;
  };
  const reads = (name: string) => (node: Node) =>
    node.inputs.some((x) => x?.source.kind === "leaf" && x.source.name === name);
  const behindInput = behind(nodes.filter(reads("ids")));
  const behindLoss = behind(nodes.filter((node) => node.op === "ScatterElements" && !forward.has(node)));
  // one without an axis makes numbers of codes, of the rows of tokens
  const dequantised = nodes.filter(({ op, attributes }) => op === "DequantizeLinear" && "axis" in attributes);
  // the embedding, 14 matrices and the head; backwards all but those of the first layer that only reach the embedding
  expect(dequantised.filter((node) => forward.has(node))).toHaveLength(16);
  expect(dequantised.filter((node) => !forward.has(node)).length).toBeGreaterThanOrEqual(11);
  for (const node of dequantised)
    expect((forward.has(node) ? behindInput : behindLoss).has(node), node.op).toBe(true);
});

describe("with products in int8", () => {
  const [stored, expanded] = makeBases({ kind: "int8rows", transposed: false });
  let found: BatchGradients;
  beforeAll(async () => {
    found = await computeGradients(withMethod(stored, "mos", 0.02));
  });

  test("loss and gradients are near those of the numbers that the codes stand for", async () => {
    const expected = await computeGradients(withMethod(expanded, "mos", 0.02));
    expect(Math.abs(found.loss / expected.loss - 1)).toBeLessThan(0.01);
    const all = ({ gradients }: BatchGradients) => [...gradients.values()].flatMap((g) => [...g]);
    const other = all(found);
    const norm = (xs: readonly number[]) => Math.hypot(...xs);
    const difference = norm(all(expected).map((x, i) => x - other[i]!));
    expect(difference / norm(all(expected))).toBeLessThan(0.05);
  });

  test("a step has the same bytes each time, layers computed again or not", async () => {
    expect(await computeGradients(withMethod(stored, "mos", 0.02))).toEqual(found);
    expect(await computeGradients(withMethod(stored, "mos", 0.02), { rematerialise: "layers" })).toEqual(
      found,
    );
  });
});
