import { MosError } from "#core";
import { hadamardRows, leaf, linear, weightLeaf } from "#graph";
import { compile } from "./program.ts";

const WIDTH = 64;
const OUT = 32;

/** Rows and codes at the ends of their ranges, where a processor that adds pairs of products in 16 bits saturates. */
async function probe(): Promise<boolean> {
  const weight = weightLeaf("w", [OUT, WIDTH], { kind: "int8rows", transposed: false });
  await using program = await compile({ y: linear(leaf("x", ["rows", WIDTH]), weight) });
  const codes = { shape: [OUT, WIDTH], data: new Int8Array(OUT * WIDTH).fill(127) };
  const scales = { shape: [OUT], data: new Float32Array(OUT).fill(1) };
  for (const rows of [1, 48]) {
    const x = { shape: [rows, WIDTH], data: new Float32Array(rows * WIDTH).fill(127) };
    hadamardRows(x.data, WIDTH, { inverse: true });
    const { y } = await program.run({ x, "w:codes": codes, "w:scales": scales });
    const isExact = (sum: number): boolean => Math.abs(sum / (127 * 127 * WIDTH) - 1) < 1e-5;
    if (y?.data.every(isExact) !== true) return false;
  }
  return true;
}

let exact: Promise<boolean> | undefined;

/**
 * Checks, once for a process, that products of bytes are exact on this processor.
 *
 * @throws MosError "unsupported" where they are not.
 */
export async function requireInt8Products(): Promise<void> {
  exact ??= probe();
  if (!(await exact))
    throw new MosError(
      "unsupported",
      "products of bytes overflow on this processor (int8 needs AVX512-VNNI, AVX-VNNI, AMX or NEON); use float32 to compute",
    );
}
