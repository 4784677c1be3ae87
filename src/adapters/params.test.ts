import fc from "fast-check";
import { expect, test } from "vitest";
import { LINEAR_NAMES, type LinearName } from "#graph";
import { type ModelConfig, PRESET_NAMES, presetConfig, toLayerShapes } from "#models";
import { METHOD_NAMES } from "./methods.ts";
import { adapterParams } from "./params.ts";

const models = PRESET_NAMES.map((name) => [name, presetConfig(name)] as const);

test.each(models)("the defaults of every method fit %s", (_, config) => {
  for (const method of METHOD_NAMES) {
    const { budget } = adapterParams(config, { method });
    expect(budget.trainable, method).toBeGreaterThan(0);
  }
});

test.each(models)("MoS of e = 2 and r = 8 costs as much as LoRA of rank 2 on %s", (_, config) => {
  const mos = adapterParams(config, { method: "mos", equivalentRank: 2, rank: 8 });
  const lora = adapterParams(config, { method: "lora", rank: 2 });
  expect(mos.budget.trainable).toBe(lora.budget.trainable);
  expect(mos.budget.equivalentRank).toBe(2);
});

const choice = fc.record({
  model: fc.constantFrom(...models),
  targets: fc.subarray([...LINEAR_NAMES], { minLength: 1 }),
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
      const all = targets.flatMap((name) => [widths[name].in, widths[name].out]);
      const fits = (count: number): boolean => all.every((width) => width % count === 0);
      const refused = refusal(config, { targets, shards });
      expect(refused === undefined).toBe(fits(shards));
      if (refused === undefined) return;
      const { linear, side, width, asked, usable } = refused;
      expect(asked).toBe(shards);
      expect(widths[linear as LinearName][side as "in" | "out"]).toBe(width);
      expect(width % shards).not.toBe(0);
      const smallest = Math.min(...all);
      const expected = Array.from({ length: smallest }, (_, i) => i + 1).filter(fits);
      expect(usable).toEqual(expected);
    }),
  );
});
