// Gradients of a tiny model of any family, by every method, with windows that are shorter than its examples.
import { describe, expect, test } from "vitest";
import { METHOD_NAMES, type MethodName, methods } from "#adapters";
import { type Batch, makeBatch } from "#data";
import {
  type BatchGradients,
  type GradientSourceOptions,
  gradientSource,
  type TrainableModel,
} from "#training";
import { TINY_FAMILIES } from "./tiny-families.ts";
import type { TinyModelOptions } from "./tiny-model.ts";
import { randomExamples, tinyTrainable } from "./tiny-training.ts";

const [a, b, c, d] = randomExamples([9, 21, 14, 3]) as [never, never, never, never];
const rows = (list: Parameters<typeof makeBatch>[0], length: number) =>
  makeBatch(list, { length, padToken: 0 });
const packed = rows([[a, b], [c, d]], 32); // biome-ignore format: as rows lie
const MAX_SEGMENT = 21;

const copied = (found: BatchGradients): BatchGradients => ({
  ...found,
  gradients: new Map([...found.gradients].map(([name, g]) => [name, g.slice()])),
});

async function computeGradients(
  model: TrainableModel,
  batches: readonly Batch[],
  options: GradientSourceOptions = {},
): Promise<readonly BatchGradients[]> {
  await using source = gradientSource(model, { maxSegment: MAX_SEGMENT, ...options });
  const all: BatchGradients[] = [];
  for (const batch of batches) all.push(copied(await source.gradients(batch, undefined)));
  return all;
}

/** The largest difference of all gradients by the largest number of each. */
function expectClose(found: BatchGradients, expected: readonly BatchGradients[]): void {
  const sum = (f: (one: BatchGradients) => number) => expected.reduce((total, one) => total + f(one), 0);
  expect(Math.abs(found.loss / sum(({ loss }) => loss) - 1)).toBeLessThan(1e-5);
  for (const [name, g] of found.gradients) {
    const other = g.map((_, i) => sum(({ gradients }) => gradients.get(name)![i]!));
    const size = other.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
    expect(size, name).toBeGreaterThan(0);
    const worst = g.reduce((most, x, i) => Math.max(most, Math.abs(x - other[i]!)), 0);
    expect(worst / size, name).toBeLessThan(1e-4);
  }
}

/** Central differences of the loss by one number, extrapolated to a step of 0. Where the loss is steep it bends, too. */
async function numericGradient(
  lossAt: (change: number) => Promise<number>,
  steepness: number,
): Promise<number> {
  const unit = 1 / Math.max(1, steepness / 4);
  const slope = async (step: number): Promise<number> =>
    ((await lossAt(step)) - (await lossAt(-step))) / (2 * step);
  return (4 * (await slope(unit * 2 ** -9)) - (await slope(unit * 2 ** -8))) / 3;
}

/** The largest number of every fourth gradient, against differences. */
async function expectDifferences(model: TrainableModel, { gradients }: BatchGradients): Promise<void> {
  await using source = gradientSource(model, { maxSegment: MAX_SEGMENT });
  for (const [name, g] of [...gradients].filter((_, i) => i % 4 === 0)) {
    const at = g.reduce((best, x, i) => (Math.abs(x) > Math.abs(g[best]!) ? i : best), 0);
    const { data } = model.parameters.get(name)!;
    const kept = data[at]!;
    const numeric = await numericGradient(async (change) => {
      data[at] = kept + change;
      return (await source.loss(packed)).loss;
    }, Math.abs(g[at]!));
    data[at] = kept;
    const difference = Math.abs(g[at]! - numeric);
    expect(difference, `${name}: ${g[at]} for ${numeric}`).toBeLessThan(2e-2 + 1e-2 * Math.abs(numeric));
  }
}

/** Gradients of packed rows are those of each example alone, of layers computed again, and of finite differences. */
async function expectGradients(
  method: MethodName,
  overrides: TinyModelOptions["overrides"] = {},
): Promise<void> {
  // small numbers, so that differences see little of higher derivatives
  const model = tinyTrainable({ ...methods[method].example, dropout: 0 }, { overrides, deviation: 0.05 });
  const [together] = await computeGradients(model, [packed]);
  const alone = await computeGradients(model, [rows([[a], [c]], 14), rows([[b]], 21), rows([[d]], 3)]);
  expectClose(together!, alone);
  expect(await computeGradients(model, [packed], { rematerialise: "layers" })).toEqual([together]);
  await expectDifferences(model, together!);
}

describe.each(Object.entries(TINY_FAMILIES))("%s has the right gradients of", (_, overrides) => {
  test.each(METHOD_NAMES)("%s", (method) => expectGradients(method, overrides));
});
