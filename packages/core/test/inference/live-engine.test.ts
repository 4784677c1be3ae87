// The sampler of a trainer beside the forward pass that trains: the same numbers, before and after the adapter has changed.
import { beforeAll, expect, test } from "vitest";
import { type Adapter, expandOnHost } from "#adapters";
import { encodePrompt } from "#data";
import { type LiveEngine, openLiveEngine, type Sample, type SampleRequest } from "#inference";
import { type BaseModel, floatTensors, loadModel, toLayerShapes } from "#models";
import { fillRandom, randomAdapter } from "../random-adapter.ts";
import { trainingLogits } from "../training-logits.ts";

let base: BaseModel;
let prompt: readonly number[];

beforeAll(async () => {
  base = await loadModel("assets/tiny-english", { baseDtype: "float32" });
  const { template, tokenizer } = base.text;
  const messages = [{ role: "user", content: "Do you open on Sundays?" }];
  prompt = encodePrompt(template.render(messages, { addGenerationPrompt: true }), tokenizer);
});

const METHODS = {
  lora: { method: "lora", rank: 4, alpha: 8 },
  mos: { method: "mos", equivalentRank: 2, rank: 4 },
} as const;

const moved = (method: keyof typeof METHODS): Adapter =>
  randomAdapter(METHODS[method], toLayerShapes(base.model.config), {
    seed: 1,
    deviation: 0.05,
    only: "trainable",
  });

const openEngine = (
  adapter: Adapter,
  grammar?: Parameters<typeof openLiveEngine>[0]["grammar"],
): Promise<LiveEngine> =>
  openLiveEngine({ model: base, adapter, maxLength: 64, maxBatch: 4, session: { threads: 1 }, grammar });

const group = (count: number, maxTokens = 12): readonly SampleRequest[] =>
  Array.from({ length: count }, (_, seed) => ({ prompt, maxTokens, sampling: { temperature: 1 }, seed }));

async function collect(engine: LiveEngine, requests: readonly SampleRequest[]): Promise<readonly Sample[]> {
  const samples: Sample[] = [];
  for await (const [i, sample] of engine.sample(requests)) samples[i] = sample;
  return samples;
}

/** The largest difference of a token's log-probability from that of the training pass. */
async function farthest(adapter: Adapter, samples: readonly Sample[], given = prompt): Promise<number> {
  const model = { config: base.model.config, weights: floatTensors(base.model.weights) };
  let most = 0;
  for (const { tokens, logprobs } of samples) {
    const logits = await trainingLogits(model, [...given, ...tokens], expandOnHost(adapter));
    for (const [i, id] of tokens.entries()) {
      const row = logits[given.length + i - 1] as Float32Array;
      const total = Math.log(row.reduce((sum, z) => sum + Math.exp(z), 0));
      most = Math.max(most, Math.abs((row[id] as number) - total - (logprobs[i] as number)));
    }
  }
  return most;
}

test.each(["lora", "mos"] as const)("%s: log-probabilities are those of training", async (method) => {
  const adapter = moved(method);
  await using engine = await openEngine(adapter);
  const before = await collect(engine, group(3));
  expect(before.every(({ tokens, logprobs }) => tokens.length === logprobs.length)).toBe(true);
  expect(await farthest(adapter, before)).toBeLessThan(1e-5);
  fillRandom(adapter, { seed: 2, deviation: 0.05, only: "trainable" });
  // so would a sampler differ that does not follow the trainer
  expect(await farthest(adapter, before)).toBeGreaterThan(1e-2);
  expect(await farthest(adapter, await collect(engine, group(3)))).toBeLessThan(1e-5);
});

// which have rows of codes that programs are fed with, or copies that they pack
test.each([true, false])(
  "in int8, samples are those of rows that are fed, transposed: %s",
  async (transposedCodes) => {
    const adapter = moved("lora");
    const model = await loadModel("assets/tiny-english", { computeDtype: "int8", transposedCodes });
    const own = { model, adapter, maxLength: 64, maxBatch: 8, session: { threads: 1 } };
    await using packed = await openLiveEngine(own);
    await using fed = await openLiveEngine({ ...own, prepack: false });
    const [samples, expected] = [await collect(packed, group(6)), await collect(fed, group(6))];
    expect(samples.map(({ tokens }) => tokens)).toEqual(expected.map(({ tokens }) => tokens));
    for (const [i, { logprobs }] of samples.entries())
      for (const [t, logprob] of logprobs.entries())
        expect(logprob).toBeCloseTo(expected[i]?.logprobs[t] ?? 0, 5);
  },
);

test("prompts that are read together have the log-probabilities of training, whatever their lengths", async () => {
  const adapter = moved("lora");
  await using engine = await openEngine(adapter);
  const lengths = [0, 1, 3, 0, 1, 3, 12];
  const requests = lengths.map((left, seed) => ({
    ...(group(1)[0] as SampleRequest),
    prompt: prompt.slice(left),
    seed,
  }));
  const samples = await collect(engine, requests);
  for (const [i, sample] of samples.entries())
    expect(await farthest(adapter, [sample], requests[i]?.prompt)).toBeLessThan(1e-5);
});

const properties = { open: { type: "boolean" }, day: { enum: ["Monday", "Sunday"] } };
const schema = { type: "object", properties, required: ["open", "day"], additionalProperties: false };
const grammar = { type: "json_schema", schema, whitespace: "compact" } as const;

// as a resumed run samples what an uninterrupted one does
test.each([
  ["without a grammar", undefined],
  ["with a grammar", grammar],
])("the same requests give the same bytes, whatever was sampled before: %s", async (_, form) => {
  const adapter = moved("lora");
  const requests = group(5, 24);
  const first = await openEngine(adapter, form);
  await collect(first, group(3, 24));
  const later = await collect(first, requests);
  await first[Symbol.asyncDispose]();
  await using fresh = await openEngine(adapter, form);
  expect(await collect(fresh, requests)).toEqual(later);
});

test("an answer keeps its end token, and says whether it was cut off", async () => {
  await using engine = await openEngine(moved("lora"));
  const samples = await collect(engine, [...group(6, 40), ...group(1, 2)]);
  const ends = new Set([...base.text.tokenizer.eosTokens, ...base.model.config.eosTokens]);
  for (const { tokens, text, hasEnded } of samples) {
    expect(ends.has(tokens.at(-1) ?? -1)).toBe(hasEnded);
    const written = tokens.filter((id) => !ends.has(id));
    expect(text).toBe(base.text.tokenizer.decode(written));
  }
  expect(samples.some(({ hasEnded }) => hasEnded)).toBe(true);
  expect(samples.at(-1)).toMatchObject({ hasEnded: false, tokens: { length: 2 } });
});

test("completions match a grammar, and their log-probabilities are those of training all the same", async () => {
  const adapter = moved("mos");
  await using engine = await openEngine(adapter, grammar);
  const samples = await collect(engine, group(6, 40));
  for (const { text, hasEnded } of samples) {
    expect(hasEnded).toBe(true);
    expect(JSON.parse(text)).toEqual({
      open: expect.any(Boolean),
      day: expect.stringMatching(/^(Mon|Sun)day$/),
    });
  }
  expect(new Set(samples.map(({ text }) => text)).size).toBeGreaterThan(1);
  expect(await farthest(adapter, samples)).toBeLessThan(1e-5);
  expect(await collect(engine, group(6, 40))).toEqual(samples);
  const wrong = openEngine(adapter, { ...grammar, schema: { type: "odd" } });
  await expect(wrong).rejects.toMatchObject({ code: "bad_option", message: expect.stringContaining("odd") });
});

test("what has no room is refused, and leaving early ends the rest", async () => {
  await using engine = await openEngine(moved("lora"));
  await expect(collect(engine, group(1, 100))).rejects.toMatchObject({ code: "bad_option" });
  for await (const _ of engine.sample(group(6))) break;
  expect(await collect(engine, [])).toEqual([]);
});
