// What an engine says of its requests and its memory.
import { expect, test } from "vitest";
import { memoryAdapters } from "./memory-adapters.ts";
import { collectAnswer, randomPrompt, request, tinyEngine, until } from "./tiny-engine.ts";

test("requests by tenant, prompts that are computed, and the memory of keys and values", async () => {
  await using engine = await tinyEngine(memoryAdapters(new Map()), {
    maxLength: 400,
    maxBatch: 1,
    prefillChunk: 1,
  });
  const empty = await engine.stats();
  expect(empty).toMatchObject({ waitingTenants: {}, prefilling: 0, cache: { bytes: 0, usedBytes: 0 } });
  expect(empty.process).toEqual({ pid: process.pid, bytes: expect.any(Number) });
  const prompt = randomPrompt(1, 200);
  const ask = (tenant: string) =>
    collectAnswer(engine.submit(request({ prompt, tenant, maxTokens: 20, ignoreEos: true })));
  const answers = [ask("acme"), ask("acme"), ask("globex")];
  await until(async () => (await engine.stats()).running === 1);
  const first = await engine.stats();
  expect(first).toMatchObject({ waiting: 2, waitingTenants: { acme: 1, globex: 1 }, prefilling: 1 });
  await Promise.all(answers);
  const { cache, promptTokens, cachedTokens, ...rest } = await engine.stats();
  expect(rest).toMatchObject({ waitingTenants: {}, prefilling: 0 });
  expect(cache.usedBytes).toBeGreaterThan(0);
  expect(cache.bytes).toBeGreaterThanOrEqual(cache.usedBytes);
  expect(cache.limitBytes).toBeGreaterThanOrEqual(cache.bytes);
  // tenants took turns, so that each found the slot with another's tokens
  expect({ promptTokens, cachedTokens }).toEqual({ promptTokens: 600, cachedTokens: 0 });
  const { end } = await ask("acme");
  expect(end.usage.cachedTokens).toBe(199);
  // the last token is not prefilled but decoded
  expect(await engine.stats()).toMatchObject({ promptTokens: 600, cachedTokens: 199 });
});
