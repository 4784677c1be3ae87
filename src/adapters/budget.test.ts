import { describe, expect, test } from "vitest";
import { budget } from "./budget.ts";
import type { LayerShapes } from "./method.ts";
import { parseAdapterConfig } from "./methods.ts";

const llama = (size: { layers: number; hidden: number; keyValue: number; inner: number }) => {
  const { layers, hidden, keyValue, inner } = size;
  const shapes: LayerShapes = {
    layers,
    widths: {
      q_proj: { in: hidden, out: hidden },
      k_proj: { in: hidden, out: keyValue },
      v_proj: { in: hidden, out: keyValue },
      o_proj: { in: hidden, out: hidden },
      gate_proj: { in: hidden, out: inner },
      up_proj: { in: hidden, out: inner },
      down_proj: { in: inner, out: hidden },
    },
  };
  return shapes;
};
const llama2 = llama({ layers: 32, hidden: 4096, keyValue: 4096, inner: 11008 });
const llama3 = llama({ layers: 32, hidden: 4096, keyValue: 1024, inner: 14336 });

describe("LLaMA2-7B costs what the paper says", () => {
  test.each([
    [2, 4_997_120],
    [8, 19_988_480],
    [16, 39_976_960],
    [64, 159_907_840],
  ])("LoRA of rank %i", (rank, trainable) => {
    const found = budget(parseAdapterConfig({ method: "lora", rank }), llama2);
    expect(found).toMatchObject({ trainable, frozen: 0, ratio: 1, equivalentRank: rank });
    expect(found.bytes).toEqual({ float32: 4 * trainable, bfloat16: 2 * trainable, int8: trainable });
  });

  test.each([
    [2, 4, 4_997_120],
    [2, 8, 4_997_120],
    [8, 16, 19_988_480],
    [8, 32, 19_988_480],
  ])("MoS of equivalent rank %i and rank %i", (equivalentRank, rank, trainable) => {
    for (const [shardsPerVector, privateRank] of [
      [1, 0],
      [4, 1],
      [16, 1],
    ]) {
      const settings = { method: "mos", rank, equivalentRank, shardsPerVector, privateRank };
      const found = budget(parseAdapterConfig(settings), llama2);
      // 7 types · 2 tables · 32 layers · r · l indices
      const frozen = 7 * 2 * 32 * rank * shardsPerVector!;
      expect(found).toMatchObject({ trainable, frozen, equivalentRank, ratio: equivalentRank / rank });
      expect(found.bytes.float32).toBe(4 * (trainable + frozen));
    }
  });
});

test("Llama-3-8B: LoRA of rank 2", () => {
  expect(budget(parseAdapterConfig({ method: "lora", rank: 2 }), llama3).trainable).toBe(5_242_880);
});

test("fewer targets cost less", () => {
  const config = parseAdapterConfig({ method: "mos", rank: 8, equivalentRank: 2, targets: ["q_proj"] });
  expect(budget(config, llama2).trainable).toBe(32 * 2 * (4096 + 4096));
});

test("settings that the model cannot have are refused before anything is counted", () => {
  const config = parseAdapterConfig({ method: "mos", shardsPerVector: 3 });
  expect(() => budget(config, llama2)).toThrowError(
    expect.objectContaining({
      code: "bad_config",
      message: expect.stringContaining("shards per vector can be 1, 2, 4, 8, 16, 32, 64, 128, 256 for these"),
    }),
  );
});
