// Tiny models of every family with adapters of every method: one batch of all of them against the forward pass of training.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ExpandedFactors, type FactorMap, METHOD_NAMES, methods } from "#adapters";
import {
  bytesPerPosition,
  createModelRunner,
  type Engine,
  type EngineRequest,
  type ModelRunner,
  mergeAdapter,
  prepareWeights,
  stateBytes,
} from "#inference";
import { largestDifference } from "../largest-difference.ts";
import { TINY_FAMILIES } from "../tiny-families.ts";
import { floatWeights, type TinyModel, tinyModel } from "../tiny-model.ts";
import { trainingLogits } from "../training-logits.ts";
import { memoryAdapters } from "./memory-adapters.ts";
import {
  type Answer,
  collectAnswer,
  randomFactors,
  randomPrompt,
  request,
  type TinyEngineOptions,
  tinyEngine,
} from "./tiny-engine.ts";

/** Above 64, so that caches grow, and above the positions that longrope was trained with. */
const MAX_LENGTH = 80;

/** Slots of a batch: the base alone, and an adapter of each method. */
const SLOTS = [undefined, ...METHOD_NAMES];

/** Adapters of every method by its name, with numbers large enough to change each token. */
const makeAdapters = async (
  model: TinyModel,
): Promise<ReadonlyMap<string, ReadonlyMap<string, ExpandedFactors>>> =>
  new Map(
    await Promise.all(
      METHOD_NAMES.map(
        async (method, i) => [method, await randomFactors(i, methods[method].example, model)] as const,
      ),
    ),
  );

type Answers = readonly Answer[];

function expectClose(actual: readonly Float32Array[] | undefined, expected: readonly Float32Array[]): void {
  expect(actual).toHaveLength(expected.length);
  const worst = Math.max(...expected.map((logits, i) => largestDifference(actual![i]!, logits)));
  expect(worst).toBeLessThan(1e-4);
}

/** Scheduling is the same for all families; caches of these hold windows and states beside plain keys and values. */
const SCHEDULED = new Set(["lfm3", "qwen3_5"]);
/** Merging is the same for all families; these differ in their layers' matrices. */
const MERGED = new Set(["llama", "gemma4", "lfm3", "qwen3_5"]);

describe.each(Object.entries(TINY_FAMILIES))("%s", (family, overrides) => {
  const model = tinyModel({ overrides: { max_position_embeddings: 256, ...overrides } });
  let adapters: Awaited<ReturnType<typeof makeAdapters>>;
  let runner: ModelRunner;
  beforeAll(async () => {
    adapters = await makeAdapters(model);
    runner = await createModelRunner(await prepareWeights(model.config, floatWeights(model.weights)), {
      maxLength: MAX_LENGTH,
    });
  });
  afterAll(() => runner[Symbol.asyncDispose]());

  const adapterAt = (slot: number): FactorMap | undefined => adapters.get(SLOTS[slot] ?? "");

  test("every slot of a batch has the logits that its adapter has in training, past the window's end", async () => {
    const { cache, slots } = runner;
    cache.resize(SLOTS.length, 64);
    slots.resize(SLOTS.length, Math.max(...[...adapters.values()].map(factorRank)));
    for (const slot of SLOTS.keys()) {
      const adapter = adapterAt(slot);
      if (adapter !== undefined) slots.fill(slot, adapter);
    }
    // one beginning for all, so that keys and values of a neighbour would differ by its adapter alone
    const tokens = SLOTS.map((_, slot) => randomPrompt(1, 12 + slot));
    const expected = await Promise.all(
      tokens.map((ids, slot) => trainingLogits(model, ids, adapterAt(slot), MAX_LENGTH)),
    );
    for (const one of expected.slice(1))
      expect(largestDifference(one[11]!, expected[0]![11]!)).toBeGreaterThan(1e-3);
    const found = tokens.map((): Float32Array[] => []);
    // prompts in one step, but for three tokens, two slots at a time (the fused program), and then all slots together
    const steps: readonly (readonly [from: number, count: number, start: number, end: number])[] = [
      [0, SLOTS.length, 0, -3],
      ...SLOTS.map((_, slot) => [slot, 1, -3, -2] as const),
      [0, SLOTS.length, -2, -1],
      [0, SLOTS.length, -1, 100],
    ];
    for (const [from, count, start, end] of steps) {
      const added = tokens.slice(from, from + count).map((ids) => ids.slice(start, end));
      const logits = await runner.run({ from, count, tokens: added, allLogits: start === 0 });
      logits.forEach((ofSlot, i) => {
        found[from + i]!.push(...ofSlot.map((one) => one.slice()));
      });
    }
    for (const slot of SLOTS.keys()) expectClose(found[slot], expected[slot]!);
  });

  test("an adapter that is merged into the base has the logits of training", {
    tags: MERGED.has(family) ? [] : ["thorough"],
  }, async () => {
    const tokens = randomPrompt(1, 20);
    for (const method of ["mos", "tied-lora"] as const) {
      const adapter = adapters.get(method)!;
      const base = await prepareWeights(model.config, floatWeights(model.weights));
      await mergeAdapter(base, adapter);
      await using merged = await createModelRunner(base, { maxLength: MAX_LENGTH, adapters: false });
      merged.cache.resize(1, 64);
      const expected = await trainingLogits(model, tokens, adapter, MAX_LENGTH);
      const step = { from: 0, count: 1, tokens: [tokens.slice(0, 19)], allLogits: true };
      expectClose((await merged.run(step))[0], expected.slice(0, 19));
      expectClose((await merged.run({ ...step, allLogits: false, tokens: [tokens.slice(19)] }))[0], [
        expected[19]!,
      ]);
    }
  });

  test("requests that share prefixes, and that are preempted, are answered as each is alone", {
    tags: SCHEDULED.has(family) ? [] : ["thorough"],
  }, async () => {
    const requests: readonly EngineRequest[] = [...SLOTS, undefined, "lora", "mos"].map((method, i) =>
      request({
        // a message, behind which states are kept
        prompt: [...randomPrompt(40, 31), ...model.config.eosTokens, ...randomPrompt(50 + i, 5)],
        adapter: method ?? null,
        maxTokens: 40,
        ignoreEos: true,
      }),
    );
    const manager = memoryAdapters(adapters);
    const prefilled = async (options: TinyEngineOptions, ask: (engine: Engine) => Promise<Answers>) => {
      await using engine = await tinyEngine(manager, { maxLength: MAX_LENGTH, model, ...options });
      const answers = await ask(engine);
      return { ids: answers.map(({ ids }) => ids), promptTokens: (await engine.stats()).promptTokens };
    };
    const alone = await prefilled({ maxBatch: 1 }, async (engine) => {
      const all: Answer[] = [];
      for (const one of requests) all.push(await collectAnswer(engine.submit(one)));
      return all;
    });
    const together = (engine: Engine) =>
      Promise.all(requests.map((one) => collectAnswer(engine.submit(one))));
    const all = await prefilled({ maxBatch: requests.length }, together);
    expect(all.ids).toEqual(alone.ids);
    const prompts = requests.length * 37;
    // some begin as others of their adapter do
    expect(all.promptTokens).toBeLessThan(prompts);
    const cacheMemory = 3.5 * (128 * bytesPerPosition(model.config) + stateBytes(model.config));
    const preempted = await prefilled({ maxBatch: requests.length, cacheMemory }, together);
    expect(preempted.ids).toEqual(alone.ids);
    expect(preempted.promptTokens).toBeGreaterThan(prompts);
  });
});

const factorRank = (factors: FactorMap): number => Math.max(...[...factors.values()].map(({ rank }) => rank));
