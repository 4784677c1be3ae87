import type { DType, PackedMatrix, TensorData, Value } from "#graph";
import type { MatrixArrays } from "./packed-arrays.ts";

/** Takes a tensor, whose array is not needed afterwards, and gives the constant that it became. */
export type AddPart = (
  part: string,
  tensor: { readonly data: TensorData; readonly shape: readonly number[]; readonly dtype: DType },
) => Promise<Value>;

/** Writes the arrays of a packed matrix, which gets constants in their place. */
export async function writeMatrix(arrays: MatrixArrays, add: AddPart): Promise<PackedMatrix> {
  if (arrays.kind === "nf4") {
    const { codes, scales } = arrays;
    return {
      ...arrays,
      codes: await add("codes", { data: codes, shape: [codes.length], dtype: "uint8" }),
      scales: await add("scales", { data: scales, shape: [scales.length], dtype: "float32" }),
    };
  }
  const { codes, scales, zeroPoints, offsets, out, blockSize, bits } = arrays;
  const blocks = scales.length / out;
  const rows = (data: TensorData, dtype: DType) => ({ data, shape: [out, data.length / out], dtype });
  const shape = [out, blocks, (blockSize * bits) / 8];
  return {
    ...arrays,
    codes: await add("codes", { data: codes, shape, dtype: "uint8" }),
    scales: await add("scales", rows(scales, "float32")),
    zeroPoints: zeroPoints && (await add("zeroPoints", rows(zeroPoints, "uint8"))),
    offsets: offsets && (await add("offsets", rows(offsets, "float32"))),
  };
}
