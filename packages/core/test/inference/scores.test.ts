// Log-probabilities, stop texts and seeds of the engine's answers, against the forward pass of training and a plain log-softmax.
import { beforeAll, describe, expect, test } from "vitest";
import { type EngineRequest, type TokenLogprob, unpackLogprobs } from "#inference";
import { trainingLogits } from "../training-logits.ts";
import { memoryAdapters } from "./memory-adapters.ts";
import {
  type Answer,
  collectAnswer,
  config,
  randomFactors,
  randomPrompt,
  request,
  type TinyEngineOptions,
  tinyEngine,
  weights,
} from "./tiny-engine.ts";

const lora = await randomFactors(1, { method: "lora", rank: 3 });

async function collectAnswers(
  requests: readonly EngineRequest[],
  options: TinyEngineOptions = {},
): Promise<readonly Answer[]> {
  await using engine = await tinyEngine(memoryAdapters(new Map([["lora", lora]])), options);
  return await Promise.all(requests.map((one) => collectAnswer(engine.submit(one))));
}

/** ln softmax of every token's logits, by the forward pass of training. */
async function computeLogSoftmax(
  tokens: readonly number[],
  adapter?: typeof lora,
): Promise<readonly Float64Array[]> {
  return (await trainingLogits({ config, weights }, tokens, adapter)).map((logits) => {
    const total = Math.log(logits.reduce((sum, z) => sum + Math.exp(z), 0));
    return Float64Array.from(logits, (z) => z - total);
  });
}

function expectScore(score: TokenLogprob | undefined, behind: Float64Array | undefined, top: number): void {
  const expected = [...(behind ?? [])];
  expect(score?.logprob).toBeCloseTo(expected[score?.id ?? 0] ?? Number.NaN, 4);
  const ranked = expected.map((logprob, id) => ({ id, logprob })).sort((a, b) => b.logprob - a.logprob);
  expect(score?.top).toHaveLength(top);
  score?.top.forEach(({ id, logprob }, i) => {
    expect(logprob).toBeCloseTo(ranked[i]?.logprob ?? Number.NaN, 4);
    expect(logprob).toBeCloseTo(expected[id] ?? Number.NaN, 4);
  });
}

const readScores = ({ events }: Answer): readonly TokenLogprob[] =>
  events.flatMap((event) => (event.type === "prompt" ? unpackLogprobs(event) : []));

describe("a prompt's scores are those of the forward pass of training", () => {
  const prompt = randomPrompt(1, 23);
  let expected: readonly (readonly Float64Array[])[];
  beforeAll(async () => {
    expected = [await computeLogSoftmax(prompt), await computeLogSoftmax(prompt, lora)];
  });

  test.each([
    ["in one chunk", { prefillChunk: 64, lonePrefillChunk: 64, scoringChunk: 64 }, 0],
    ["in chunks of 1", { prefillChunk: 1, lonePrefillChunk: 1, scoringChunk: 1 }, 3],
    ["in chunks of 3", { prefillChunk: 3, scoringChunk: 3 }, 0],
    ["in chunks of 2, fewer than without scores", { scoringChunk: 2 }, 0],
    [
      "in chunks of 22, which leave one token",
      { prefillChunk: 22, lonePrefillChunk: 22, scoringChunk: 22 },
      1,
    ],
    ["in chunks of 23", { prefillChunk: 23, lonePrefillChunk: 23, scoringChunk: 23 }, 0],
  ])("%s", async (_, limits, maxTokens) => {
    const scored = { prompt, promptLogprobs: 4, maxTokens, ignoreEos: true };
    const company = request({ prompt: [9], maxTokens: 40, ignoreEos: true });
    const answers = await collectAnswers(
      [
        company,
        request(scored),
        request({ ...scored, adapter: "lora" }),
        request({ ...scored, prompt: [4] }),
      ],
      limits,
    );
    for (const which of [0, 1]) {
      const answer = answers[which + 1] as Answer;
      const scores = readScores(answer);
      expect(scores.map(({ id }) => id)).toEqual(prompt);
      expect(scores[0]).toEqual({ id: prompt[0], logprob: null, top: [] });
      scores.slice(1).forEach((score, i) => {
        expectScore(score, expected[which]?.[i], 4);
      });
      expect(answer.events.map(({ type }) => type)).toEqual([
        "scheduled",
        "prompt",
        ...Array(maxTokens).fill("token"),
        "finish",
      ]);
      expect(answer.end).toMatchObject({ finishReason: "length", usage: { promptTokens: 23 } });
    }
    expect(readScores(answers[3] as Answer)).toEqual([{ id: 4, logprob: null, top: [] }]);
  });
});

describe("a choice between candidates", () => {
  const prompt = randomPrompt(5, 9);
  const candidates = [7, 3, 7, 30];

  test.each([0, 2])("is reported before an answer of %d tokens", async (maxTokens) => {
    const one = request({ prompt, maxTokens, ignoreEos: true, candidates, adapter: "lora" });
    const [answer] = await collectAnswers([one, request()]);
    const expected = (await computeLogSoftmax(prompt, lora)).at(-1) ?? [];
    const reported = answer?.events.filter((event) => event.type === "candidates") ?? [];
    expect(reported).toHaveLength(1);
    candidates.forEach((id, i) => {
      expect(reported[0]?.logprobs[i]).toBeCloseTo(expected[id] ?? Number.NaN, 4);
    });
    expect(answer?.ids).toHaveLength(maxTokens);
  });

  test("outside the vocabulary is refused", async () => {
    await expect(collectAnswers([request({ candidates: [config.vocabularySize] })])).rejects.toMatchObject({
      code: "bad_data",
      message: expect.stringContaining("the candidates"),
    });
  });
});

test("only the requests of a broken adapter fail", async () => {
  const broken = await randomFactors(2, { method: "lora", rank: 3 });
  for (const { a } of broken.values()) a.fill(Number.NaN);
  await using engine = await tinyEngine(memoryAdapters(new Map([["broken", broken]])), {});
  const given = { prompt: randomPrompt(6, 12), ignoreEos: true, adapter: "broken" };
  const sampled = { ...given, sampling: { temperature: 1 }, maxTokens: 3 };
  for (const one of [{ ...given, promptLogprobs: 0, maxTokens: 0 }, sampled]) {
    const answers = await Promise.allSettled(
      [request(one), request({ ...one, adapter: null })].map((each) => collectAnswer(engine.submit(each))),
    );
    expect(answers.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
    expect(answers[0]).toMatchObject({
      reason: {
        code: "diverged",
        message: expect.stringMatching(/^with the adapter "broken" the model's activations overflow/),
      },
    });
  }
});

describe("an answer's log-probabilities", () => {
  test("are those of the unmodified logits, however the token was sampled", async () => {
    const prompt = randomPrompt(2, 6);
    const changed = { temperature: 1.5, topK: 30, repetitionPenalty: 1.4 };
    for (const sampling of [{}, { temperature: 1 }, { temperature: 1.5, topK: 30 }, changed]) {
      const one = request({ prompt, maxTokens: 8, ignoreEos: true, logprobs: 5, adapter: "lora", sampling });
      const [answer] = await collectAnswers([one, request()]);
      const ids = answer?.ids ?? [];
      const expected = await computeLogSoftmax([...prompt, ...ids], lora);
      const tokens = answer?.events.filter((event) => event.type === "token") ?? [];
      expect(tokens).toHaveLength(8);
      tokens.forEach((token, i) => {
        const [logprob] = unpackLogprobs(token);
        expect(logprob?.id).toBe(token.id);
        expectScore(logprob, expected[prompt.length - 1 + i], 5);
      });
    }
  });

  test("are left out where they are not requested", async () => {
    const [answer] = await collectAnswers([request()]);
    for (const event of answer?.events ?? []) expect(event).not.toHaveProperty("logprobs");
  });
});

describe("a stop sequence", () => {
  const free = request({
    maxTokens: 20,
    ignoreEos: true,
    prompt: randomPrompt(3, 5),
    sampling: { temperature: 2 },
  });

  test("ends the answer before it, also where it spans tokens", async () => {
    const [whole] = await collectAnswers([free]);
    const text = whole?.text ?? "";
    expect(text).toHaveLength(20);
    const stop = text.slice(6, 9);
    const at = text.indexOf(stop);
    const [answer, other] = await collectAnswers([{ ...free, stop: ["##", stop] }, free]);
    expect(answer?.text).toBe(text.slice(0, at));
    expect(answer?.end).toMatchObject({ finishReason: "stop", usage: { completionTokens: at + 3 } });
    expect(other?.text).toBe(text);
  });

  test("that stays incomplete is part of the text", async () => {
    const [whole] = await collectAnswers([free]);
    const text = whole?.text ?? "";
    const [answer] = await collectAnswers([{ ...free, stop: [`${text.slice(-3)}#`] }]);
    expect(answer?.text).toBe(text);
    expect(answer?.end).toMatchObject({ finishReason: "length", text: text.slice(-3) });
  });
});

test("a seed gives the same answer in any batch, and another seed another", async () => {
  const of = (seed: number) =>
    request({ seed, sampling: { temperature: 2 }, maxTokens: 15, ignoreEos: true, adapter: "lora" });
  const seeds = [1, 2, 3, 4, 5];
  const together = await collectAnswers([...seeds.map(of), ...seeds.map(of)], { maxBatch: 7 });
  const backwards = await collectAnswers(seeds.toReversed().map(of), { maxBatch: 2, prefillChunk: 1 });
  const texts = together.map(({ text }) => text);
  expect(texts.slice(0, 5)).toEqual(texts.slice(5));
  expect(backwards.map(({ text }) => text).toReversed()).toEqual(texts.slice(0, 5));
  expect(new Set(texts).size).toBe(5);
});

test("an end token ends the answer and is not part of it", async () => {
  const hot = { sampling: { temperature: 3 }, maxTokens: 50 };
  const free = await collectAnswers(
    Array.from({ length: 12 }, (_, seed) => request({ ...hot, seed, ignoreEos: true })),
  );
  const answers = await collectAnswers(Array.from({ length: 12 }, (_, seed) => request({ ...hot, seed })));
  let ended = 0;
  answers.forEach((answer, i) => {
    const ids = free[i]?.ids ?? [];
    const at = ids.indexOf(config.eosTokens[0] ?? -1);
    if (at >= 0) ended++;
    expect(answer.ids).toEqual(at < 0 ? ids : ids.slice(0, at));
    expect(answer.end).toMatchObject({
      finishReason: at < 0 ? "length" : "end",
      usage: { completionTokens: answer.ids.length },
    });
  });
  expect(ended).toBeGreaterThan(0);
});
