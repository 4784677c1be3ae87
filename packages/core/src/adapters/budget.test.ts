import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  COMMON_LINEARS,
  type LinearName,
  listPools,
  type ModelConfig,
  PRESET_NAMES,
  presetConfig,
  toLayerShapes,
} from "#models";
import { some } from "../../../../test/runs.ts";
import { METHOD_NAMES } from "./adapter.ts";
import { parseAdapterConfig } from "./adapter-settings.ts";
import { adapterParams, budget } from "./budget.ts";
import type { LayerShapes } from "./method.ts";

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

const models = PRESET_NAMES.map((name) => [name, presetConfig(name)] as const);

test.each(some(models))("the defaults of every method fit %s", (_, config) => {
  for (const method of METHOD_NAMES) {
    const { budget } = adapterParams(config, { method });
    expect(budget.trainable, method).toBeGreaterThan(0);
  }
});

test("a vector for all linear layers may be longer than the LoRA of each", () => {
  const settings = { method: "uni-lora", rank: 16, vectorLength: 5_000_000 } as const;
  const { budget, types } = adapterParams(presetConfig("llama2-7b"), settings);
  expect(budget.trainable).toBe(5_000_000);
  expect(types.map(({ trainable }) => trainable)).toEqual(Array(7).fill(undefined));
});

test("a default rank is lowered where a small model shares fewer; one that is asked for is refused", () => {
  const small = { ...presetConfig("smollm2-135m"), layers: 5 };
  const { adapter, budget } = adapterParams(small, { method: "mos" });
  expect([adapter.rank, budget.equivalentRank]).toEqual([6, 2]);
  expect(() => adapterParams(small, { method: "mos", rank: 8 })).toThrow("use a rank of at most 6");
});

test.each(some(models))(
  "MoS of e = 2, and r = 8 or what few layers share, costs as much as LoRA of rank 2 on %s",
  (_, config) => {
    const fewest = Math.min(...listPools(toLayerShapes(config)).map(({ layers }) => layers.length));
    const mos = adapterParams(config, { method: "mos", equivalentRank: 2, rank: Math.min(8, fewest + 1) });
    const lora = adapterParams(config, { method: "lora", rank: 2 });
    expect(mos.budget.trainable).toBe(lora.budget.trainable);
    expect(mos.budget.equivalentRank).toBe(2);
  },
);

const choice = fc.record({
  model: fc.constantFrom(
    ...models.filter(([, config]) => {
      const pools = new Set(listPools(toLayerShapes(config)).map(({ name }) => name));
      return COMMON_LINEARS.every((name) => pools.has(name)); // each in one width
    }),
  ),
  targets: fc.subarray([...COMMON_LINEARS], { minLength: 1 }),
  shards: fc.oneof(fc.integer({ min: 1, max: 64 }), fc.constantFrom(96, 128, 256, 512, 896)),
});

/** What stands in the message of a number of shards that does not fit; undefined where it fits. */
function refusal(
  config: ModelConfig,
  { targets, shards }: { readonly targets: readonly LinearName[]; readonly shards: number },
) {
  try {
    adapterParams(config, { method: "mos", targets, shardsPerVector: shards });
    return undefined;
  } catch (error) {
    const message = String(error);
    const [, linear = "", side = "", width, asked, usable = ""] =
      /(\w+): its d_(in|out) of (\d+) does not split into (\d+) shards; shards per vector can be ([\d, ]+) for/.exec(
        message,
      ) ?? [];
    return {
      linear,
      side,
      width: Number(width),
      asked: Number(asked),
      usable: usable.split(", ").map(Number),
    };
  }
}

test("shards that do not fit are refused with the layer and its width, and with all the numbers that fit", () => {
  fc.assert(
    fc.property(choice, ({ model: [, config], targets, shards }) => {
      const { widths } = toLayerShapes(config);
      const all = targets.flatMap((name) => [widths[name]!.in, widths[name]!.out]);
      const fits = (count: number): boolean => all.every((width) => width % count === 0);
      const refused = refusal(config, { targets, shards });
      expect(refused === undefined).toBe(fits(shards));
      if (refused === undefined) return;
      const { linear, side, width, asked, usable } = refused;
      expect(asked).toBe(shards);
      expect(widths[linear as LinearName]![side as "in" | "out"]).toBe(width);
      expect(width % shards).not.toBe(0);
      const smallest = Math.min(...all);
      const expected = Array.from({ length: smallest }, (_, i) => i + 1).filter(fits);
      expect(usable).toEqual(expected);
    }),
  );
});
