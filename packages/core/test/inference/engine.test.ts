import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { randomStream } from "#common";
import type { Engine, EngineRequest } from "#inference";
import { type MemoryAdapters, memoryAdapters } from "./memory-adapters.ts";
import { collectAnswer, config, randomFactors, request, tinyEngine } from "./tiny-engine.ts";

const adapters = new Map([
  ["lora", await randomFactors(1, { method: "lora", rank: 3 })],
  ["mos", await randomFactors(2, { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2 })],
  ["vera", await randomFactors(3, { method: "vera", rank: 4 })],
  ["small", await randomFactors(4, { method: "lora", rank: 1, targets: ["q_proj", "down_proj"] })],
]);
const names = [null, ...adapters.keys()];

async function withEngine<T>(
  work: (engine: Engine, manager: MemoryAdapters) => Promise<T>,
  options: Parameters<typeof tinyEngine>[1] & { readonly load?: (name: string) => Promise<unknown> } = {},
): Promise<T> {
  const { load, ...limits } = options;
  const manager = memoryAdapters(adapters, load);
  await using engine = await tinyEngine(manager, limits);
  const result = await work(engine, manager);
  expect(manager.leases(), "leases that were not released").toBe(0);
  return result;
}

/** Requests of several lengths with every adapter and none. */
const requests: readonly EngineRequest[] = Array.from({ length: 20 }, (_, i) => {
  const random = randomStream(i, "request");
  return request({
    prompt: Array.from({ length: 1 + random.below(20) }, () => random.below(config.vocabularySize)),
    adapter: names[i % names.length] ?? null,
    maxTokens: 1 + random.below(12),
    ignoreEos: i % 2 === 0,
    seed: i,
    ...(i % 3 === 0 ? { sampling: { temperature: 0.8, topP: 0.9 } } : {}),
  });
});

const alone = await withEngine(
  async (engine) => {
    const answers = [];
    for (const one of requests) answers.push(await collectAnswer(engine.submit(one)));
    return answers;
  },
  { maxBatch: 1 },
);

describe("requests side by side get the answers that each gets alone", () => {
  test.each([
    ["four slots", {}],
    ["sixteen slots", { maxBatch: 16 }],
    ["adapters that load slowly", { load: (name: string) => sleep(name.length) }],
    ["memory for two slots of 64 positions", { cacheMemory: 2 * 64 * 256 }],
    ["chunks of one token", { prefillChunk: 1, lonePrefillChunk: 1 }],
  ])("%s", async (_, limits) => {
    const answers = await withEngine(
      (engine) => Promise.all(requests.map((one) => collectAnswer(engine.submit(one)))),
      limits,
    );
    answers.forEach((answer, i) => {
      expect(answer.ids, `request ${i}`).toEqual(alone[i]?.ids);
      expect(answer.end.finishReason).toBe(alone[i]?.end.finishReason);
      expect(answer.text).toBe(alone[i]?.text);
    });
  });

  test("usage counts the tokens of a prompt that the prefix cache had", () =>
    withEngine(async (engine) => {
      const prompt = Array.from({ length: 40 }, (_, i) => i + 3);
      const countCached = async (over: Partial<EngineRequest>) =>
        (await collectAnswer(engine.submit(request({ prompt, ...over })))).end.usage.cachedTokens;
      expect(await countCached({})).toBe(0);
      expect(await countCached({})).toBe(39);
      expect(await countCached({ prompt: [...prompt.slice(0, 35), 1, 2] })).toBe(35);
      expect(await countCached({ promptLogprobs: 0 }), "scores need every position").toBe(0);
      expect(await countCached({ tenant: "other" })).toBe(0);
    }));

  test("answers differ between adapters", () => {
    const prompts = names.map((adapter) => request({ adapter, maxTokens: 12, ignoreEos: true }));
    return withEngine(async (engine) => {
      const answers = await Promise.all(prompts.map((one) => collectAnswer(engine.submit(one))));
      expect(new Set(answers.map(({ text }) => text)).size).toBe(names.length);
    });
  });
});
