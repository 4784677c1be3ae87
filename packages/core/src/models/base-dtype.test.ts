import type { WeightFormat } from "mixture-of-shards-graph/common";
import { expect, test } from "vitest";
import { chooseFormat, defaultComputeDtype, hasTransposedCodes } from "./base-dtype.ts";

const LAYER = "model.layers.3.mlp.up_proj.weight";
const FOUR_BITS: WeightFormat = {
  kind: "blocks",
  bits: 4,
  blockSize: 32,
  zeroPoint: 8,
  scales: "float16",
  offsets: false,
};

test("products are in int8 on a CPU where all linear layers have at most 8 bits, whatever else the model has", () => {
  const others: readonly (readonly [string, WeightFormat])[] = [
    ["model.embed_tokens.weight", { kind: "float16" }],
    ["model.norm.weight", { kind: "float32" }],
  ];
  const choose = (format: WeightFormat) => defaultComputeDtype([...others, [LAYER, format]]);
  expect(choose(FOUR_BITS)).toBe("int8");
  expect(defaultComputeDtype([[LAYER, FOUR_BITS]], "webgpu")).toBe("float32");
  expect(choose({ kind: "nf4", blockSize: 64 })).toBe("float32");
  expect(choose({ kind: "bfloat16" })).toBe("float32");
  const one = LAYER.replace("3", "4");
  expect(defaultComputeDtype([...others, [LAYER, FOUR_BITS], [one, { kind: "float16" }]])).toBe("float32");
});

test("int8 codes are kept a second time for small bases only", () => {
  expect([4.9e8, 5e8].map(hasTransposedCodes)).toEqual([true, false]);
});

test("a table of embeddings of each layer stays as it is stored where a base is float32", () => {
  const weight = { shape: [48, 24], stored: { kind: "bfloat16" }, where: "file" } as const;
  const formats = { baseDtype: "float32", computeDtype: "float32", transposedCodes: false } as const;
  const kindOf = (name: string) => chooseFormat({ ...weight, name }, formats).kind;
  expect(kindOf("model.embed_tokens_per_layer.weight")).toBe("bfloat16");
  expect(kindOf("model.embed_tokens.weight")).toBe("float32");
});
