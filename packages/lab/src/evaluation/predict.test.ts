import type { Engine, EngineEvent } from "mixture-of-shards";
import { expect, test } from "vitest";
import type { Question } from "./benchmark.ts";
import { predict } from "./predict.ts";

const MAX_LENGTH = 20;

interface Script {
  readonly logprobs?: readonly number[];
  readonly digest?: string | null;
  readonly finish?: Extract<EngineEvent, { readonly type: "finish" }>["finishReason"];
}

/** An engine that answers with its seed, and keeps its requests. */
function scripted({ logprobs = [], digest = null, finish = "end" }: Script = {}) {
  const seen: Parameters<Engine["submit"]>[0][] = [];
  async function* submit(request: Parameters<Engine["submit"]>[0]): AsyncGenerator<EngineEvent> {
    seen.push(request);
    yield { type: "scheduled", digest };
    if (request.candidates !== undefined) yield { type: "candidates", logprobs };
    if (request.maxTokens !== 0) {
      yield { type: "token", id: 1, text: "seed " };
      yield { type: "token", id: 2, text: String(request.seed) };
    }
    const usage = {
      promptTokens: 3,
      cachedTokens: 0,
      completionTokens: 3,
      queuedSeconds: 0,
      firstTokenSeconds: 0,
    };
    yield { type: "finish", finishReason: finish, text: ".", usage };
  }
  const engine = { submit, model: { maxLength: MAX_LENGTH } } as unknown as Engine;
  return { engine, seen };
}

const question = (output: Partial<Question["output"]>, length = 3): Question => ({
  id: "gsm8k/7",
  group: "gsm8k",
  prompt: "…",
  tokens: Array.from({ length }, (_, i) => i),
  output: {
    kind: "text",
    maxTokens: 8,
    stop: ["\n", "Q:"],
    temperature: 0,
    topP: 1,
    samples: 1,
    ...output,
  } as Question["output"],
  references: ["1"],
});
const choice = (length = 3): Question =>
  question({ kind: "choice", candidates: [5, 6, 7, 8], labels: ["A", "B", "C", "D"] }, length);

const base = { adapter: null, digest: null, seed: 0 };

test("of a choice the likeliest wins, of equal ones the first, and all log-probabilities are returned", async () => {
  for (const [logprobs, label] of [
    [[-3, -1, -2, -9], "B"],
    [[-3, -1, -1, -1], "B"],
    [[-1, -1, -1, -1], "A"],
    [[-Infinity, -Infinity, -Infinity, -2], "D"],
  ] as const) {
    const { engine, seen } = scripted({ logprobs });
    const answered = await predict(choice(), { ...base, engine });
    expect(answered).toEqual({ predictions: [label], logprobs, tokens: 0 });
    expect(seen).toHaveLength(1);
    expect(seen[0]).toMatchObject({ candidates: [5, 6, 7, 8], maxTokens: 0, prompt: [0, 1, 2] });
  }
});

test("a prediction is all of the text, and the request is what the question asks for", async () => {
  const { engine, seen } = scripted();
  const { predictions, tokens } = await predict(question({}), { ...base, engine });
  expect(predictions).toEqual([`seed ${seen[0]?.seed}.`]);
  expect(tokens).toBe(3);
  expect(seen[0]).toMatchObject({
    adapter: null,
    maxTokens: 8,
    stop: ["\n", "Q:"],
    continuesPrompt: true,
    sampling: { temperature: 0, topP: 1, topK: 0, minP: 0, repetitionPenalty: 1 },
  });
});

test("samples have seeds of their own, the same in every run, others for another question or seed", async () => {
  const predictionSeeds = async (seed: number, id = "gsm8k/7"): Promise<readonly number[]> => {
    const { engine, seen } = scripted();
    const asked = { ...question({ kind: "text", samples: 5, temperature: 0.1, topP: 0.95 }), id };
    const { predictions, tokens } = await predict(asked, { ...base, engine, seed });
    expect(predictions).toEqual(seen.map((request) => `seed ${request.seed}.`));
    expect(tokens).toBe(15);
    expect(seen[0]?.sampling).toMatchObject({ temperature: 0.1, topP: 0.95 });
    return seen.map(({ seed: own = 0 }) => own);
  };
  const seeds = await predictionSeeds(0);
  expect(new Set(seeds).size).toBe(5);
  expect(await predictionSeeds(0)).toEqual(seeds);
  const all = [...seeds, ...(await predictionSeeds(1)), ...(await predictionSeeds(0, "gsm8k/8"))];
  expect(new Set(all).size).toBe(15);
});

test("a prediction is cut where the context ends", async () => {
  const { engine, seen } = scripted();
  await predict(question({ maxTokens: 8 } as never, MAX_LENGTH - 8), { ...base, engine });
  await predict(question({ maxTokens: 8 } as never, MAX_LENGTH - 1), { ...base, engine });
  expect(seen.map(({ maxTokens }) => maxTokens)).toEqual([8, 1]);
});

test("a prompt that leaves no room gets an empty prediction, and the engine is not asked", async () => {
  const { engine, seen } = scripted();
  const asked = question({ samples: 3 } as never, MAX_LENGTH);
  expect(await predict(asked, { ...base, engine })).toEqual({
    predictions: ["", "", ""],
    tokens: 0,
    tooLong: true,
  });
  const long = await predict(choice(MAX_LENGTH + 5), { ...base, engine });
  expect(long).toEqual({ predictions: [""], tokens: 0, tooLong: true });
  expect(seen).toEqual([]);
});

test("a cancelled request is not a prediction", async () => {
  const { engine } = scripted({ finish: "cancelled" });
  for (const asked of [question({}), choice()])
    await expect(predict(asked, { ...base, engine })).rejects.toMatchObject({ code: "cancelled" });
});

test("an adapter that was replaced meanwhile is an error", async () => {
  const { engine } = scripted({ digest: "sha256:new" });
  const mos = { adapter: "mos", seed: 0, engine };
  await expect(predict(question({}), { ...mos, digest: "sha256:old" })).rejects.toMatchObject({
    code: "bad_adapter",
    message: "adapter mos was replaced during the evaluation; start again",
  });
  const { predictions } = await predict(question({}), { ...mos, digest: "sha256:new" });
  expect(predictions).toHaveLength(1);
});
