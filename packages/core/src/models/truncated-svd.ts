// Truncated singular value decomposition, W [out, in] ≈ U Σ Vᵀ, by Lanczos' method in float64 and in one fixed order: it has the same
// bits on every machine, so that what is trained between U Σ and Vᵀ on one of them can be used on another.

import { randomStream } from "#common";
import { nextTurn } from "#platform";

/** Vᵀ [r, in] and (U Σ)ᵀ [r, out], the largest singular value first; the largest entry of each row of Vᵀ is positive. */
export interface TruncatedSvd {
  readonly a: Float32Array;
  readonly b: Float32Array;
}

/** A matrix in row-major order. */
interface Matrix {
  readonly data: Float32Array;
  readonly out: number;
  readonly in: number;
}

function dot(x: Float64Array, y: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i] as number) * (y[i] as number);
  return sum;
}

function addScaled(y: Float64Array, x: Float64Array, scale: number): void {
  for (let i = 0; i < y.length; i++) y[i] = (y[i] as number) + scale * (x[i] as number);
}

function times({ data, out, in: width }: Matrix, x: Float64Array): Float64Array {
  const y = new Float64Array(out);
  for (let row = 0, at = 0; row < out; row++) {
    let sum = 0;
    for (let i = 0; i < width; i++, at++) sum += (data[at] as number) * (x[i] as number);
    y[row] = sum;
  }
  return y;
}

function transposedTimes({ data, out, in: width }: Matrix, y: Float64Array): Float64Array {
  const x = new Float64Array(width);
  for (let row = 0, at = 0; row < out; row++) {
    const scale = y[row] as number;
    for (let i = 0; i < width; i++, at++) x[i] = (x[i] as number) + scale * (data[at] as number);
  }
  return x;
}

/** Makes a vector orthogonal to the basis, twice for the sake of rounding, and of length 1. Returns its length before. */
function orthonormalise(x: Float64Array, basis: readonly Float64Array[]): number {
  for (const one of [...basis, ...basis]) addScaled(x, one, -dot(x, one));
  const length = Math.sqrt(dot(x, x));
  for (let i = 0; i < x.length; i++) x[i] = (x[i] as number) / length;
  return length;
}

/** One step of QL with an implicit shift on the block from `first` to `last`, whose rotations turn `rows`, too. */
function rotateBlock(
  [diagonal, beside]: readonly [Float64Array, Float64Array],
  rows: readonly Float64Array[],
  { first, last }: { readonly first: number; readonly last: number },
): void {
  const [d, e] = [(i: number) => diagonal[i] as number, (i: number) => beside[i] as number];
  const half = (d(first + 1) - d(first)) / (2 * e(first));
  const root = Math.sqrt(half * half + 1);
  let g = d(last) - d(first) + e(first) / (half + (half < 0 ? -root : root));
  let [sine, cosine, shift] = [1, 1, 0];
  for (let i = last - 1; i >= first; i--) {
    const [f, b] = [sine * e(i), cosine * e(i)];
    const r = Math.sqrt(f * f + g * g);
    beside[i + 1] = r;
    [sine, cosine] = r === 0 ? [0, 1] : [f / r, g / r];
    g = d(i + 1) - shift;
    const turned = (d(i) - g) * sine + 2 * cosine * b;
    shift = sine * turned;
    diagonal[i + 1] = g + shift;
    g = cosine * turned - b;
    const [low, high] = [rows[i], rows[i + 1]] as [Float64Array, Float64Array];
    for (let k = 0; k < low.length; k++) {
      const [x, y] = [low[k] as number, high[k] as number];
      low[k] = cosine * x - sine * y;
      high[k] = sine * x + cosine * y;
    }
  }
  diagonal[first] = d(first) - shift;
  beside[first] = g;
  beside[last] = 0;
}

/** Turns the diagonal into the eigenvalues, and gives their vectors: row i belongs to `diagonal[i]`. */
function diagonalise(diagonal: Float64Array, beside: Float64Array): readonly Float64Array[] {
  const size = diagonal.length;
  const at = (data: Float64Array, i: number): number => Math.abs(data[i] as number);
  const isSmall = (i: number): boolean =>
    at(beside, i) <= Number.EPSILON * (at(diagonal, i) + at(diagonal, i + 1));
  const rows = Array.from({ length: size }, (_, i) => new Float64Array(size).fill(1, i, i + 1));
  for (let first = 0; first < size; first++) {
    const end = (): number => {
      let last = first;
      while (last < size - 1 && !isSmall(last)) last++;
      return last;
    };
    for (let last = end(), i = 0; last > first && i < MAX_ROTATIONS; last = end(), i++)
      rotateBlock([diagonal, beside], rows, { first, last });
  }
  return rows;
}

/** For one eigenvalue; three are usual. */
const MAX_ROTATIONS = 64;
/** Steps go on to the whole width of smaller matrices, whose result is exact. */
const EXACT_WIDTH = 64;
const STEPS_PER_RANK = 3;
/** Relative length of what is left of a vector beside the basis that is nothing but rounding. */
const EXHAUSTED = 1e-12;

/** An orthonormal basis in which a symmetric matrix is tridiagonal. */
async function lanczos(multiply: (x: Float64Array) => Float64Array, width: number, steps: number) {
  const random = randomStream(0, "truncated svd");
  const basis: Float64Array[] = [];
  const [diagonal, beside] = [new Float64Array(steps), new Float64Array(steps)];
  let next: Float64Array = new Float64Array(width);
  for (let step = 0; step < steps; step++) {
    const size = Math.sqrt(dot(next, next));
    let rest = orthonormalise(next, basis);
    if (!(rest > EXHAUSTED * size)) {
      // at the start, and where what it can reach is exhausted, as in a matrix of lower rank
      rest = 0;
      next = next.map(() => random.uniform() - 0.5);
      orthonormalise(next, basis);
    }
    if (step > 0) beside[step - 1] = rest;
    basis.push(next);
    const image = multiply(next);
    diagonal[step] = dot(image, next);
    next = image;
    await nextTurn();
  }
  return { basis, diagonal, beside };
}

/**
 * The r largest singular values with their vectors of a matrix, or of the product of two, which is never formed; of large ones
 * with flat spectra an approximation.
 */
export async function truncatedSvd(
  matrix: Matrix | readonly [Matrix, Matrix],
  rank: number,
): Promise<TruncatedSvd> {
  const [left, right = left] = [matrix].flat() as [Matrix, Matrix?];
  const [out, inputs] = [left.out, right.in];
  const isProduct = left !== right;
  const forward = (x: Float64Array) => times(left, isProduct ? times(right, x) : x);
  const back = (y: Float64Array) =>
    isProduct ? transposedTimes(right, transposedTimes(left, y)) : transposedTimes(left, y);
  const isWide = inputs > out;
  const [project, lift] = isWide ? [back, forward] : [forward, back];
  const width = Math.min(inputs, out);
  const steps = Math.min(width, Math.max(EXACT_WIDTH, STEPS_PER_RANK * rank));
  const { basis, diagonal, beside } = await lanczos((x) => lift(project(x)), width, steps);
  const weights = diagonalise(diagonal, beside);
  const order = [...weights.keys()].sort((i, j) => (diagonal[j] as number) - (diagonal[i] as number));
  const [a, b] = [new Float32Array(rank * inputs), new Float32Array(rank * out)];
  for (const [j, index] of order.slice(0, rank).entries()) {
    const vector = new Float64Array(width);
    for (const [i, one] of basis.entries()) addScaled(vector, one, weights[index]?.[i] ?? 0);
    const image = project(vector); // σ times the vector of the other side
    const sigma = Math.sqrt(dot(image, image));
    const v = isWide ? image.map((x) => (sigma > 0 ? x / sigma : 0)) : vector;
    const u = isWide ? vector.map((x) => x * sigma) : image;
    const largest = v.reduce((most, x) => (Math.abs(x) > Math.abs(most) ? x : most), 0);
    const sign = largest < 0 ? -1 : 1;
    a.set(
      v.map((x) => sign * x),
      j * inputs,
    );
    b.set(
      u.map((x) => sign * x),
      j * out,
    );
  }
  return { a, b };
}
