// Products of bytes against the same arithmetic in whole numbers, and against the numbers that the codes stand for.

import {
  compile,
  grad,
  hadamard,
  hadamardRows,
  leaf,
  linear,
  lowRankLinear,
  mul,
  sum,
  weightLeaf,
} from "mixture-of-shards-graph";
import { MAX_ROW_CODE } from "mixture-of-shards-graph/common";
import { describe, expect, test } from "vitest";
import { randomStream } from "#common";
import { expand, randomWeight } from "./stored-weights.ts";

const [rows, width, out] = [9, 128, 24];
const shape = [out, width];
const random = randomStream(4, "int8");
const numbers = (length: number) => Float32Array.from({ length }, () => random.normal());
const x = { shape: [rows, width], data: numbers(rows * width) };
x.data.fill(0, width, 2 * width); // a padded row
x.data[2 * width] = 40; // an outlier
const t = { shape: [rows, out], data: numbers(rows * out) };

/** Codes from −127 to 127 and the scale of every row. */
function quantise(data: Float32Array, width: number): { codes: Int32Array; scales: Float32Array } {
  const scales = new Float32Array(data.length / width);
  for (let row = 0; row < scales.length; row++) {
    const most = data
      .subarray(row * width, (row + 1) * width)
      .reduce((m, v) => Math.max(m, Math.abs(v)), 1e-30);
    scales[row] = Math.fround(most) * Math.fround(1 / 127);
  }
  const even = (v: number) => (Math.abs(v % 1) === 0.5 ? 2 * Math.round(v / 2) : Math.round(v));
  const codes = Int32Array.from(data, (v, i) => even(Math.fround(v / scales[Math.floor(i / width)]!)));
  return { codes, scales };
}

/** x [rows, k] · b [k, n] in whole numbers, by the scales of the rows. */
function product(
  data: Float32Array,
  k: number,
  b: (k: number, n: number) => number,
  n: number,
): Float32Array {
  const { codes, scales } = quantise(data, k);
  return Float32Array.from({ length: scales.length * n }, (_, i) => {
    const [row, column] = [Math.floor(i / n), i % n];
    let sum = 0;
    for (let j = 0; j < k; j++) sum += codes[row * k + j]! * b(j, column);
    return sum * scales[row]!;
  });
}

const worst = (left: ArrayLike<number>, right: Float32Array): number => {
  const size = right.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  return right.reduce((most, v, i) => Math.max(most, Math.abs(v - left[i]!)), 0) / size;
};

describe.each([false, true])("with the transpose of the codes stored: %s", (transposed) => {
  const stored = randomWeight({ kind: "int8rows", transposed }, shape);
  const { codes, scales } = stored.parts as { codes: Int8Array; scales: Float32Array };
  const turned = Int8Array.from(
    { length: codes.length },
    (_, i) => codes[(i % out) * width + Math.floor(i / out)]!,
  );
  const feeds = {
    x,
    t,
    "w:codes": { shape, data: codes },
    "w:scales": { shape: [out], data: scales },
    ...(transposed ? { "w:transposed": { shape: [width, out], data: turned } } : {}),
  };
  const input = leaf("x", ["rows", width]);
  const weight = weightLeaf("w", shape, stored.format);

  test("the product and its gradient are those of whole numbers", async () => {
    const y = linear(input, weight);
    const [dx] = grad(sum(mul(y, leaf("t", ["rows", out]))), [input]);
    await using program = await compile({ y, dx: dx!, transformed: hadamard(input) });
    const found = await program.run(feeds);
    const transformed = found["transformed"]!.data as Float32Array;
    const forward = product(transformed, width, (j, n) => codes[n * width + j]! * scales[n]!, out);
    expect(worst(found["y"]!.data, forward)).toBeLessThan(1e-6);
    const dy = t.data.map((v, i) => v * scales[i % out]!);
    const backward = product(dy, out, (j, n) => codes[j * width + n]!, width);
    hadamardRows(backward, width, { inverse: true });
    expect(worst(found["dx"]!.data, backward)).toBeLessThan(1e-6);
    const again = await program.run(feeds);
    expect(again["y"]!.data).toEqual(found["y"]!.data);
  });

  // pairs of products are added in 16 bits on some processors
  test.each([1, 48])("codes at the ends of their ranges do not overflow, in %i rows", async (rows) => {
    await using program = await compile({ y: linear(leaf("x", [rows, width]), weight) });
    const extremes = new Int8Array(codes.length).fill(MAX_ROW_CODE);
    const ends = new Float32Array(rows * width).fill(127);
    hadamardRows(ends, width, { inverse: true });
    const { y } = await program.run({
      x: { shape: [rows, width], data: ends },
      ...(transposed
        ? { "w:transposed": { shape: [width, out], data: extremes } }
        : { "w:codes": { shape, data: extremes } }),
      "w:scales": { shape: [out], data: new Float32Array(out).fill(1) },
    });
    for (const sum of y!.data) expect(sum / (127 * MAX_ROW_CODE * width)).toBeCloseTo(1, 5);
  });

  test("they are near those of the numbers that the codes stand for, with an adapter beside them", async () => {
    const [a, b] = [leaf("a", [2, width]), leaf("b", [2, out])];
    const outputs = (w: typeof weight) => {
      const y = lowRankLinear(input, w, { a, b, scale: 0.5 });
      const [dx, da, db] = grad(sum(mul(y, leaf("t", ["rows", out]))), [input, a, b]);
      return { y, dx: dx!, da: da!, db: db! };
    };
    const factors = {
      a: { shape: [2, width], data: numbers(2 * width) },
      b: { shape: [2, out], data: numbers(2 * out) },
    };
    await using program = await compile(outputs(weight));
    await using reference = await compile(outputs(leaf("w", shape)));
    const found = await program.run({ ...feeds, ...factors });
    const expected = await reference.run({ x, t, ...factors, w: { shape, data: expand(stored) } });
    for (const [name, { data }] of Object.entries(expected))
      expect(worst(found[name]!.data, data as Float32Array), name).toBeLessThan(0.01);
  });
});
