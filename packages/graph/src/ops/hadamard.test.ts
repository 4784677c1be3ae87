import { expect, test } from "vitest";
import { randomStream } from "../random.ts";
import { hadamardRows } from "./hadamard.ts";

const random = randomStream(2, "rows");
const width = 576;

test("the transform keeps products of rows, and is undone by its inverse", () => {
  const rows = (): Float32Array => Float32Array.from({ length: width }, () => random.normal());
  const [x, w] = [rows(), rows()];
  const dot = (a: Float32Array, b: Float32Array): number =>
    a.reduce((sum, v, i) => sum + v * (b[i] as number), 0);
  const [xq, wq] = [x.slice(), w.slice()];
  hadamardRows(xq, width);
  hadamardRows(wq, width);
  expect(dot(xq, wq)).toBeCloseTo(dot(x, w), 4);
  hadamardRows(xq, width, { inverse: true });
  xq.forEach((v, i) => {
    expect(v).toBeCloseTo(x[i] as number, 5);
  });
});

test("it spreads an outlier over its block", () => {
  const x = new Float32Array(width);
  x[70] = 64;
  hadamardRows(x, width);
  expect([...x.subarray(64, 128)].map(Math.abs)).toEqual(Array.from({ length: 64 }, () => 8));
  expect(x.subarray(0, 64).every((v) => v === 0)).toBe(true);
});
