// More tokens than the cache has places for: the youngest rows wait again, and nobody sees it in an answer.
import { describe, expect, test } from "vitest";
import type { Engine, EngineRequest } from "#inference";
import { memoryAdapters } from "./memory-adapters.ts";
import { type Answer, answerOf, promptOf, randomFactors, request, tinyEngine } from "./tiny-engine.ts";

const adapters = new Map([
  ["lora", await randomFactors(1, { method: "lora", rank: 3 })],
  ["vera", await randomFactors(3, { method: "vera", rank: 4 })],
]);
const PLACE = 256; // bytes of keys and values of a token

const requests: readonly EngineRequest[] = Array.from({ length: 6 }, (_, i) =>
  request({
    prompt: promptOf(i, 5 + 3 * i),
    adapter: [null, "lora", "vera"][i % 3] ?? null,
    maxTokens: 90 + i,
    ignoreEos: true,
    seed: i,
    logprobs: 2,
    ...(i % 2 === 0 ? { sampling: { temperature: 1 } } : {}),
  }),
);

async function answersOf(
  limits: Parameters<typeof tinyEngine>[1],
  send: (engine: Engine) => Promise<readonly Answer[]>,
): Promise<{ readonly answers: readonly Answer[]; readonly promptTokens: number }> {
  const manager = memoryAdapters(adapters);
  await using engine = await tinyEngine(manager, { maxLength: 400, ...limits });
  const answers = await send(engine);
  expect(manager.leases()).toBe(0);
  return { answers, promptTokens: (await engine.stats()).promptTokens };
}

const together = (all: readonly EngineRequest[]) => (engine: Engine) =>
  Promise.all(all.map((one) => answerOf(engine.submit(one))));

async function oneByOne(engine: Engine): Promise<readonly Answer[]> {
  const answers = [];
  for (const one of requests) answers.push(await answerOf(engine.submit(one)));
  return answers;
}

const alone = await answersOf({ maxBatch: 1 }, oneByOne);
const read = requests.reduce((sum, { prompt }) => sum + prompt.length, 0);

describe("rows that lose their place go on as if nothing had been:", () => {
  test.each([
    ["memory for two long rows", 2 * 128 * PLACE],
    ["memory for one long row", 128 * PLACE],
    ["memory for three and a half", 450 * PLACE],
  ])("%s", async (_, cacheMemory) => {
    const { answers, promptTokens } = await answersOf({ cacheMemory }, together(requests));
    // all of them had rows of 64 places, so some had to go and be read again
    if (cacheMemory !== 128 * PLACE) expect(promptTokens).toBeGreaterThan(read);
    answers.forEach((answer, i) => {
      expect(answer.ids, `request ${i}`).toEqual(alone.answers[i]?.ids);
      expect(answer.text).toBe(alone.answers[i]?.text);
      expect(answer.events.filter(({ type }) => type === "scheduled")).toHaveLength(1);
      expect(answer.events.at(-1)).toMatchObject({ type: "finish", usage: { completionTokens: 90 + i } });
      expect(answer.events).toHaveLength(92 + i);
    });
  });
});

test("a prompt that loses its row while it is scored has every token's score once", async () => {
  const long = request({ prompt: promptOf(7, 60), maxTokens: 200, ignoreEos: true });
  const scored = request({ prompt: promptOf(8, 180), maxTokens: 2, promptLogprobs: 1 });
  const undisturbed = await answersOf({ maxBatch: 1 }, together([scored]));
  const { answers, promptTokens } = await answersOf(
    { cacheMemory: 2 * 192 * PLACE, prefillChunk: 1 },
    together([long, scored]),
  );
  expect(promptTokens, "it was read in one go").toBeGreaterThan(60 + 180 + 50);
  const scores = (answer: Answer | undefined) =>
    answer?.events.flatMap((event) => (event.type === "prompt" ? event.logprobs : [])) ?? [];
  const expected = scores(undisturbed.answers[0]);
  expect(expected).toHaveLength(180);
  expect(scores(answers[1]).map(({ id }) => id)).toEqual(scored.prompt);
  scores(answers[1]).forEach(({ logprob }, i) => {
    expect(logprob ?? 0).toBeCloseTo(expected[i]?.logprob ?? 0, 4);
  });
  expect(answers[1]?.ids).toEqual(undisturbed.answers[0]?.ids);
});

describe("prompts that begin alike and run at once", () => {
  const beginning = promptOf(30, 90);
  const asked = (adapter: string | null, seed: number) =>
    request({ prompt: [...beginning, ...promptOf(seed, 7)], adapter, maxTokens: 9, ignoreEos: true });

  test("are read once, and answered as if each were alone", async () => {
    const requests = [asked(null, 1), asked(null, 2), asked("lora", 3), asked("lora", 4), asked(null, 2)];
    await using engine = await tinyEngine(memoryAdapters(adapters), { maxBatch: 5, maxLength: 200 });
    const answers = await Promise.all(requests.map((one) => answerOf(engine.submit(one))));
    const { promptTokens } = await engine.stats();
    for (const [i, one] of requests.entries()) {
      const alone = await answersOf({ maxBatch: 1, maxLength: 200 }, together([one]));
      expect(answers[i]?.ids).toEqual(alone.answers[0]?.ids);
    }
    // two beginnings, and the rest of five prompts, whose last tokens the first step of the answer reads
    expect(promptTokens).toBeLessThanOrEqual(2 * 90 + 5 * 7);
  });
});

describe("a prompt that begins as an earlier one", () => {
  const first = request({ prompt: promptOf(20, 40), maxTokens: 10, ignoreEos: true });
  const second = request({ prompt: [...first.prompt.slice(0, 30), ...promptOf(21, 7)] });

  async function readFor(one: EngineRequest, after: readonly EngineRequest[]): Promise<number> {
    await using engine = await tinyEngine(memoryAdapters(adapters), { maxBatch: 2, maxLength: 200 });
    for (const earlier of after) await answerOf(engine.submit(earlier));
    const { promptTokens } = await engine.stats();
    const answer = await answerOf(engine.submit(one));
    const fresh = await answersOf({ maxBatch: 1 }, together([one]));
    expect(answer.ids).toEqual(fresh.answers[0]?.ids);
    return (await engine.stats()).promptTokens - promptTokens;
  }

  // the last token is read by the step that writes the first of the answer
  test("is read from where they part", async () => {
    expect(await readFor(second, [])).toBe(37);
    expect(await readFor(second, [first])).toBe(7);
  });

  test("is read whole where the adapter is another", async () => {
    const other = { ...second, adapter: "lora" };
    expect(await readFor(other, [first])).toBe(37);
    expect(await readFor(second, [{ ...first, adapter: "lora" }])).toBe(37);
    expect(await readFor(other, [{ ...first, adapter: "lora" }])).toBe(7);
  });

  test("and goes on with its answer is read from there", async () => {
    const [answer] = (await answersOf({}, together([first]))).answers;
    const ids = answer?.ids ?? [];
    expect(await readFor(request({ prompt: [...first.prompt, ...ids, 3, 4] }), [first])).toBe(3);
  });

  test("is read whole where the other was another tenant's", async () => {
    expect(await readFor(second, [{ ...first, tenant: "somebody else" }])).toBe(37);
  });

  test("is read whole where it is scored", async () => {
    expect(await readFor({ ...second, promptLogprobs: 0 }, [first])).toBeGreaterThanOrEqual(36);
  });
});
