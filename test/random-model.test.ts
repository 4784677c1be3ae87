// A random model of each family is read back as what was asked for, from both formats.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ModelConfig, openModel, type PresetName, presetConfig } from "mixture-of-shards-core/models";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type PaddedTokenizer, paddedTokenizer, SPECIAL } from "../scripts/random-model/padded-tokenizer.ts";
import { resizedConfig } from "../scripts/random-model/resized-config.ts";
import {
  type RandomModel,
  writeRandomFolder,
  writeRandomGguf,
} from "../scripts/random-model/write-random.ts";
import { some } from "./runs.ts";

const SIZES = { layers: 6, hiddenSize: 64, intermediateSize: 96, heads: 2, keyValueHeads: 1 };
const VOCABULARY = 2048;

let folder = "";
let tokenizer: PaddedTokenizer;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-random-model-"));
  tokenizer = await paddedTokenizer(VOCABULARY, { maxPositions: 128 });
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const readBack = async (path: string): Promise<ModelConfig> => {
  await using files = await openModel(path); // compares names and shapes of all weights
  return files.config;
};

const names: readonly PresetName[] = [
  ...(["smollm2-135m", "mistral-7b-v0.1", "qwen2.5-0.5b", "qwen3-0.6b", "smollm3-3b", "gemma2-2b"] as const),
  ...(["gemma3-270m", "gemma3-4b", "phi3-mini-4k", "phi4-mini", "olmo2-1b", "granite3.3-2b"] as const),
];

test.each(some(names))(
  "a small %s with random weights is read back from a folder and from a GGUF file",
  async (name) => {
    const sizes = { ...SIZES, vocabularySize: VOCABULARY, headDim: presetConfig(name).headDim };
    const tokens = { bosToken: SPECIAL.start, eosTokens: [SPECIAL.end], padToken: SPECIAL.start };
    const config: ModelConfig = { ...resizedConfig(presetConfig(name), sizes), ...tokens };
    const model: RandomModel & { readonly type: "F32" } = {
      name,
      config,
      tokenizer,
      seed: 0,
      onProgress: () => {},
      type: "F32",
      headType: "F32",
    };
    await writeRandomFolder(join(folder, name), model);
    expect(await readBack(join(folder, name))).toEqual(config);
    const path = join(folder, `${name}.gguf`);
    await writeRandomGguf(path, model);
    const { rope, ...read } = await readBack(path);
    const { rope: expected, ...others } = config;
    expect(read).toEqual(others);
    expect(rope).toMatchObject({ kind: expected.kind, theta: expected.theta });
  },
);

test("heads and layers that differ follow the sizes", () => {
  const gemma = resizedConfig(presetConfig("gemma3-1b"), { layers: 40, hiddenSize: 64 });
  expect(gemma).toMatchObject({ headDim: 256, embeddingScale: 8 });
  expect(gemma.window?.layers.flatMap((isWindowed, layer) => (isWindowed ? [] : [layer]))).toEqual([
    5, 11, 17, 23, 29, 35,
  ]);
  expect(resizedConfig(presetConfig("llama3-8b"), { hiddenSize: 64, heads: 4 }).headDim).toBe(16);
  expect(resizedConfig(presetConfig("smollm3-3b"), { layers: 5 }).rotatedLayers).toEqual([
    ...[true, true, true, false, true],
  ]);
});
