import type { PackedMatrix } from "#graph";
import type { ConstantsFile } from "#runtime";
import type { MatrixArrays } from "./packed-arrays.ts";

/** Writes the arrays of a packed matrix, which gets constants in their place. Throws `storage`. */
export async function writeMatrix(arrays: MatrixArrays, file: ConstantsFile): Promise<PackedMatrix> {
  if (arrays.kind === "nf4") {
    const { codes, scales } = arrays;
    return {
      ...arrays,
      codes: await file.add(codes, [codes.length], "uint8"),
      scales: await file.add(scales, [scales.length], "float32"),
    };
  }
  const { codes, scales, zeroPoints, offsets, out, blockSize, bits } = arrays;
  const blocks = scales.length / out;
  return {
    ...arrays,
    codes: await file.add(codes, [out, blocks, (blockSize * bits) / 8], "uint8"),
    scales: await file.add(scales, [out, blocks], "float32"),
    zeroPoints: zeroPoints && (await file.add(zeroPoints, [out, zeroPoints.length / out], "uint8")),
    offsets: offsets && (await file.add(offsets, [out, offsets.length / out], "float32")),
  };
}
