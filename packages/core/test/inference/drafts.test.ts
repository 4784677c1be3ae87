// Drafts of an engine: no answer changes, and fewer steps compute it.
import { describe, expect, test } from "vitest";
import {
  createModelRunner,
  type EngineRequest,
  type EngineStats,
  type ModelRunner,
  prepareWeights,
  unpackLogprobs,
} from "#inference";
import { runs } from "../../../../test/runs.ts";
import { NO_DRAFTS, planDrafts, verifiesDrafts } from "../../src/inference/drafts.ts";
import { TINY_FAMILIES } from "../tiny-families.ts";
import { floatWeights, type TinyModel, tinyModel } from "../tiny-model.ts";
import { memoryAdapters } from "./memory-adapters.ts";
import {
  type Answer,
  collectAnswer,
  randomFactors,
  randomPrompt,
  request,
  tinyEngine,
} from "./tiny-engine.ts";

// int8 products need widths that are a multiple of 16
const widths = { head_dim: 8, hidden_size: 32, intermediate_size: 48, max_position_embeddings: 512 };
const model = tinyModel({ overrides: widths });
const makeAdapters = async (of: TinyModel) =>
  new Map([
    ["lora", await randomFactors(1, { method: "lora", rank: 3 }, of)],
    ["mos", await randomFactors(2, { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2 }, of)],
    ["small", await randomFactors(4, { method: "lora", rank: 1, targets: ["q_proj", "down_proj"] }, of)],
  ]);
const adapters = await makeAdapters(model);
const names = [null, ...adapters.keys()];

type Options = NonNullable<Parameters<typeof tinyEngine>[1]>;

/** Prompts that repeat themselves, whose greedy answers do so, too, with whatever a request can ask for. */
const requests: readonly EngineRequest[] = Array.from({ length: runs(32) }, (_, i) => {
  const part = randomPrompt(i, 6 + i);
  return request({
    prompt: [...part, ...part, ...part.slice(0, 3)],
    adapter: names[i % names.length] ?? null,
    maxTokens: 30 + 5 * i,
    ignoreEos: i % 4 !== 3,
    seed: i,
    ...(i % 3 === 0 ? { logprobs: 2 } : {}),
    ...(i % 5 === 1 ? { sampling: { temperature: 0.3 }, minTokens: 8 } : {}),
    ...(i % 5 === 2 ? { sampling: { temperature: 0.5, topP: 0.9, frequencyPenalty: 0.1 } } : {}),
    ...(i % 5 === 3 ? { sampling: { repetitionPenalty: 1.05 }, minTokens: 8 } : {}),
    ...(i % 7 === 4 ? { stop: ["ab", "cc"] } : {}),
  });
});

/** A clock by which all steps take as long, so that drafts pay wherever the text repeats. */
function evenClock(): () => number {
  let time = 0;
  return () => ++time;
}

async function collectAnswers(
  options: Options,
  {
    all = requests,
    together = false,
  }: { readonly all?: readonly EngineRequest[]; readonly together?: boolean } = {},
): Promise<{ readonly answers: readonly Answer[]; readonly stats: EngineStats }> {
  const { model: own = model } = options;
  const manager = memoryAdapters(own === model ? adapters : await makeAdapters(own));
  await using engine = await tinyEngine(manager, {
    model,
    maxLength: 400,
    draftTokens: 0,
    now: evenClock(),
    ...options,
  });
  const answers: Answer[] = [];
  if (together) answers.push(...(await Promise.all(all.map((one) => collectAnswer(engine.submit(one))))));
  else for (const one of all) answers.push(await collectAnswer(engine.submit(one)));
  expect(manager.leases()).toBe(0);
  return { answers, stats: await engine.stats() };
}

/** All of an answer but its times. */
const withoutTimes = ({ events }: Answer) =>
  events.map((event) => {
    if (event.type !== "finish") return event;
    const { queuedSeconds: _, firstTokenSeconds: __, firstTokenStep: ___, ...usage } = event.usage;
    return { ...event, usage };
  });

function expectEqual(found: readonly Answer[], expected: readonly Answer[]): void {
  found.forEach((answer, i) => {
    expect(withoutTimes(answer), `request ${i}`).toEqual(withoutTimes(expected[i]!));
  });
}

/** In a batch, other requests change how products round, with drafts and without: in float32 by less than any choice needs. */
function expectSameTokens(found: readonly Answer[], expected: readonly Answer[]): void {
  found.forEach((answer, i) => {
    const [own, plain] = [answer, expected[i]!].map(withoutTimes);
    const bare = (events: typeof own) => events?.map((event) => ({ ...event, logprobs: undefined }));
    expect(bare(own), `request ${i}`).toEqual(bare(plain));
    const scores = ({ events }: Answer) =>
      events.flatMap((event) => (event.type === "token" ? unpackLogprobs(event) : []));
    const chosen = scores(expected[i]!);
    scores(answer).forEach(({ logprob }, at) => {
      expect(logprob).toBeCloseTo(chosen[at]?.logprob ?? 0, 4);
    });
  });
}

const windowed = tinyModel({
  overrides: {
    ...widths,
    architectures: ["MistralForCausalLM"],
    model_type: "mistral",
    sliding_window: 9,
  },
});

/** Families whose layers keep more than keys and values, by seeds with which their answers repeat themselves. */
const others = Object.entries({ granite_swa: 0, lfm2: 0, lfm3: 3 }).map(([family, seed]) => {
  const overrides = { ...TINY_FAMILIES[family], ...widths };
  return [family, { model: tinyModel({ overrides, seed }) }] as const;
});

const wideHeads = tinyModel({ overrides: { ...widths, head_dim: 256 } });

describe("answers with drafts are those without, tokens, text, log-probabilities and usage:", () => {
  test.each<readonly [string, Options]>([
    ["as they come", {}],
    ["a window", { model: windowed }],
    ["a cache in float16", { cacheDtype: "float16" }],
    ...others,
  ])("%s", async (_, options) => {
    const plain = await collectAnswers({ ...options, maxBatch: 1 });
    const drafted = await collectAnswers({ ...options, maxBatch: 1, draftTokens: 7 });
    expectEqual(drafted.answers, plain.answers);
    expect(plain.stats.draftTokens).toBe(0);
    const { draftTokens, acceptedTokens, steps } = drafted.stats;
    expect(acceptedTokens).toBeGreaterThan(5 * requests.length);
    expect(acceptedTokens, "no draft was rejected").toBeLessThan(draftTokens);
    expect(steps).toBe(plain.stats.steps - acceptedTokens);
  });

  test("heads of 256, whose scores are summed otherwise from 65 keys on", async () => {
    // further on, the fused program would have too much to copy
    const all = requests.slice(-3).map((one) => ({ ...one, adapter: null, logprobs: 2, maxTokens: 60 }));
    const options = { model: wideHeads, maxBatch: 1 };
    const plain = await collectAnswers(options, { all });
    const drafted = await collectAnswers({ ...options, draftTokens: 7 }, { all });
    expectEqual(drafted.answers, plain.answers);
    expect(drafted.stats.acceptedTokens).toBeGreaterThan(0);
  });

  test("adapters in one batch", async () => {
    const plain = await collectAnswers({ computeDtype: "float32" }, { together: true });
    const drafted = await collectAnswers({ computeDtype: "float32", draftTokens: 7 }, { together: true });
    expectSameTokens(drafted.answers, plain.answers);
    expect(drafted.stats.acceptedTokens).toBeGreaterThan(0);
  });

  test("requests that are preempted", async () => {
    const limits = { computeDtype: "float32", cacheMemory: 2 * 128 * 256 } as const;
    const long = requests.map((one) => ({ ...one, maxTokens: 120 }));
    const plain = await collectAnswers(limits, { all: long, together: true });
    const drafted = await collectAnswers({ ...limits, draftTokens: 7 }, { all: long, together: true });
    expect(drafted.stats.promptTokens, "none was preempted").toBeGreaterThan(
      long.reduce((sum, { prompt }) => sum + prompt.length, 0),
    );
    expectSameTokens(drafted.answers, plain.answers);
  });
});

/** A kernel of its own for a lone row, as some processors have. */
const loneRowsApart =
  (run: ModelRunner["run"]): ModelRunner["run"] =>
  async (step) => {
    const logits = await run(step);
    const isLone = step.isDraft && !step.isPadded && step.tokens[0]?.length === 1;
    if (isLone) for (const row of logits[0] ?? []) row.set(row.map((x, i) => x + Math.sin(i)));
    return logits;
  };

test("lone tokens that may be drafted are computed by the kernels of several rows, with drafts and without", async () => {
  const padded = {
    maxBatch: 1,
    isPadded: true,
    wrap: (runner: ModelRunner) => ({ ...runner, run: loneRowsApart(runner.run) }),
  };
  const [plain, drafted] = [
    await collectAnswers(padded),
    await collectAnswers({ ...padded, draftTokens: 7 }),
  ];
  expectEqual(drafted.answers, plain.answers);
  expect(drafted.stats.acceptedTokens).toBeGreaterThan(requests.length);
  const own = await collectAnswers({ ...padded, isPadded: false });
  expect(own.answers.map(({ ids }) => ids)).not.toEqual(plain.answers.map(({ ids }) => ids));
});

/** The fused attention takes no such heads: all steps are the general program's. */
const general = { model: tinyModel({ overrides: { ...widths, head_dim: 12 } }) };

describe("near drafts, which round otherwise:", () => {
  const greedy = requests.map((one) => ({ ...one, sampling: {}, logprobs: 2 }));
  /** Log-probabilities that steps of several tokens change by less; in int8, activations are rounded to eight bits. */
  const TIE = { int8: 0.1, float32: 1e-3 } as const;

  test.each<readonly [string, Options & { readonly computeDtype: "int8" | "float32" }]>([
    ["int8, fused", { computeDtype: "int8" }],
    ["int8, the general program", { computeDtype: "int8", ...general }],
    ["float32, fused", { computeDtype: "float32" }],
    ["float32, the general program", { computeDtype: "float32", ...general }],
  ])("greedy answers differ at near ties alone: %s", async (_, { computeDtype, ...options }) => {
    const one = { ...options, computeDtype, maxBatch: 1 };
    const plain = await collectAnswers(one, { all: greedy });
    const drafted = await collectAnswers({ ...one, draftTokens: 7, sameUpTo: 0 }, { all: greedy });
    let differing = 0;
    for (const [i, { ids }] of drafted.answers.entries()) {
      const expected = plain.answers[i]!;
      const at = ids.findIndex((id, k) => id !== expected.ids[k]);
      if (at < 0) {
        expect(ids).toHaveLength(expected.ids.length);
        continue;
      }
      differing++;
      const scores = expected.events.flatMap((event) =>
        event.type === "token" ? unpackLogprobs(event) : [],
      );
      const [chosen, other] = [
        scores[at]?.logprob,
        scores[at]?.top.find(({ id }) => id === ids[at])?.logprob,
      ];
      expect((chosen ?? 0) - (other ?? Number.NEGATIVE_INFINITY), `request ${i}`).toBeLessThan(
        TIE[computeDtype],
      );
    }
    expect(differing).toBeLessThanOrEqual(greedy.length / 8);
    const { draftTokens, nearDraftTokens, acceptedTokens } = drafted.stats;
    expect(nearDraftTokens).toBe(draftTokens);
    expect(acceptedTokens).toBeGreaterThan(3 * greedy.length);
    expect(plain.stats.nearDraftTokens).toBe(0);
  });

  /** Steps take longer by far the more tokens they have, or the fewer. */
  const SPEEDS: readonly ((call: number) => number)[] = [
    (call) => 1 + (call % 7),
    (call) => (call % 3 === 0 ? 40 : 1),
  ];

  /** Long enough for all but the first few to pass 60 tokens, behind which steps of several tokens round otherwise. */
  const SAME_UP_TO = 60;
  const roundsBehind = (runner: ModelRunner): ModelRunner => ({
    ...runner,
    async run(step) {
      const before = runner.cache.lengths[step.from] ?? 0;
      const logits = await runner.run(step);
      const count = step.tokens[0]?.length ?? 0;
      const isNear = before >= SAME_UP_TO && step.isDraft === true && count > 1;
      if (isNear) for (const row of logits[0] ?? []) row.set(row.map((x, i) => x + Math.sin(i * count) / 4));
      return logits;
    },
  });

  test.each<readonly [string, Options]>([
    ["all of them", { ...general, sameUpTo: 0 }],
    ["behind those that are the same", { sameUpTo: SAME_UP_TO, wrap: roundsBehind }],
  ])("a request alone has the same answer at any speed of the machine: %s", async (_, options) => {
    const near = { ...options, maxBatch: 1, draftTokens: 7 };
    const quick = await collectAnswers(near);
    expect(quick.stats.nearDraftTokens).toBeGreaterThan(requests.length);
    for (const takes of SPEEDS) {
      let [time, call] = [0, 0];
      const now = (): number => (time += takes(++call));
      const late = await collectAnswers({ ...near, now });
      expectEqual(late.answers, quick.answers);
      expect(late.stats.nearDraftTokens).toBe(quick.stats.nearDraftTokens);
    }
    const plain = await collectAnswers({ ...near, draftTokens: 0 });
    expect(plain.answers.map(withoutTimes)).not.toEqual(quick.answers.map(withoutTimes));
  });
});

test("a prefix in the cache has no rejected token", async () => {
  const turns = async (draftTokens: number): Promise<readonly Answer[]> => {
    await using engine = await tinyEngine(memoryAdapters(adapters), {
      model,
      maxLength: 400,
      draftTokens,
      now: evenClock(),
    });
    const answers: Answer[] = [];
    let prompt = requests[0]!.prompt;
    for (let turn = 0; turn < 5; turn++) {
      const answer = await collectAnswer(engine.submit(request({ prompt, maxTokens: 25, ignoreEos: true })));
      answers.push(answer);
      // each turn goes on where the last one ended
      prompt = [...prompt, ...answer.ids, 7 + turn];
    }
    return answers;
  };
  const [plain, drafted] = [await turns(0), await turns(7)];
  expectEqual(drafted, plain);
  expect(drafted.at(-1)?.end.usage.cachedTokens).toBeGreaterThan(100);
});

test("drafts need steps of several tokens that round as steps of one", async () => {
  await using base = await prepareWeights(model.config, floatWeights(model.weights), {
    computeDtype: "int8",
  });
  await using runner = await createModelRunner(base, { maxLength: 64, session: { threads: 1 } });
  expect(await verifiesDrafts(runner, { adapters: true })).toBe(true);
  expect([runner.cache.slots, runner.slots.count]).toEqual([0, 0]);
  const rounded: typeof runner.run = async (step) => {
    const logits = await runner.run(step);
    const last = logits[0]?.at(-1);
    if (last !== undefined && step.tokens[0]?.length === 3) last[5] = (last[5] ?? 0) * (1 + 2 ** -23);
    return logits;
  };
  const other = { ...runner, run: rounded };
  expect(await verifiesDrafts(other, { adapters: true })).toBe(false);
  const options = { draftTokens: 7, adapters: true, maxLength: 64 };
  expect(await planDrafts(runner, { ...options, device: "cpu" })).toEqual({
    tokens: 7,
    sameUpTo: 64,
    isPadded: false,
  });
  expect(await planDrafts(other, { ...options, device: "cpu" })).toEqual({ ...NO_DRAFTS, tokens: 7 });
  expect(await planDrafts(other, { ...options, device: "webgpu" })).toEqual(NO_DRAFTS);
  const padded = { ...runner, run: loneRowsApart(runner.run) };
  expect(await planDrafts(padded, { ...options, device: "cpu" })).toEqual({
    tokens: 7,
    sameUpTo: 64,
    isPadded: true,
  });
});

test.each([8, 16])(
  "heads of %i and products with adapters round as those of one token on several threads, too",
  async (head) => {
    const { config, weights } = tinyModel({ overrides: { ...widths, head_dim: head, hidden_size: 288 } });
    await using base = await prepareWeights(config, floatWeights(weights), { computeDtype: "int8" });
    await using runner = await createModelRunner(base, { maxLength: 64, session: { threads: 2 } });
    expect(await verifiesDrafts(runner, { adapters: true })).toBe(true);
  },
);

test("an engine for sequences shorter than what is compared has no drafts", async () => {
  await using base = await prepareWeights(model.config, floatWeights(model.weights), {
    computeDtype: "int8",
  });
  for (const maxLength of [2, 8]) {
    await using runner = await createModelRunner(base, { maxLength, session: { threads: 1 } });
    const options = { draftTokens: 7, adapters: true, maxLength, device: "cpu" } as const;
    expect(await planDrafts(runner, options)).toEqual(NO_DRAFTS);
  }
});
