// Each choice that a hook of the decoder can make, against the plain form.

import {
  add,
  addRmsNorm,
  attention,
  compile,
  concat,
  embed,
  leaf,
  linear,
  packedBlocks,
  reshape,
  split,
  transpose,
  type Value,
} from "mixture-of-shards-graph";
import { describe, expect, test } from "vitest";
import { randomStream } from "#common";
import {
  type AttentionHook,
  type DecoderOptions,
  decoder,
  headWeight,
  modulePath,
  type ProjectHook,
  weightLeaves,
} from "#models";
import { tinyModel } from "./tiny-model.ts";

const { config, weights } = tinyModel({
  overrides: { attention_bias: true, mlp_bias: true, num_hidden_layers: 3 },
});
const { heads: H, keyValueHeads: K, headDim: D, vocabularySize: V } = config;
const leaves = weightLeaves(config);

// two packed rows, of examples of 4 + 3 and of 6 tokens
const SHAPE = [2, 7] as const;
const POSITIONS = Int32Array.of(0, 1, 2, 3, 0, 1, 2, 0, 1, 2, 3, 4, 5, 0);
const SEGMENTS = Int32Array.of(1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 0);
const random = randomStream(1, "ids");
const IDS = Int32Array.from(POSITIONS, () => random.below(V));

const blocks = packedBlocks(leaf("segments", SHAPE, "int32"), { blockSize: 3 });
const plainAttention: AttentionHook = {
  heads: "split",
  attend: ({ q, k, v }) => attention(q, k, { v, scale: 1 / Math.sqrt(D), blocks }),
};

const splitHeads = (x: Value, heads: number): Value =>
  transpose(reshape(x, [...SHAPE, heads, D]), [0, 2, 1, 3]);
/** The same attention for heads that come joined. */
const joinedAttention: AttentionHook = {
  heads: "joined",
  attend: ({ q, k, v, layer }) => {
    const heads = { q: splitHeads(q, H), k: splitHeads(k, K), v: splitHeads(v, K), layer, keyLayer: layer };
    return reshape(transpose(plainAttention.attend(heads), [0, 2, 1, 3]), [...SHAPE, H * D]);
  },
};

/** The weights of a group under each other, which one product takes. */
const joinedProjections: ProjectHook = (x, { layer, linears }) => {
  const paths = linears.map((name) => modulePath({ layer, linear: name }));
  const makeValues = (kind: "weight" | "bias") => paths.map((path) => leaves.get(`${path}.${kind}`) as Value);
  const matrix = concat(makeValues("weight"), 0);
  const sizes = makeValues("bias").map(({ shape }) => shape[0] as number);
  return split(add(linear(x, matrix), concat(makeValues("bias"), 0)), { axis: x.shape.length - 1, sizes });
};

/** Logits of every token, or of those of `logitsIndices`: [T, V] */
async function computeLogits(choices: Partial<DecoderOptions>): Promise<Float32Array> {
  const hidden = decoder(config, {
    ids: leaf("ids", SHAPE, "int32"),
    positions: leaf("positions", SHAPE, "int64"),
    maxPositions: 7,
    weights: leaves,
    attention: plainAttention,
    earlier: () => [],
    recurrent: { convolve: (x) => x, recur: ({ v }) => v },
    ...choices,
  });
  await using program = await compile({ logits: linear(hidden, headWeight(config, leaves)) });
  const feeds = {
    ...Object.fromEntries(weights),
    ids: { shape: SHAPE, data: IDS },
    positions: { shape: SHAPE, data: POSITIONS },
    segments: { shape: SHAPE, data: SEGMENTS },
    logits_indices: { shape: [3], data: Int32Array.of(13, 0, 8) },
  };
  const { logits } = await program.run(
    Object.fromEntries(Object.entries(feeds).filter(([name]) => program.inputs.has(name))),
  );
  return logits?.data as Float32Array;
}

function expectClose(found: Float32Array, expected: Float32Array): void {
  expect(found).toHaveLength(expected.length);
  const worst = found.reduce((max, x, i) => Math.max(max, Math.abs(x - (expected[i] as number))), 0);
  expect(worst).toBeLessThan(1e-5);
}

const plain = await computeLogits({});

describe("gives the plain form's logits", () => {
  const choices: Readonly<Record<string, Partial<DecoderOptions>>> = {
    "with one product for each group of linear layers": { project: joinedProjections },
    "with the sum and its norm in one operator": { addNorm: addRmsNorm },
    "with heads that stay joined": { attention: joinedAttention },
    "with tokens in one dimension": { layout: [14] },
  };
  test.each(Object.entries(choices))("%s", async (_, choice) => {
    expectClose(await computeLogits(choice), plain);
  });

  test("with all of these that go together", async () => {
    const { layout: _, ...all } = Object.assign({}, ...Object.values(choices));
    expectClose(await computeLogits(all), plain);
  });

  test.each([
    ["in one dimension", { layout: [14] }],
    ["in two", {}],
    ["in two, with fused norms", { addNorm: addRmsNorm }],
  ])("at the positions that are asked for, of tokens %s", async (_, choice) => {
    const logitsIndices = leaf("logits_indices", [3], "int32");
    const picked = [13, 0, 8].flatMap((at) => [...plain.subarray(at * V, (at + 1) * V)]);
    expectClose(await computeLogits({ logitsIndices, ...choice }), Float32Array.from(picked));
  });
});

test("a weight that is missing is named", async () => {
  const without = new Map(leaves);
  without.delete("model.layers.1.mlp.up_proj.weight");
  await expect(computeLogits({ weights: without })).rejects.toThrowError(
    expect.objectContaining({
      code: "bad_model",
      message: "the weight model.layers.1.mlp.up_proj.weight is missing from the model",
    }),
  );
});

test("reshape and embed agree on flat indices", async () => {
  // what the decoder relies on when it picks the tokens whose logits are needed
  const table = leaf("table", ["b", "s", 2]);
  const picked = embed(reshape(table, ["tokens", 2]), leaf("indices", ["n"], "int32"));
  await using program = await compile({ picked });
  const { picked: rows } = await program.run({
    table: { shape: [2, 3, 2], data: Float32Array.from({ length: 12 }, (_, i) => i) },
    indices: { shape: [2], data: Int32Array.of(1, 5) },
  });
  expect([...rows!.data]).toEqual([2, 3, 10, 11]);
});
