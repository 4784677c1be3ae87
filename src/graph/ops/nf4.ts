import { MosError } from "#core";
import { emit, MICROSOFT, type StoredWeight, type Value } from "../value.ts";
import { requirePart } from "./dequantise.ts";
import { reshape } from "./shape.ts";

/**
 * x [N, in] · Wᵀ for a weight of form nf4, by the runtime's own operator: it looks levels up faster than a Gather. Only
 * this product is emitted: with transB = 0 the operator gives wrong numbers, so the backward pass dequantises.
 */
export function nf4Forward(x: Value, weight: StoredWeight): Value {
  const [out = 0, width = 0] = weight.shape;
  if (weight.format.kind !== "nf4") throw new MosError("bad_config", "only nf4 has this product");
  const codes = requirePart(weight, "codes");
  const scales = requirePart(weight, "scales");
  return emit(
    "MatMulBnb4",
    [x, reshape(codes, [(out * width) / 2]), reshape(scales, [(out * width) / weight.format.blockSize])],
    {
      ...MICROSOFT,
      shape: [...x.shape.slice(0, -1), out],
      dtype: "float32",
      attributes: { K: width, N: out, block_size: weight.format.blockSize, quant_type: 1, transB: 1 },
    },
  );
}
