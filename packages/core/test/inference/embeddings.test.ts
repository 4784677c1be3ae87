// Embeddings: the numbers of other programs, and the same from any batch.
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openSafetensors, type WritableTensor, writeSafetensors } from "#files";
import { type Engine, type EngineRequest, openEngine } from "#inference";
import { loadBase } from "#models";
import { memoryAdapters } from "./memory-adapters.ts";
import { collectAnswer, randomFactors, randomPrompt, request, text, tinyEngine } from "./tiny-engine.ts";

type Pooling = NonNullable<EngineRequest["pooling"]>;
const POOLINGS: readonly Pooling[] = ["last", "mean"];
type Vectors = Readonly<Record<Pooling, readonly number[]>>;

/** Made by scripts/verify/embeddings.py. */
const expected: {
  readonly models: Readonly<Record<string, Vectors & { readonly ids: readonly number[] }>>;
  readonly texts: readonly (Vectors & { readonly text: string })[];
} = JSON.parse(await readFile("test/fixtures/embeddings.json", "utf8"));

async function embedIds(engine: Engine, given: Partial<EngineRequest>): Promise<Float32Array> {
  const { events } = await collectAnswer(engine.submit(request(given)));
  expect(events.map(({ type }) => type)).toEqual(["scheduled", "embedding", "finish"]);
  return events.find((event) => event.type === "embedding")!.vector;
}

function expectClose(actual: ArrayLike<number>, wanted: ArrayLike<number>, tolerance = 1e-5): void {
  expect(actual).toHaveLength(wanted.length);
  const worst = Math.max(...Array.from(wanted, (value, i) => Math.abs(value - actual[i]!)));
  expect(worst).toBeLessThan(tolerance);
}

describe("a model of transformers has its last and its mean hidden state:", () => {
  test.each(Object.entries(expected.models))("%s", async (name, { ids: prompt, ...vectors }) => {
    const model = await loadBase(`test/goldens-families/${name}`);
    await using engine = await openEngine({ model: { model, text } });
    for (const pooling of POOLINGS) {
      const vector = await embedIds(engine, { prompt, pooling });
      expectClose(vector, vectors[pooling]);
    }
  });
});

test("a model that was saved without its head, as embedding models are, is read", async () => {
  const from = "test/goldens-families/qwen3";
  const folder = await mkdtemp(join(tmpdir(), "mos-headless-"));
  try {
    const config = JSON.parse(await readFile(join(from, "config.json"), "utf8"));
    expect(config.tie_word_embeddings).toBe(false);
    await writeFile(
      join(folder, "config.json"),
      JSON.stringify({ ...config, architectures: ["Qwen3Model"] }),
    );
    await using file = await openSafetensors(join(from, "model.safetensors"));
    const tensors: Record<string, WritableTensor> = {};
    for (const [name, { shape }] of file.tensors)
      if (name !== "lm_head.weight")
        tensors[name.replace(/^model\./, "")] = { dtype: "F32", shape, data: await file.readFloat32(name) };
    await writeSafetensors(join(folder, "model.safetensors"), tensors);
    await using engine = await openEngine({ model: { model: await loadBase(folder), text } });
    const { ids: prompt, last, mean } = expected.models["qwen3"]!;
    expectClose(await embedIds(engine, { prompt, pooling: "last" }), last);
    expectClose(await embedIds(engine, { prompt, pooling: "mean" }), mean);
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe("texts have the embeddings of sentence-transformers", () => {
  const texts = expected.texts.map((one) => one.text);

  test.each([
    ["last", "in a process of its own"],
    ["mean", "in this process"],
  ] as const)("with the pooling %s, from an engine %s", async (pooling, place) => {
    const inProcess = place === "in this process";
    await using engine = await openEngine({ model: "assets/tiny-english", inProcess });
    Object.assign(engine.text, { pooling });
    const vectors = await engine.embed(texts);
    for (const [i, vector] of vectors.entries()) expectClose(vector, expected.texts[i]![pooling]);
    const [first] = await engine.embed(texts, { dimensions: 16 });
    const start = vectors[0]!.slice(0, 16);
    expectClose(
      first!,
      start.map((value) => value / Math.hypot(...start)),
    );
  });
});

const adapters = new Map([
  ["lora", await randomFactors(1, { method: "lora", rank: 3 })],
  ["vera", await randomFactors(3, { method: "vera", rank: 4 })],
]);

describe("a batch", () => {
  // prompts of one token, within a part and of several parts, some of which begin alike
  const shared = randomPrompt(99, 40);
  const requests = Array.from({ length: 12 }, (_, i) =>
    request({
      prompt: i % 4 === 3 ? [...shared, i] : randomPrompt(i, 1 + 2 * i),
      adapter: [null, "lora", "vera"][i % 3] ?? null,
      pooling: POOLINGS[i % 2]!,
    }),
  );
  let alone: readonly Float32Array[];
  let chat: string;

  beforeAll(async () => {
    await using engine = await tinyEngine(memoryAdapters(adapters), {
      maxBatch: 1,
      lonePrefillChunk: 64,
      scoringChunk: 64,
    });
    const vectors = [];
    for (const [i, one] of requests.entries())
      vectors.push(await embedIds(engine, { ...one, tenant: `${i}` }));
    alone = vectors;
    chat = (await collectAnswer(engine.submit(request()))).text;
  });

  test.each([
    ["beside chats", {}],
    ["of several tenants", { maxBatch: 16 }],
    ["that is short of memory", { maxBatch: 8, cacheMemory: 130 * 256 }],
  ])("%s has the embeddings of its requests alone", async (_, limits) => {
    await using engine = await tinyEngine(memoryAdapters(adapters), limits);
    const chats = Array.from({ length: 4 }, () => collectAnswer(engine.submit(request())));
    const vectors = await Promise.all(requests.map((one) => embedIds(engine, one)));
    for (const [i, vector] of vectors.entries()) expectClose(vector, alone[i]!);
    for (const answer of await Promise.all(chats)) expect(answer.text).toBe(chat);
  });

  test("whose cache has room for one sequence embeds as many tokens", async () => {
    const limits = { maxBatch: 1, cacheMemory: 64 * 256 };
    await using engine = await tinyEngine(memoryAdapters(adapters), limits);
    for (const pooling of POOLINGS) await embedIds(engine, { prompt: randomPrompt(1, 64), pooling });
  });

  test("computes a common beginning once for the last token, and every token of a mean", async () => {
    await using engine = await tinyEngine(memoryAdapters(adapters));
    for (const [pooling, cached] of [["last", 40] as const, ["mean", 0] as const]) {
      const prompts = [
        [...shared, 1],
        [...shared, 2],
      ];
      for (const [i, prompt] of prompts.entries()) {
        const { end } = await collectAnswer(engine.submit(request({ prompt, pooling, tenant: pooling })));
        const { promptTokens, cachedTokens, completionTokens } = end.usage;
        expect({ promptTokens, cachedTokens, completionTokens }).toEqual({
          promptTokens: 41,
          cachedTokens: i === 0 ? 0 : cached,
          completionTokens: 0,
        });
      }
      const again = await collectAnswer(
        engine.submit(request({ prompt: prompts[1]!, pooling, tenant: pooling })),
      );
      expect(again.end.usage.cachedTokens).toBe(cached);
    }
  });
});

describe("engine.embed", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await tinyEngine(memoryAdapters(new Map()), { maxBatch: 2, maxWaiting: 1 });
  });
  afterAll(() => engine[Symbol.asyncDispose]());

  test("embeds more texts than may wait, in their order, with length 1", async () => {
    const texts = Array.from({ length: 30 }, (_, i) => "abcdefghijklmnopqrstuvwxyzABCD".slice(i));
    const vectors = await engine.embed(texts);
    for (const [i, one] of texts.entries()) {
      const prompt = engine.text.tokenizer.encode(one);
      expectClose(vectors[i]!, await embedIds(engine, { prompt, pooling: "last" }));
      expect(Math.hypot(...vectors[i]!)).toBeCloseTo(1, 5);
    }
    expect(await engine.embed([])).toEqual([]);
  });

  test.each([
    [["a", ""], {}, /texts.1 is not a string with characters/],
    [["a", "b", "c".repeat(65)], {}, /texts.2 has 65 tokens; the limit is 64/],
    [["a"], { dimensions: 0 }, /dimensions is 0; .* from 1 to 16/],
    [["a"], { dimensions: 17 }, /dimensions is 17/],
    [["a"], { adapter: "nobody" }, /nobody/],
    [["a"], { signal: AbortSignal.abort() }, /cancelled/],
  ])("%j with %j is refused", async (texts, options, message) => {
    await expect(engine.embed(texts, options)).rejects.toThrow(message);
    expect(await engine.stats()).toMatchObject({ running: 0 });
  });
});
