// A randomised Hadamard transform of rows, block by block: x Q for an orthogonal Q. Activations have a few channels that
// are far larger than the rest, and a byte for the largest leaves little for the others; the transform spreads them over
// their block. Since (x Q)(W Q)ᵀ = x Wᵀ, products stay what they are (QuaRot, section 3).
import { randomStream } from "../random.ts";
import { constant, emit, int64s, MICROSOFT, type Value, withGradient } from "../value.ts";

/** Larger blocks spread further, and cost more. */
const MAX_BLOCK_SIZE = 128;

/** Numbers of a block: the largest power of two that divides the width of the rows, at most 128. */
function hadamardBlockSize(width: number): number {
  let size = 1;
  while (size < MAX_BLOCK_SIZE && width % (2 * size) === 0) size *= 2;
  return size;
}

const random = randomStream(0, "hadamard");
/** Without random signs, what the numbers of a block have in common would end in one of them. */
const SIGNS = Float32Array.from({ length: MAX_BLOCK_SIZE }, () => (random.uniform() < 0.5 ? -1 : 1));

const ONES = new Float32Array(MAX_BLOCK_SIZE).fill(1);

/** Two stages of the transform of a block at a time: half the loads and stores. Multiplies by H, which is 1 and −1. */
function transform(block: Float64Array, size: number): void {
  let step = 1;
  for (; 4 * step <= size; step *= 4)
    for (let i = 0; i < size; i += 4 * step)
      for (let j = i; j < i + step; j++) {
        const first = (block[j] as number) + (block[j + step] as number);
        const second = (block[j] as number) - (block[j + step] as number);
        const third = (block[j + 2 * step] as number) + (block[j + 3 * step] as number);
        const fourth = (block[j + 2 * step] as number) - (block[j + 3 * step] as number);
        block[j] = first + third;
        block[j + step] = second + fourth;
        block[j + 2 * step] = first - third;
        block[j + 3 * step] = second - fourth;
      }
  if (step === size) return;
  for (let j = 0; j < step; j++) {
    const [first, second] = [block[j] as number, block[j + step] as number];
    block[j] = first + second;
    block[j + step] = first - second;
  }
}

/** Transforms rows of `width` values in place: x Q, or x Qᵀ, which undoes it. */
export function hadamardRows(data: Float32Array, width: number, { inverse = false } = {}): void {
  const size = hadamardBlockSize(width);
  const factor = 1 / Math.sqrt(size); // H / √size is its own inverse
  const [before, after] = inverse ? [ONES, SIGNS] : [SIGNS, ONES];
  const block = new Float64Array(size);
  for (let begin = 0; begin < data.length; begin += size) {
    for (let j = 0; j < size; j++) block[j] = (data[begin + j] as number) * (before[j] as number);
    transform(block, size);
    for (let j = 0; j < size; j++) data[begin + j] = (block[j] as number) * factor * (after[j] as number);
  }
}

const matrices = new Map<number, Value>();

/** Q [size, size] */
function hadamardMatrix(size: number): Value {
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
  const size = hadamardBlockSize(width);
  const blocks = emit("Reshape", [x, int64s(-1, size)], { shape: ["blocks", size] });
  const product = emit("FusedMatMul", [blocks, hadamardMatrix(size)], {
    ...MICROSOFT,
    shape: ["blocks", size],
    attributes: { transA: 0, transB: Number(inverse), alpha: { float: 1 } },
  });
  const y = emit("Reshape", [product, int64s(-1, width)], { shape: x.shape });
  return withGradient(y, [x], (dy) => [hadamard(dy, { inverse: !inverse })]);
}
