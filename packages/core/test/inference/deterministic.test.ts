// Deterministic steps: an answer is the same to the last bit of its log-probabilities, whatever else the engine does or has done.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import {
  createModelRunner,
  type Engine,
  type EngineRequest,
  type ModelRunner,
  openEngine,
  prepareWeights,
} from "#inference";
import { nextPart, planPadding, wholeParts } from "../../src/inference/deterministic.ts";
import { TINY_FAMILIES } from "../tiny-families.ts";
import { writeTinyFolder } from "../tiny-folder.ts";
import { floatWeights, tinyModel } from "../tiny-model.ts";
import { memoryAdapters } from "./memory-adapters.ts";
import {
  type Answer,
  collectAnswer,
  randomFactors,
  randomPrompt,
  request,
  tinyEngine,
} from "./tiny-engine.ts";

const widths = { head_dim: 8, hidden_size: 32, intermediate_size: 48, max_position_embeddings: 512 };
const PART = 8;
const POSITION = 256; // bytes of keys and values of a token

const families = {
  "keys and values": tinyModel({ overrides: widths }),
  ...Object.fromEntries(
    ["lfm2", "qwen3_5"].map((name) => [
      name,
      tinyModel({ overrides: { ...TINY_FAMILIES[name], ...widths } }),
    ]),
  ),
};

const requests: readonly EngineRequest[] = Array.from({ length: 16 }, (_, i) =>
  request({
    prompt: randomPrompt(i, 9 + 4 * i),
    adapter: [null, "lora", "mos", "small"][i % 4] ?? null,
    maxTokens: 20 + i,
    ignoreEos: true,
    seed: i,
    logprobs: 2,
    tenant: `tenant ${i % 3}`,
    ...(i % 2 === 0 ? { sampling: { temperature: 1 } } : {}),
    ...(i % 5 === 4 ? { promptLogprobs: 1 } : {}),
  }),
);

type Options = NonNullable<Parameters<typeof tinyEngine>[1]>;

describe.each(Object.entries(families))("%s:", (name, model) => {
  const adapters = (async () =>
    new Map([
      ["lora", await randomFactors(1, { method: "lora", rank: 3 }, model)],
      [
        "mos",
        await randomFactors(2, { method: "mos", rank: 3, equivalentRank: 2, shardsPerVector: 2 }, model),
      ],
      ["small", await randomFactors(4, { method: "lora", rank: 1, targets: ["down_proj"] }, model)],
    ]))();
  const parts = { prefillChunk: PART, lonePrefillChunk: PART, scoringChunk: PART };
  const deterministic = { part: PART, rank: 4, isPadded: false };

  async function collectAnswers(
    send: (engine: Engine) => Promise<readonly Answer[]>,
    options: Options = {},
  ): Promise<{ readonly answers: readonly Answer[]; readonly promptTokens: number }> {
    const limits = { ...parts, deterministic, draftTokens: 7, maxLength: 300, ...options };
    await using engine = await tinyEngine(memoryAdapters(await adapters), { model, ...limits });
    const answers = await send(engine);
    return { answers, promptTokens: (await engine.stats()).promptTokens };
  }
  const together =
    (all = requests) =>
    (engine: Engine) =>
      Promise.all(all.map((one) => collectAnswer(engine.submit(one))));
  const alone = (async () => {
    const answers: Answer[] = [];
    for (const one of requests) answers.push(...(await collectAnswers(together([one]))).answers);
    return answers;
  })();

  /** Tokens, text and log-probabilities. */
  const said = ({ events }: Answer) => events.filter(({ type }) => type === "token" || type === "prompt");
  async function expectAlone(answers: readonly Answer[]): Promise<void> {
    for (const [i, answer] of (await alone).entries())
      expect(said(answers[i] as Answer), `request ${i}`).toEqual(said(answer));
  }

  test("beside others", async () => {
    const ranks = new Set<number>();
    const noteRank = (runner: ModelRunner): ModelRunner => ({
      ...runner,
      run: (step) => {
        if (runner.slots.count > 0) ranks.add(runner.slots.rank);
        return runner.run(step);
      },
    });
    const beside = await collectAnswers(together(), { maxBatch: 7, wrap: noteRank });
    await expectAlone(beside.answers);
    expect([...ranks], "larger products may round otherwise").toEqual([deterministic.rank]);
    const usual = await collectAnswers(together(), { maxBatch: 7, deterministic: undefined });
    expect(usual.answers.map(said)).not.toEqual((await alone).map(said));
  });

  test("behind prefixes that others left", async () => {
    const { answers } = await collectAnswers(
      async (engine) => {
        const found: Answer[] = [];
        for (const [i, one] of requests.entries()) {
          const cut = Math.floor((one.prompt.length * (1 + (i % 3))) / 3);
          // one that begins as it does, and one that goes on behind the answer
          const before = { ...one, prompt: one.prompt.slice(0, cut), maxTokens: 5 };
          const behind = {
            ...one,
            prompt: [...one.prompt, ...((await alone)[i]?.ids ?? []), 7],
            maxTokens: 2,
          };
          for (const other of i % 2 === 0 ? [before] : [behind, before])
            await collectAnswer(engine.submit(other));
          found.push(await collectAnswer(engine.submit(one)));
        }
        return found;
      },
      { maxBatch: 3 },
    );
    const cached = answers.map(({ end }) => end.usage.cachedTokens);
    expect(cached.every((tokens) => tokens % PART === 0)).toBe(true);
    // a state stands behind all tokens of its slot
    if (name === "qwen3_5") expect(Math.max(...cached)).toBe(0);
    else expect(cached.filter((tokens) => tokens > 0).length).toBeGreaterThan(8);
    await expectAlone(answers);
  });

  test("preempted", async () => {
    const cacheMemory = 2.5 * 128 * POSITION;
    const { answers, promptTokens } = await collectAnswers(together(), { cacheMemory, maxBatch: 8 });
    expect(promptTokens, "none was preempted").toBeGreaterThan(
      requests.reduce((sum, { prompt }) => sum + prompt.length, 0),
    );
    await expectAlone(answers);
  });
});

test("parts end at their multiples and with the prompt, and answers are computed token by token", () => {
  const one = { request: request({ prompt: randomPrompt(0, 19) }) as never };
  const next = (computed: number): number => nextPart(one, computed, deterministicPart);
  expect([0, 8, 16, 19, 30].map(next)).toEqual([8, 8, 3, 1, 1]);
  expect([0, 7, 8, 19].map((length) => wholeParts(length, deterministicPart))).toEqual([0, 0, 8, 16]);
});
const deterministicPart = { part: PART };

test("an engine that is opened so has no drafts, and one plan of memory for its program", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-deterministic-"));
  try {
    const { model } = await writeTinyFolder(folder, widths);
    const open = (deterministic: boolean) =>
      openEngine({ model, inProcess: true, weightCache: false, deterministic, computeDtype: "int8" });
    await using usual = await open(false);
    await using engine = await open(true);
    expect(engine.model.drafts.tokens).toBe(0);
    const base = ({ model: { plan } }: Engine) => plan?.parts.find(({ name }) => name === "base")?.bytes ?? 0;
    expect(base(engine)).toBeGreaterThan(0);
    expect(base(engine)).toBeLessThan(base(usual));
    const prompt = randomPrompt(1, 30);
    const ask = () => collectAnswer(engine.submit(request({ prompt, maxTokens: 20, ignoreEos: true })));
    const alone = await ask();
    for (const { ids } of await Promise.all([ask(), ask(), ask()])) expect(ids).toEqual(alone.ids);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe("lone tokens are padded", () => {
  const open = async (run: (runner: ModelRunner) => ModelRunner["run"]): Promise<boolean> => {
    const { config, weights } = families["keys and values"];
    await using base = await prepareWeights(config, floatWeights(weights), { computeDtype: "int8" });
    await using runner = await createModelRunner(base, {
      maxLength: 64,
      fuses: false,
      session: { threads: 1 },
    });
    const isPadded = await planPadding({ ...runner, run: run(runner) }, { adapters: true, maxBatch: 16 });
    expect([runner.cache.slots, runner.slots.count]).toEqual([0, 0]);
    return isPadded;
  };
  const changed =
    (test: (rows: number, isPadded: boolean) => boolean) =>
    (runner: ModelRunner): ModelRunner["run"] =>
    async (step) => {
      const logits = await runner.run(step);
      if (test(step.count, step.isPadded === true)) logits[0]?.[0]?.set([1], 1);
      return logits;
    };

  test("where kernels of one row round otherwise", async () => {
    expect(await open(({ run }) => run)).toBe(false);
    expect(await open(changed((rows, isPadded) => rows === 1 && !isPadded))).toBe(true);
  });
  test("in vain where others round otherwise, too", () =>
    expect(open(changed((rows) => rows === 3))).rejects.toMatchObject({ code: "device" }));
});
