// Every family with the weights of its file in each form, in training and in serving.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoredType } from "mixture-of-shards-core/files";
import { openEngine, unpackLogprobs } from "mixture-of-shards-core/inference";
import { type BaseDtype, type PresetName, presetConfig } from "mixture-of-shards-core/models";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { compareStored, trainingLogprobs } from "../packages/core/test/stored-base.ts";
import { type PaddedTokenizer, paddedTokenizer, SPECIAL } from "../scripts/random-model/padded-tokenizer.ts";
import { resizedConfig } from "../scripts/random-model/resized-config.ts";
import { writeRandomFolder, writeRandomGguf } from "../scripts/random-model/write-random.ts";

/** Longer than the windows below. */
const TOKENS = Array.from({ length: 24 }, (_, i) => 3 + ((i * 97) % 900));
const WINDOW = 5;

const PRESETS: readonly PresetName[] = [
  ...(["llama3.2-1b", "mistral-7b-v0.1", "qwen2.5-0.5b", "qwen3-0.6b", "smollm3-3b", "gemma2-2b"] as const),
  ...(["gemma3-270m", "phi3-mini-4k", "phi4-mini", "olmo2-1b", "granite3.3-2b"] as const),
];
const TYPES: readonly StoredType[] = ["BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K"];

/** How far a rounded base may be from float32: shares of the largest logit. */
const ROUNDED: readonly (readonly [BaseDtype, number])[] = [
  ["int8", 0.05],
  ["int4", 0.5],
  ["nf4", 0.5],
];

let folder = "";
let tokenizer: PaddedTokenizer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-family-forms-"));
  tokenizer = await paddedTokenizer(1024, { maxPositions: 128 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A model of rows that blocks of 256 divide. */
function makeModel(name: PresetName, type: StoredType) {
  const { headDim, window, ...preset } = presetConfig(name);
  const sizes = {
    layers: 3,
    hiddenSize: 256,
    intermediateSize: 256,
    heads: 2,
    keyValueHeads: 1,
    headDim,
    vocabularySize: 1024,
    maxPositions: 128,
  };
  const windowed = window === undefined ? {} : { window: { ...window, size: WINDOW } };
  const tokens = { bosToken: SPECIAL.start, eosTokens: [SPECIAL.end], padToken: SPECIAL.start };
  const config = { ...resizedConfig({ headDim, ...preset, ...windowed }, sizes), ...tokens };
  return { name, config, tokenizer, seed: 1, type, headType: type, onProgress: () => {} };
}

/** The largest difference between the log-probabilities of serving and of training. */
async function servingDifference(model: string, baseDtype: BaseDtype): Promise<number> {
  const expected = await trainingLogprobs(model, TOKENS, baseDtype);
  const options = { baseDtype, computeDtype: "float32", maxLength: 64, inProcess: true, threads: 1 } as const;
  await using engine = await openEngine({ model, ...options, weightCache: false });
  const found: number[] = [];
  for await (const event of engine.submit({ prompt: TOKENS, maxTokens: 1, promptLogprobs: 0 }))
    if (event.type === "prompt") for (const { logprob } of unpackLogprobs(event)) found.push(logprob ?? 0);
  expect(found).toHaveLength(TOKENS.length);
  return Math.max(...expected.map((x, i) => Math.abs(x - found[i + 1]!)));
}

describe.each(PRESETS)("%s", (name) => {
  test.each(TYPES)(
    "a GGUF of %s, as it is stored, is its float32 expansion, and serves as it trains",
    async (type) => {
      const path = join(folder, `${name}.${type}.gguf`);
      await writeRandomGguf(path, makeModel(name, type));
      const { differences } = await compareStored(path, TOKENS);
      for (const [what, share] of Object.entries(differences)) expect(share, what).toBeLessThan(1e-4);
      expect(await servingDifference(path, "stored")).toBeLessThan(1e-4);
    },
  );

  test("a folder in BF16, rounded to int8, int4 and nf4, is near float32, and serves as it trains", async () => {
    const path = join(folder, name);
    await writeRandomFolder(path, { ...makeModel(name, "BF16"), type: "BF16" });
    for (const [baseDtype, limit] of ROUNDED) {
      const { differences } = await compareStored(path, TOKENS, baseDtype);
      expect(differences.logits, baseDtype).toBeLessThan(limit);
      expect(differences.loss, baseDtype).toBeLessThan(limit);
      expect(await servingDifference(path, baseDtype), baseDtype).toBeLessThan(1e-4);
    }
  });
});
