import { describe, expect, test } from "vitest";
import { type FreeMemory, parseSettings } from "#common";
import {
  baseFromConfig,
  type PlannedBase,
  PRESET_NAMES,
  type PresetName,
  presetConfig,
  weightShapes,
} from "#models";
import { some } from "../../../../test/runs.ts";
import { TINY_FAMILIES } from "../../test/tiny-families.ts";
import { tinyModel } from "../../test/tiny-model.ts";
import { engineSettings, type ResolvedOptions } from "./engine-options.ts";
import { defaultCacheMemory, requireEngineMemory, slotCacheBytes } from "./memory.ts";
import { bytesPerPosition, capacityFor } from "./slots.ts";
import { stateBytes } from "./states.ts";

const Q4_0 = {
  kind: "blocks",
  bits: 4,
  blockSize: 32,
  zeroPoint: 8,
  scales: "float16",
  offsets: false,
} as const;

const plannedModel = (preset: PresetName, stored: Parameters<typeof baseFromConfig>[2]): PlannedBase =>
  baseFromConfig(preset, presetConfig(preset), stored);

const size: ResolvedOptions = {
  ...parseSettings(engineSettings, {}),
  computeDtype: "int8",
  maxLength: 2048,
  device: "cpu",
  adapters: true,
};
const free = (gigabytes: number): FreeMemory => ({ bytes: gigabytes * 1e9, limit: "machine", resident: 1e8 });
const partBytes = (
  plan: { readonly parts: readonly { name: string; bytes: number }[] },
  name: string,
): number => plan.parts.find((part) => part.name === name)?.bytes ?? 0;

describe("the memory of an engine", () => {
  test("of 7B in 4 bits with 16 slots is at most 9 GB where the cache gets what is left", () => {
    const { plan, cacheMemory, lonePrefillChunk } = requireEngineMemory(
      plannedModel("llama2-7b", Q4_0),
      { ...size, cacheDtype: "float16", maxLength: 1024 },
      free(9),
    );
    expect(plan.bytes).toBeLessThan(9.1e9);
    expect(cacheMemory).toBeGreaterThan(2 * 32 * 4096 * 2 * 1024);
    expect(lonePrefillChunk).toBe(128);
  });

  test("a cache has its size where that was given, else what a full batch takes, what is left, or 4 GB", () => {
    const model = plannedModel("llama3.2-3b", Q4_0);
    expect(requireEngineMemory(model, { ...size, cacheMemory: 1e9 }, free(16)).cacheMemory).toBe(1e9);
    expect(requireEngineMemory(model, size, free(64))).toMatchObject({
      cacheMemory: 4e9,
      lonePrefillChunk: 512,
    });
    const few = { ...size, maxBatch: 2, maxLength: 100 };
    const positions = 2 * capacityFor(100);
    expect(requireEngineMemory(model, few, free(64)).cacheMemory).toBe(
      positions * bytesPerPosition(model.config),
    );
    expect(requireEngineMemory(model, size, free(8)).cacheMemory).toBeLessThan(4e9);
  });

  test("16 bits become float32 where there is room for it", () => {
    const model = plannedModel("llama3.2-3b", { kind: "bfloat16" });
    const kept = { ...size, computeDtype: "float32" } as const;
    expect(requireEngineMemory(model, kept, free(32)).expand).toBe(true);
    const small = requireEngineMemory(model, kept, free(12));
    expect(small.expand).toBe(false);
    expect(partBytes(small.plan, "base")).toBeLessThan(7e9);
  });

  const ofEqualLayers = PRESET_NAMES.filter((name) => {
    const { layerKinds, fullHeads } = presetConfig(name);
    return layerKinds === undefined && fullHeads === undefined;
  });

  test.each(some(ofEqualLayers))("of %s has its base, and keys and values of its heads", (name) => {
    const model = plannedModel(name, { kind: "bfloat16" });
    const wanted = { ...size, baseDtype: "int4", computeDtype: "float32" } as const;
    const { plan, cacheMemory } = requireEngineMemory(model, wanted, free(1000));
    const { layers, keyValueHeads, headDim, vocabularySize } = model.config;
    const position = 4 * 2 * layers * keyValueHeads * headDim;
    expect(partBytes(plan, "cache")).toBe(Math.min(cacheMemory, size.maxBatch * size.maxLength * position));
    expect(cacheMemory).toBeGreaterThanOrEqual(Math.min(4e9, size.maxBatch * size.maxLength * position));
    expect(partBytes(plan, "steps")).toBeGreaterThan(4 * size.maxBatch * vocabularySize);
    const numbers = [...weightShapes(model.config).values()].map((shape) => shape.reduce((a, b) => a * b, 1));
    const parameters = numbers.reduce((a, b) => a + b, 0);
    expect(partBytes(plan, "base")).toBeGreaterThan(0.5 * parameters);
    // small ones are part of two programs, with the table of a tied head in 8 bits besides
    expect(partBytes(plan, "base")).toBeLessThan((parameters < 2e9 ? 2.2 : 1) * parameters);
  });

  test.each<[PresetName, string, number, number]>([
    ["qwen3.5-0.8b", "6 of 24 layers", 6 * 2 * 2 * 256, 18 * (16 * 128 * 128 + 3 * 6144)],
    ["qwen3.5-4b", "8 of 32 layers", 8 * 2 * 4 * 256, 24 * (32 * 128 * 128 + 3 * 8192)],
    ["gemma4-e2b", "15 of 35 layers in two widths", 12 * 2 * 256 + 3 * 2 * 512, 0],
    ["lfm2.5-350m", "6 of 16 layers, inputs of convolutions", 6 * 2 * 8 * 64 + 10 * 1024, 0],
    ["lfm3-1.7b", "11 of 24 layers, inputs of convolutions", 11 * 2 * 4 * 128 + 13 * 2048, 0],
  ])("a slot of %s has keys and values of %s", (name, _, position, state) => {
    expect(slotCacheBytes(presetConfig(name), { maxLength: 640 })).toBe(4 * (640 * position + state));
  });

  test("has room for the scores of a part of a prompt, and their softmax, on all that is cached", () => {
    const model = plannedModel("llama3.2-3b", Q4_0);
    const { plan, lonePrefillChunk: tokens } = requireEngineMemory(model, size, free(64));
    const scores = 4 * model.config.heads * tokens * (size.maxLength + tokens);
    expect(partBytes(plan, "steps")).toBeGreaterThan(2 * scores);
    expect(partBytes(plan, "steps")).toBeLessThan(8 * scores);
  });

  test("counts snapshots of states, a gigabyte of them at most", () => {
    const { config: tiny } = tinyModel({ overrides: TINY_FAMILIES["qwen3_5"]! });
    const heads = { keyHeads: 16, valueHeads: 48, keyDim: 128, valueDim: 128, kernel: 4 };
    const config = { ...tiny, linearAttention: heads };
    const [state, keys] = [stateBytes(config), capacityFor(64) * bytesPerPosition(config)];
    const cacheOf = (maxBatch: number) =>
      defaultCacheMemory(config, { maxLength: 64, maxBatch, cacheDtype: "float32" });
    expect(cacheOf(2)).toBe(2 * (keys + 5 * state));
    expect(cacheOf(64)).toBe(64 * (keys + state) + 1e9);
  });

  test("counts embeddings of each layer while they are read, and not beside a larger base", () => {
    const overrides = { ...TINY_FAMILIES["gemma4"], hidden_size_per_layer_input: 64 };
    const { config } = tinyModel({ overrides: { ...overrides, vocab_size_per_layer_input: 2 ** 12 } });
    const bytes = (change: object): number => {
      const stored = { kind: "bfloat16" } as const;
      const model = baseFromConfig("gemma4", { ...config, ...change }, stored);
      return partBytes(requireEngineMemory(model, { ...size, maxLength: 64 }, free(64)).plan, "base");
    };
    const table = 2 * 2 ** 12 * config.layers * 64;
    expect(bytes({})).toBe(table);
    const wide = { intermediateSize: 2 ** 13 };
    const smaller = { layerInput: { width: 64, vocabularySize: 48 } };
    expect(bytes(wide)).toBeGreaterThan(table);
    expect(bytes(wide)).toBe(bytes({ ...wide, ...smaller }));
  });

  test.each(Object.entries(TINY_FAMILIES))("knows all dimensions of the steps of %s", (name, overrides) => {
    const { config } = tinyModel({ overrides: overrides! });
    const model = baseFromConfig(name, config, { kind: "float32" });
    const { plan } = requireEngineMemory(model, { ...size, maxLength: 64 }, free(64));
    expect(partBytes(plan, "steps")).toBeGreaterThan(0);
  });

  test("that has no room is refused with its parts and what would fit", () => {
    const model = plannedModel("llama2-7b", { kind: "bfloat16" });
    const wanted = { ...size, baseDtype: "float32", computeDtype: "float32" } as const;
    const refused = () => requireEngineMemory(model, wanted, free(16));
    expect(refused).toThrowError(
      expect.objectContaining({
        code: "memory",
        message: expect.stringMatching(
          /^an engine of llama2-7b needs about .*base 2\d\.\d GB.*--base-dtype int4/,
        ),
      }),
    );
    expect(() => requireEngineMemory(model, wanted, free(1))).toThrowError(/no setting would fit here/);
  });
});
