// A randomised Hadamard transform of rows, block by block: x Q for an orthogonal Q. Activations have a few channels that
// are far larger than the rest, and a byte for the largest leaves little for the others; the transform spreads them over
// their block. Since (x Q)(W Q)ᵀ = x Wᵀ, products stay what they are (QuaRot, section 3).
import { randomStream } from "#core";
import { constant, emit, int64s, MICROSOFT, type Value, withGradient } from "../value.ts";

/** Larger blocks spread further, and cost more. */
const LARGEST = 128;

/** Numbers of a block: the largest power of two that divides the width of the rows, at most 128. */
function blockSizeOf(width: number): number {
  let size = 1;
  while (size < LARGEST && width % (2 * size) === 0) size *= 2;
  return size;
}

const random = randomStream(0, "hadamard");
/** Without random signs, what the numbers of a block have in common would end in one of them. */
const SIGNS = Float32Array.from({ length: LARGEST }, () => (random.uniform() < 0.5 ? -1 : 1));

/** Multiplies each block of `data` by the Hadamard matrix H / √size, which is its own inverse. */
function transformBlocks(data: Float32Array, size: number): void {
  const factor = 1 / Math.sqrt(size);
  for (let begin = 0; begin < data.length; begin += size) {
    for (let half = 1; half < size; half *= 2)
      for (let i = begin; i < begin + size; i += 2 * half)
        for (let j = i; j < i + half; j++) {
          const [a, b] = [data[j] as number, data[j + half] as number];
          data[j] = a + b;
          data[j + half] = a - b;
        }
    for (let j = begin; j < begin + size; j++) data[j] = (data[j] as number) * factor;
  }
}

function multiplyBySigns(data: Float32Array, size: number): void {
  for (let i = 0; i < data.length; i++) data[i] = (data[i] as number) * (SIGNS[i % size] as number);
}

/** Rows of `width` numbers in the place of what they were: x Q, or x Qᵀ, which undoes it. */
export function hadamardRows(data: Float32Array, width: number, { inverse = false } = {}): void {
  const size = blockSizeOf(width);
  if (!inverse) multiplyBySigns(data, size);
  transformBlocks(data, size);
  if (inverse) multiplyBySigns(data, size);
}

const matrices = new Map<number, Value>();

/** Q [size, size] */
function matrixOf(size: number): Value {
  const found = matrices.get(size);
  if (found !== undefined) return found;
  const rows = Float32Array.from({ length: size * size }, (_, i) => (i % (size + 1) === 0 ? 1 : 0));
  hadamardRows(rows, size);
  const made = constant(rows, [size, size]);
  matrices.set(size, made);
  return made;
}

/** x Q for x [N, width], or x Qᵀ. */
export function hadamard(x: Value, { inverse = false } = {}): Value {
  const width = x.shape[1] as number;
  const size = blockSizeOf(width);
  const blocks = emit("Reshape", [x, int64s(-1, size)], { shape: ["blocks", size] });
  const product = emit("FusedMatMul", [blocks, matrixOf(size)], {
    ...MICROSOFT,
    shape: ["blocks", size],
    attributes: { transA: 0, transB: Number(inverse), alpha: { float: 1 } },
  });
  const y = emit("Reshape", [product, int64s(-1, width)], { shape: x.shape });
  return withGradient(y, [x], (dy) => [hadamard(dy, { inverse: !inverse })]);
}
