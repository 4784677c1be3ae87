// Every objective with every adapter method, on a tiny model: gradients against central differences of the loss, and rewards
// before the first update, where policy and reference are the same.
import { describe, expect, test } from "vitest";
import { createAdapter, METHOD_NAMES, methods, parseAdapterConfig } from "#adapters";
import { parseSettings, randomStream } from "#common";
import { type Batch, type EncodedExample, makeBatch } from "#data";
import { toLayerShapes } from "#models";
import {
  adapterModel,
  averageMetrics,
  finetuneSettings,
  gradientSource,
  OBJECTIVES,
  type ObjectiveName,
  objectiveSettings,
} from "#training";
import { withFactors } from "./layer-shapes.ts";
import { randomAdapter } from "./random-adapter.ts";
import { randomExamples, tinyLoaded, withHint } from "./tiny-training.ts";

const loaded = tinyLoaded();
const shapes = withFactors(toLayerShapes(loaded.config));

/** Pairs, or single answers, perhaps with hints. */
function encode(data: (typeof OBJECTIVES)[ObjectiveName]["data"]): readonly EncodedExample[] {
  const single = randomExamples([9, 6, 12, 7, 11, 8]).map((one, i) => {
    const filled = (value: number) => new Float32Array(one.targetTokens).fill(value);
    return { ...one, columns: { desirable: filled(i % 2), advantage: filled(i % 2 === 0 ? 1.2 : -0.8) } };
  });
  if (data === "hinted") return single.map((one, i) => withHint(one, i + 1));
  if (data !== "pairs") return single;
  return [0, 2, 4].map((k) => {
    const [chosen, rejected] = [single[k], single[k + 1]] as [EncodedExample, EncodedExample];
    return {
      ...chosen,
      ids: Int32Array.of(...chosen.ids, ...rejected.ids),
      labels: Int32Array.of(...chosen.labels, ...rejected.labels),
      targetTokens: chosen.targetTokens + rejected.targetTokens,
      sequences: [chosen.ids.length, rejected.ids.length],
      columns: {},
    };
  });
}

const inRows = (examples: readonly EncodedExample[]): Batch =>
  makeBatch(
    examples.map((one) => [one]),
    { length: 24, padToken: 0 },
  );

/** The objective's batch for an adapter that is trained from another, with all columns that an objective may need. */
async function prepare(name: ObjectiveName, trained: ReturnType<typeof randomAdapter>, initial = trained) {
  const kind = OBJECTIVES[name];
  const objective = kind.create(parseSettings({ ...finetuneSettings, ...objectiveSettings }, {}));
  const model = adapterModel(loaded, trained);
  const reference = new Map(
    [...adapterModel(loaded, initial).parameters].map(([key, { shape, data }]) => [
      key,
      { shape, data: data.slice() },
    ]),
  );
  const source = gradientSource(model, { objective, reference });
  const examples = encode(kind.data).map(kind.prepare ?? ((one) => one));
  const batch = inRows(examples);
  // ratios of the sampler's probabilities of 1, and far enough from where they are clipped on both sides
  const old = (await source.logprobs(batch)).map((x, i) => x + 0.35 * ((i % 3) - 1));
  const columns = { ...batch.columns, old, reference: await source.logprobs(batch, reference) };
  return { source, model, batch: { ...batch, columns } };
}

/** All objectives with one method, and one with two others: the rest show what these show. */
const isThorough = (method: string, name: string): boolean =>
  method !== "mos" && !(name === "dpo" && ["tied-lora", "lora-xs"].includes(method));

const NAMES = (Object.keys(OBJECTIVES) as ObjectiveName[]).filter((name) => name !== "sft");

describe.each(METHOD_NAMES)("%s", (method) => {
  const config = parseAdapterConfig(methods[method].example);
  for (const name of NAMES)
    test(`${name}: the gradient is that of the loss`, {
      tags: isThorough(method, name) ? ["thorough"] : [],
    }, async () => {
      const adapter = randomAdapter(config, shapes, { seed: 7, deviation: 0.1 });
      const { source: made, model, batch } = await prepare(name, adapter, createAdapter(config, shapes));
      await using source = made;
      const { gradients, loss } = await source.gradients(batch, undefined);
      const random = randomStream(5, `${method} ${name}`);
      const numbers = [...model.parameters].map(([key, { data }]) => ({
        data,
        kept: data.slice(),
        gradient: gradients.get(key) ?? new Float32Array(data.length),
        direction: data.map(() => random.uniform() - 0.5),
      }));
      const at = async (step: number) => {
        for (const { data, kept, direction } of numbers)
          data.set(kept.map((x, i) => x + step * (direction[i] as number)));
        return (await source.loss(batch)).loss;
      };
      const slope = numbers.reduce(
        (sum, { gradient, direction }) =>
          sum + gradient.reduce((part, g, i) => part + g * (direction[i] as number), 0),
        0,
      );
      const step = 2 ** -10;
      const numeric = ((await at(step)) - (await at(-step))) / (2 * step);
      expect(Math.abs(slope - numeric)).toBeLessThan(2e-3 * Math.max(1, Math.abs(numeric), Math.abs(loss)));
    });

  const tags = method === "mos" || method === "lora-xs" ? [] : ["thorough"];
  test("rewards are 0 before the first update", { tags }, async () => {
    const adapter = createAdapter(config, shapes);
    for (const name of ["dpo", "kto"] as const) {
      const { source: made, batch } = await prepare(name, adapter);
      await using source = made;
      const metrics = averageMetrics((await source.gradients(batch, undefined)).metrics) ?? {};
      for (const reward of ["rewards/chosen", "rewards/rejected", "rewards/margins"])
        expect(metrics[reward], `${name} ${reward}`).toBe(0);
    }
  });
});
