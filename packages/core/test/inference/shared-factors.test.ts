// Adapters whose A and B are the base's own: slots share both and differ by a core, beside the base and by themselves; beside other
// adapters they have factors of their own. All give the same.
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Adapter, expandOnHost, type FactorMap } from "#adapters";
import { toLayerShapes } from "#models";
import type { AdapterLease, AdapterManager } from "../../src/inference/adapters/manager.ts";
import { prepareWeights } from "../../src/inference/base-weights.ts";
import { createModelRunner, type ModelRunner } from "../../src/inference/model-runner.ts";
import { AdapterSlots } from "../../src/inference/slots.ts";
import { withFactors } from "../layer-shapes.ts";
import { randomAdapter } from "../random-adapter.ts";
import { floatWeights, tinyModel } from "../tiny-model.ts";
import { memoryAdapters } from "./memory-adapters.ts";
import { collectAnswer, config, randomPrompt, request, tinyEngine, until } from "./tiny-engine.ts";

const model = tinyModel();
const shapes = withFactors(toLayerShapes(model.config));
const make = (seed: number, settings: object = { method: "lora-xs", rank: 4 }): Adapter =>
  randomAdapter({ seed, ...settings }, shapes, { seed, deviation: 0.5, only: "trainable" });
const [one, other] = [make(1), make(2)];
const FORMAT = { rank: 4, shared: "key" };

let runner: ModelRunner;
beforeAll(async () => {
  runner = await createModelRunner(await prepareWeights(model.config, floatWeights(model.weights)), {
    maxLength: 64,
  });
});
afterAll(() => runner[Symbol.asyncDispose]());

/** Logits of three slots, the middle one of which is the base. */
async function logitsOf(fill: (slots: AdapterSlots) => void): Promise<readonly (readonly Float32Array[])[]> {
  runner.cache.resize(0, 0);
  runner.cache.resize(3, 64);
  fill(runner.slots);
  const tokens = [9, 5, 7].map((length, i) => randomPrompt(i, length));
  const found = await runner.run({ from: 0, count: 3, tokens, allLogits: true });
  const next = await runner.run({ from: 1, count: 2, tokens: [[3], [4]] });
  return [...found, ...next].map((rows) => rows.map((row) => row.slice()));
}

test("a batch of cores has the logits of the same adapters with factors of their own", async () => {
  const expected = await logitsOf((slots) => {
    slots.resize(3, 4);
    slots.fill(0, expandOnHost(one));
    slots.fill(2, expandOnHost(other));
  });
  const found = await logitsOf((slots) => {
    slots.resize(3, 4, FORMAT);
    slots.fill(2, expandOnHost(one, { asProducts: true }));
    slots.fill(1, expandOnHost(other, { asProducts: true }));
    slots.move(2, 0);
    slots.move(1, 2);
    slots.clear(1);
  });
  expect(found.map((rows) => rows.length)).toEqual([9, 5, 7, 1, 1]);
  for (const [i, rows] of expected.entries())
    for (const [j, row] of rows.entries())
      for (const [k, x] of row.entries()) expect(Math.abs(x - found[i]![j]![k]!)).toBeLessThan(1e-4);
  expect(Math.abs(expected[0]![8]![0]! - expected[2]![6]![0]!)).toBeGreaterThan(1e-3);
});

test("a base whose file is given up is there for the program of shared factors, which is compiled later", async () => {
  const overrides = { head_dim: 8, hidden_size: 32, intermediate_size: 48 };
  const { config: wide, weights } = tinyModel({ overrides });
  const adapter = randomAdapter({ method: "lora-xs", rank: 4 }, withFactors(toLayerShapes(wide)), {
    seed: 1,
  });
  const base = await prepareWeights(wide, floatWeights(weights), { computeDtype: "int8" });
  await using packed = await createModelRunner(base, { maxLength: 64 });
  await base[Symbol.asyncDispose]();
  packed.cache.resize(1, 64);
  packed.slots.resize(1, 4, FORMAT);
  packed.slots.fill(0, expandOnHost(adapter, { asProducts: true }));
  const [[logits] = []] = await packed.run({ from: 0, count: 1, tokens: [[1, 2, 3]] });
  expect(logits).toHaveLength(wide.vocabularySize);
});

test("more slots of a shared format fit, and only adapters of its rank and key", async () => {
  const slots = new AdapterSlots(model.config);
  slots.resize(5, 4, FORMAT);
  const modules = 7 * model.config.layers;
  expect(slots.bytes).toBe(4 * slots.bytesPerRank + 5 * modules * 16 * 4);
  expect(slots.slotsIn(slots.bytes, FORMAT)).toBe(5);
  expect(slots.slotsIn(slots.bytes, { rank: 4 })).toBe(Math.floor(slots.bytes / (4 * slots.bytesPerRank)));
  expect(slots.holds(FORMAT)).toBe(true);
  for (const format of [{ rank: 4 }, { ...FORMAT, rank: 3 }, { ...FORMAT, shared: "another" }])
    expect(slots.holds(format)).toBe(false);
});

test("requests of all kinds get the answers that each gets alone, in every order of arrival", async () => {
  const engineShapes = withFactors(toLayerShapes(config));
  const adapters = new Map(
    [
      ["xs 1", { method: "lora-xs", rank: 4, seed: 1 }],
      ["xs 2", { method: "lora-xs", rank: 4, seed: 2 }],
      ["xs 3", { method: "lora-xs", rank: 3, seed: 3 }],
      ["lora", { method: "lora", rank: 5, seed: 4 }],
    ].map(([name, settings]) => [
      name as string,
      randomAdapter(settings, engineShapes, { seed: (settings as { seed: number }).seed, only: "trainable" }),
    ]),
  );
  const plain = new Map([...adapters].map(([name, adapter]) => [name, expandOnHost(adapter)]));
  const formats = new Set<string | undefined>();
  /** The manager with leases that share factors, as that of a folder gives them. */
  const sharing = (inner: AdapterManager): AdapterManager => ({
    ...inner,
    async acquire(name): Promise<AdapterLease> {
      const lease = await inner.acquire(name);
      const adapter = adapters.get(name)!;
      if (adapter.config.method !== "lora-xs") return lease;
      const expand = (): FactorMap => expandOnHost(adapter, { asProducts: true });
      return { ...lease, shared: { key: String(adapter.config.rank), expand } };
    },
  });
  const requests = ["xs 1", null, "xs 2", "xs 1", "lora", "xs 3", null, "xs 2", "xs 3", "lora"].map(
    (adapter, i) => request({ adapter, prompt: randomPrompt(i, 3 + (i % 4)), maxTokens: 4 + (i % 5) }),
  );
  const ask = async (chosen: typeof requests, isShared: boolean, maxBatch: number) => {
    const manager = memoryAdapters(plain);
    const wrap = (made: ModelRunner): ModelRunner => ({
      ...made,
      run(step) {
        formats.add(made.slots.shared);
        return made.run(step);
      },
    });
    await using engine = await tinyEngine(isShared ? sharing(manager) : manager, {
      maxLength: 64,
      maxBatch,
      wrap,
    });
    const answers = await Promise.all(chosen.map((given) => collectAnswer(engine.submit(given))));
    await until(() => manager.leases() === 0);
    return answers.map(({ ids }) => ids);
  };
  const expected = await ask(requests, false, 1);
  expect([...formats]).toEqual([undefined]);
  for (const maxBatch of [1, 2, 4]) expect(await ask(requests, true, maxBatch)).toEqual(expected);
  expect(await ask(requests.toReversed(), true, 3)).toEqual(expected.toReversed());
  expect(formats).toEqual(new Set([undefined, "4", "3"]));
});
