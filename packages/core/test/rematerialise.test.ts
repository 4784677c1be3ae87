import { describe, expect, test } from "vitest";
import { METHOD_NAMES, methods } from "#adapters";
import { makeBatch } from "#data";
import {
  type BatchGradients,
  gradientSource,
  type Rematerialise,
  type TrainableModel,
  wholeModel,
} from "#training";
import { randomExamples, tinyLoaded, tinyTrainable } from "./tiny-training.ts";

const [a, b, c, d, e] = randomExamples([9, 5, 14, 3, 2]) as [never, never, never, never, never];
const batch = makeBatch(
  [
    [a, b, c],
    [d, e],
  ],
  { length: 32, padToken: 0 },
);

async function computeGradients(
  model: TrainableModel,
  rematerialise: Rematerialise,
): Promise<BatchGradients> {
  await using source = gradientSource(model, { rematerialise });
  const masks = (length: number) => Float32Array.from({ length }, (_, i) => (i % 7 === 0 ? 0 : 7 / 6));
  const found = await source.gradients(batch, masks);
  return { ...found, gradients: new Map([...found.gradients].map(([name, g]) => [name, g.slice()])) };
}

const expectSame = (left: BatchGradients, right: BatchGradients): void => {
  expect(right.loss).toBe(left.loss);
  for (const [name, g] of left.gradients) {
    expect(
      g.some((x) => x !== 0),
      name,
    ).toBe(true);
    expect(right.gradients.get(name), name).toEqual(g);
  }
};

/** Whose factors of all layers come of the same tensors. */
const FAST = new Set(["mos", "tied-lora", "uni-lora"]);

describe("computing the layers again in the backward pass gives the same gradients, to the bit", () => {
  for (const method of METHOD_NAMES)
    test(`${method}, packed rows with dropout`, { tags: FAST.has(method) ? [] : ["thorough"] }, async () => {
      const model = tinyTrainable({ ...methods[method].example, dropout: 1 / 7 });
      expectSame(await computeGradients(model, "none"), await computeGradients(model, "layers"));
    });

  test("attention with windows and a soft cap", async () => {
    const loaded = tinyLoaded();
    const window = { size: 3, layers: [true, false] };
    const model = wholeModel({ ...loaded, config: { ...loaded.config, window, attentionSoftCap: 0.5 } });
    expectSame(await computeGradients(model, "none"), await computeGradients(model, "layers"));
  });

  test("all weights of four layers", async () => {
    const model = wholeModel(tinyLoaded({ overrides: { num_hidden_layers: 4 } }));
    expectSame(await computeGradients(model, "none"), await computeGradients(model, "layers"));
  });
});
