// More tokens than the KV cache holds: the youngest requests are preempted, and no answer changes.
import { describe, expect, test } from "vitest";
import { type Engine, type EngineRequest, unpackLogprobs } from "#inference";
import { memoryAdapters } from "./memory-adapters.ts";
import {
  type Answer,
  collectAnswer,
  randomFactors,
  randomPrompt,
  request,
  tinyEngine,
} from "./tiny-engine.ts";

const adapters = new Map([
  ["lora", await randomFactors(1, { method: "lora", rank: 3 })],
  ["vera", await randomFactors(3, { method: "vera", rank: 4 })],
]);
const POSITION = 256; // bytes of keys and values of a token

const requests: readonly EngineRequest[] = Array.from({ length: 6 }, (_, i) =>
  request({
    prompt: randomPrompt(i, 5 + 3 * i),
    adapter: [null, "lora", "vera"][i % 3] ?? null,
    maxTokens: 90 + i,
    ignoreEos: true,
    seed: i,
    logprobs: 2,
    ...(i % 2 === 0 ? { sampling: { temperature: 1 } } : {}),
  }),
);

async function collectAnswers(
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
  Promise.all(all.map((one) => collectAnswer(engine.submit(one))));

async function oneByOne(engine: Engine): Promise<readonly Answer[]> {
  const answers = [];
  for (const one of requests) answers.push(await collectAnswer(engine.submit(one)));
  return answers;
}

const alone = await collectAnswers({ maxBatch: 1 }, oneByOne);
const promptLength = requests.reduce((sum, { prompt }) => sum + prompt.length, 0);

describe("preempted requests resume with the same tokens:", () => {
  const resume = async (_: string, cacheMemory: number): Promise<void> => {
    const { answers, promptTokens } = await collectAnswers({ cacheMemory }, together(requests));
    // all started with 64 positions, so some were preempted and prefilled again
    if (cacheMemory !== 128 * POSITION) expect(promptTokens).toBeGreaterThan(promptLength);
    answers.forEach((answer, i) => {
      expect(answer.ids, `request ${i}`).toEqual(alone.answers[i]?.ids);
      expect(answer.text).toBe(alone.answers[i]?.text);
      expect(answer.events.filter(({ type }) => type === "scheduled")).toHaveLength(1);
      expect(answer.events.at(-1)).toMatchObject({ type: "finish", usage: { completionTokens: 90 + i } });
      expect(answer.events).toHaveLength(92 + i);
    });
  };
  test.each([["memory for two long requests", 2 * 128 * POSITION]])("%s", resume);
  test.each([
    ["memory for one long request", 128 * POSITION],
    ["memory for three and a half", 450 * POSITION],
  ])("%s", { tags: "thorough" }, resume);
});

test("a prompt that is preempted while it is scored has every token's score once", async () => {
  const long = request({ prompt: randomPrompt(7, 60), maxTokens: 200, ignoreEos: true });
  const scored = request({ prompt: randomPrompt(8, 180), maxTokens: 2, promptLogprobs: 1 });
  const undisturbed = await collectAnswers({ maxBatch: 1 }, together([scored]));
  const { answers, promptTokens } = await collectAnswers(
    { cacheMemory: 2 * 192 * POSITION, prefillChunk: 1 },
    together([long, scored]),
  );
  expect(promptTokens, "it was not preempted").toBeGreaterThan(60 + 180 + 50);
  const scores = (answer: Answer | undefined) =>
    answer?.events.flatMap((event) => (event.type === "prompt" ? unpackLogprobs(event) : [])) ?? [];
  const expected = scores(undisturbed.answers[0]);
  expect(expected).toHaveLength(180);
  expect(scores(answers[1]).map(({ id }) => id)).toEqual(scored.prompt);
  scores(answers[1]).forEach(({ logprob }, i) => {
    expect(logprob ?? 0).toBeCloseTo(expected[i]?.logprob ?? 0, 4);
  });
  expect(answers[1]?.ids).toEqual(undisturbed.answers[0]?.ids);
});

describe("prompts with a common prefix that run at once", () => {
  const prefix = randomPrompt(30, 90);
  const asked = (adapter: string | null, seed: number) =>
    request({ prompt: [...prefix, ...randomPrompt(seed, 7)], adapter, maxTokens: 9, ignoreEos: true });

  test("compute it once, and get the answers that they get alone", async () => {
    const requests = [asked(null, 1), asked(null, 2), asked("lora", 3), asked("lora", 4), asked(null, 2)];
    await using engine = await tinyEngine(memoryAdapters(adapters), { maxBatch: 5, maxLength: 200 });
    const answers = await Promise.all(requests.map((one) => collectAnswer(engine.submit(one))));
    const { promptTokens } = await engine.stats();
    for (const [i, one] of requests.entries()) {
      const alone = await collectAnswers({ maxBatch: 1, maxLength: 200 }, together([one]));
      expect(answers[i]?.ids).toEqual(alone.answers[0]?.ids);
    }
    // the prefix twice, once for each adapter, and the rest of five prompts, whose last tokens count as decoded
    expect(promptTokens).toBeLessThanOrEqual(2 * 90 + 5 * 7);
  });
});

describe("a prompt with the prefix of an earlier one", () => {
  const first = request({ prompt: randomPrompt(20, 40), maxTokens: 10, ignoreEos: true });
  const second = request({ prompt: [...first.prompt.slice(0, 30), ...randomPrompt(21, 7)] });

  async function prefilledFor(one: EngineRequest, after: readonly EngineRequest[]): Promise<number> {
    await using engine = await tinyEngine(memoryAdapters(adapters), { maxBatch: 2, maxLength: 200 });
    for (const earlier of after) await collectAnswer(engine.submit(earlier));
    const { promptTokens } = await engine.stats();
    const answer = await collectAnswer(engine.submit(one));
    const fresh = await collectAnswers({ maxBatch: 1 }, together([one]));
    expect(answer.ids).toEqual(fresh.answers[0]?.ids);
    return (await engine.stats()).promptTokens - promptTokens;
  }

  // the last token of a prompt is computed by the step that samples the first of the answer
  test("is prefilled from where they diverge", async () => {
    expect(await prefilledFor(second, [])).toBe(37);
    expect(await prefilledFor(second, [first])).toBe(7);
  });

  test("is prefilled whole where the adapters differ", async () => {
    const other = { ...second, adapter: "lora" };
    expect(await prefilledFor(other, [first])).toBe(37);
    expect(await prefilledFor(second, [{ ...first, adapter: "lora" }])).toBe(37);
    expect(await prefilledFor(other, [{ ...first, adapter: "lora" }])).toBe(7);
  });

  test("and with its answer is prefilled from there", async () => {
    const [answer] = (await collectAnswers({}, together([first]))).answers;
    const ids = answer?.ids ?? [];
    expect(await prefilledFor(request({ prompt: [...first.prompt, ...ids, 3, 4] }), [first])).toBe(3);
  });

  test("is prefilled whole where the tenants differ", async () => {
    expect(await prefilledFor(second, [{ ...first, tenant: "other" }])).toBe(37);
  });

  test("is prefilled whole where it is scored", async () => {
    expect(await prefilledFor({ ...second, promptLogprobs: 0 }, [first])).toBeGreaterThanOrEqual(36);
  });
});
