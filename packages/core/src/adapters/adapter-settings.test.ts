import { describe, expect, test } from "vitest";
import { LINEAR_NAMES } from "#models";
import { layerShapes } from "../../test/layer-shapes.ts";
import { createAdapter, METHOD_NAMES, methods } from "./adapter.ts";
import { parseAdapterConfig } from "./adapter-settings.ts";

const shapes = layerShapes(2);
const known = LINEAR_NAMES.join(", ");

test.each(METHOD_NAMES)("the example of %s is valid, and parsing it again changes nothing", (name) => {
  const { example } = methods[name];
  expect(parseAdapterConfig(example)).toEqual(example);
  expect(() => createAdapter(parseAdapterConfig(example), shapes)).not.toThrow();
});

test("what is drawn again from the seed never changes", () => {
  // Saved adapters of VeRA do not hold these numbers. A change here breaks them.
  const { tensors } = createAdapter(parseAdapterConfig({ method: "vera", rank: 3, seed: 5 }), shapes);
  const first = (name: string): readonly number[] => [...tensors.get(name)!.data.subarray(0, 4)];
  expect(first("q_proj.A")).toEqual([
    -0.3951106369495392, 0.35274243354797363, 0.28562131524086, 0.42994117736816406,
  ]);
  expect(first("down_proj.B")).toEqual([
    -1.3182051181793213, -0.7666613459587097, 0.2689215838909149, -1.345412015914917,
  ]);
});

test("targets are put in the order of the model, each once", () => {
  const { targets } = parseAdapterConfig({ method: "lora", targets: ["up_proj", "q_proj", "up_proj"] });
  expect(targets).toEqual(["q_proj", "up_proj"]);
});

describe("settings that cannot be read", () => {
  const whole = (from: number, to: number): string => `invalid; give a whole number from ${from} to ${to}`;
  const all =
    "lora, mos, pure-sharing, random-scaling, subset-selection, vera, tied-lora, prolora, lora-xs or uni-lora";
  const ofMos =
    "rank, dropout, targets, seed, alpha, equivalentRank, shardsPerVector, privateRank, pairDissociation";
  test.each<[unknown, string]>([
    [null, "null is invalid; give an object with a method and its settings"],
    ["lora", '"lora" is invalid; give an object with a method and its settings'],
    [[], "[] is invalid; give an object with a method and its settings"],
    [{}, `method is missing; it can be ${all}`],
    [{ rank: 8 }, `method is missing; it can be ${all}`],
    [{ method: "dora" }, `method "dora" is not known; it can be ${all}`],
    [{ method: "toString" }, `method "toString" is not known; it can be ${all}`],
    [{ method: 3n }, `method 3 is not known; it can be ${all}`],
    [
      { method: "lora", shards: 2 },
      '"shards" is not a setting of lora; it has rank, dropout, targets, seed, alpha',
    ],
    [{ method: "mos", shards: 2, e: 1 }, `"shards", "e" are not settings of mos; it has ${ofMos}`],
    [{ method: "lora", rank: "8" }, `rank "8" is ${whole(1, 4096)}`],
    [{ method: "lora", rank: 0 }, `rank 0 is ${whole(1, 4096)}`],
    [{ method: "lora", rank: 2.5 }, `rank 2.5 is ${whole(1, 4096)}`],
    [{ method: "lora", rank: Number.NaN }, `rank NaN is ${whole(1, 4096)}`],
    [{ method: "lora", rank: Number.POSITIVE_INFINITY }, `rank Infinity is ${whole(1, 4096)}`],
    [{ method: "lora", rank: 1e9 }, `rank 1000000000 is ${whole(1, 4096)}`],
    [{ method: "lora", rank: 8n }, `rank 8 is ${whole(1, 4096)}`],
    [{ method: "mos", rank: null }, `rank null is ${whole(1, 4096)}`],
    [{ method: "mos", equivalentRank: 0 }, `equivalentRank 0 is ${whole(1, 4096)}`],
    [{ method: "mos", privateRank: -1 }, `privateRank -1 is ${whole(0, 4096)}`],
    [{ method: "mos", shardsPerVector: 0 }, `shardsPerVector 0 is ${whole(1, 65_536)}`],
    [{ method: "mos", pairDissociation: "no" }, 'pairDissociation "no" is invalid; give true or false'],
    [{ method: "lora", alpha: 0 }, "alpha 0 is invalid; give a number above 0 and up to 1000000"],
    [{ method: "lora", alpha: "16" }, 'alpha "16" is invalid; give a number above 0 and up to 1000000'],
    [{ method: "lora", dropout: 1 }, "dropout 1 is invalid; give a probability from 0 to below 1"],
    [{ method: "lora", dropout: -0.1 }, "dropout -0.1 is invalid; give a probability from 0 to below 1"],
    [{ method: "lora", targets: [] }, `targets [] is invalid; give a list of one or more of ${known}`],
    [{ method: "lora", targets: "q" }, `targets "q" is invalid; give a list of one or more of ${known}`],
    [{ method: "lora", targets: ["q_proj", "q"] }, `targets.1 "q" is invalid; give one of ${known}`],
    [{ method: "lora", seed: -1 }, "seed -1 is invalid; give a whole number below 2^53, 0 or more"],
    [
      { method: "lora", seed: 2 ** 53 },
      "seed 9007199254740992 is invalid; give a whole number below 2^53, 0 or more",
    ],
  ])("%o", (input, message) => {
    expect(() => parseAdapterConfig(input, "settings.json")).toThrowError(
      expect.objectContaining({ code: "bad_config", message: `settings.json: ${message}` }),
    );
  });
});

describe("settings that contradict each other or the model", () => {
  test.each<[Record<string, unknown>, string]>([
    [
      { rank: 4, equivalentRank: 2, privateRank: 3 },
      "private rank 3 is more than the equivalent rank 2; a layer cannot own more than its budget. Use a private rank of 0 to 2",
    ],
    [
      { rank: 2, equivalentRank: 4, privateRank: 0 },
      "rank 2 is less than the equivalent rank 4; MoS assembles at least as many ranks as it has budget for. Use a rank of 4 or more",
    ],
    [
      { rank: 4, equivalentRank: 2, privateRank: 2 },
      "private rank 2 leaves nothing to share (equivalent rank 2), so rank 4 cannot be filled; use rank 2, which is LoRA, or a private rank below 2",
    ],
    [
      { rank: 4, equivalentRank: 2, privateRank: 1 },
      "rank 4 needs 3 shared ranks, but 2 layers × (equivalent rank 2 − private rank 1) share only 2; use a rank of at most 3",
    ],
    [
      { rank: 3, shardsPerVector: 3 },
      "q_proj: its d_in of 16 does not split into 3 shards; shards per vector can be 1, 2, 4, 8 for these targets",
    ],
    [
      { rank: 3, shardsPerVector: 16 },
      "k_proj: its d_out of 8 does not split into 16 shards; shards per vector can be 1, 2, 4, 8 for these targets",
    ],
    [
      { rank: 3, shardsPerVector: 3, targets: ["q_proj", "o_proj"] },
      "q_proj: its d_in of 16 does not split into 3 shards; shards per vector can be 1, 2, 4, 8, 16 for these targets",
    ],
  ])("mos %o", (settings, message) => {
    const config = parseAdapterConfig({ method: "mos", ...settings });
    expect(() => createAdapter(config, shapes)).toThrowError(
      expect.objectContaining({ code: "bad_config", message }),
    );
  });

  test.each([
    [
      { method: "subset-selection", rank: 5, equivalentRank: 2 },
      "rank 5 is more than the 4 shared pairs of 2 layers × equivalent rank 2; use a rank of at most 4",
    ],
    [
      { method: "random-scaling", rank: 4, scaleMean: 0, scaleDeviation: 0 },
      "scale mean 0 and scale deviation 0 make every scale 0, so nothing could be trained; give another mean or a deviation above 0",
    ],
    [
      { method: "prolora", rank: 2, unsharedRank: 3 },
      "unshared rank 3 is more than the rank 2; use an unshared rank of 0 to 2",
    ],
    [
      { method: "prolora", rank: 2, chunks: 9 },
      "9 chunks are more than the width 8 of k_proj; use at most 8",
    ],
  ])("%o", (settings, message) => {
    expect(() => createAdapter(parseAdapterConfig(settings), shapes)).toThrowError(
      expect.objectContaining({ code: "bad_config", message }),
    );
  });

  test("tied-lora takes q, k and v only, and one A must fit all of them", () => {
    expect(() => parseAdapterConfig({ method: "tied-lora", targets: ["up_proj"] })).toThrowError(
      'adapter: targets.0 "up_proj" is invalid; give one of q_proj, k_proj, v_proj',
    );
    const widths = { q_proj: { in: 16, out: 16 }, v_proj: { in: 8, out: 8 } };
    const config = parseAdapterConfig({ method: "tied-lora", targets: ["q_proj", "v_proj"] });
    expect(() => createAdapter(config, { layers: 2, widths })).toThrowError(
      "targets: v_proj has 8 inputs and q_proj has 16, so they cannot share one A; train them in separate adapters",
    );
  });

  test("vera has no alpha", () => {
    expect(() => parseAdapterConfig({ method: "vera", alpha: 16 })).toThrowError(
      '"alpha" is not a setting of vera; it has rank, dropout, targets, seed',
    );
  });

  test("the ranks that the messages name do work", () => {
    for (const settings of [
      { rank: 2, equivalentRank: 2, privateRank: 2 },
      { rank: 3, equivalentRank: 2, privateRank: 1 },
      { rank: 4, equivalentRank: 4, privateRank: 0 },
      { rank: 3, shardsPerVector: 8 },
    ])
      expect(() => createAdapter(parseAdapterConfig({ method: "mos", ...settings }), shapes)).not.toThrow();
  });

  test.each(METHOD_NAMES)("%s on a model that lacks a target", (method) => {
    const config = parseAdapterConfig({ ...methods[method].example, targets: ["q_proj", "v_proj"] });
    const { q_proj, up_proj } = shapes.widths;
    expect(() =>
      createAdapter(config, { layers: 2, widths: { q_proj: q_proj!, up_proj: up_proj! } }),
    ).toThrowError(
      expect.objectContaining({
        code: "bad_config",
        message: "targets: this model has no v_proj; it has q_proj, up_proj",
      }),
    );
  });
});
