import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { randomStream } from "#common";
import { writeTinyFolder } from "../../test/tiny-folder.ts";
import { singularFactors } from "./singular-factors.ts";
import { truncatedSvd } from "./truncated-svd.ts";

const draw = (label: string, rows: number, columns: number): number[][] => {
  const random = randomStream(1, label);
  return Array.from({ length: rows }, () => Array.from({ length: columns }, () => random.normal()));
};

const product = (a: number[][], b: number[][]): number[][] =>
  a.map((row) => b[0]!.map((_, j) => row.reduce((sum, x, k) => sum + x * b[k]![j]!, 0)));
const transposed = (a: number[][]): number[][] => a[0]!.map((_, j) => a.map((row) => row[j]!));

const rowsOf = (data: Float32Array, width: number): number[][] =>
  Array.from({ length: data.length / width }, (_, i) => [...data.subarray(i * width, (i + 1) * width)]);

/** Makes columns orthogonal and of length 1. */
function orthonormal(columns: number[][]): number[][] {
  const done: number[][] = [];
  for (const column of columns) {
    let rest = column;
    for (const one of [...done, ...done]) {
      const part = one.reduce((sum, x, i) => sum + x * rest[i]!, 0);
      rest = rest.map((x, i) => x - part * one[i]!);
    }
    const length = Math.hypot(...rest);
    done.push(rest.map((x) => x / length));
  }
  return done;
}

/** A matrix [out, in] with these singular values, and its factors. */
function known(out: number, width: number, values: readonly number[]) {
  const u = orthonormal(draw("u", values.length, out));
  const v = orthonormal(draw("v", values.length, width));
  const matrix = product(transposed(u.map((column, i) => column.map((x) => x * values[i]!))), v);
  return { v, data: Float32Array.from(matrix.flat()) };
}

test.each([
  ["tall", 20, 12],
  ["wide", 12, 20],
  ["square", 16, 16],
])("the largest singular values of a %s matrix, with their vectors", async (_, out, width) => {
  const values = [9, 7, 4, 2, 1, 0.5];
  const { v, data } = known(out, width, values);
  const { a, b } = await truncatedSvd({ data, out, in: width }, 4);
  const [right, left] = [rowsOf(a, width), rowsOf(b, out)];
  for (const [j, row] of right.entries()) {
    expect(Math.hypot(...left[j]!)).toBeCloseTo(values[j]!, 4);
    const cosine = row.reduce((sum, x, i) => sum + x * v[j]![i]!, 0);
    expect(Math.abs(cosine)).toBeCloseTo(1, 5);
    const largest = row.reduce((most, x) => (Math.abs(x) > Math.abs(most) ? x : most));
    expect(largest).toBeGreaterThan(0);
    // W v = σ u
    const image = product(rowsOf(data, width), transposed([row])).flat();
    for (const [i, x] of image.entries()) expect(x).toBeCloseTo(left[j]![i]!, 4);
  }
});

test("those of a product, which is not formed", async () => {
  const [out, rank, width] = [14, 3, 11];
  const draw3 = (length: number, seed: string) => {
    const random = randomStream(5, seed);
    return Float32Array.from({ length }, () => random.normal());
  };
  const [b, a] = [draw3(out * rank, "b"), draw3(rank * width, "a")];
  const data = Float32Array.from(product(rowsOf(b, rank), rowsOf(a, width)).flat());
  const whole = await truncatedSvd({ data, out, in: width }, rank);
  const found = await truncatedSvd(
    [
      { data: b, out, in: rank },
      { data: a, out: rank, in: width },
    ],
    rank,
  );
  for (const side of ["a", "b"] as const)
    for (const [i, x] of whole[side].entries()) expect(found[side][i]).toBeCloseTo(x, 4);
});

test("equal singular values, lower ranks and zeros have orthogonal vectors, too", async () => {
  const identity = Float32Array.from({ length: 64 }, (_, i) => Number(i % 9 === 0));
  const { a, b } = await truncatedSvd({ data: identity, out: 8, in: 8 }, 8);
  const rows = rowsOf(a, 8);
  for (const [i, one] of rows.entries())
    for (const [j, other] of rows.entries())
      expect(one.reduce((sum, x, k) => sum + x * other[k]!, 0)).toBeCloseTo(Number(i === j), 5);
  expect(b).toEqual(a);
  const { data } = known(10, 12, [3, 2]);
  const low = await truncatedSvd({ data, out: 10, in: 12 }, 5);
  expect(rowsOf(low.b, 10).map((row) => Math.round(Math.hypot(...row) * 1e3) / 1e3)).toEqual([3, 2, 0, 0, 0]);
  const none = await truncatedSvd({ data: new Float32Array(30), out: 5, in: 6 }, 2);
  expect([...none.a, ...none.b].every((x) => Number.isFinite(x))).toBe(true);
});

test("those of a large matrix approximate it almost as well as any of that rank", async () => {
  const values = Array.from({ length: 100 }, (_, i) => 100 * 0.9 ** i);
  const { data } = known(150, 120, values);
  const { b } = await truncatedSvd({ data, out: 150, in: 120 }, 20);
  for (const [j, row] of rowsOf(b, 150).entries())
    expect(Math.abs(Math.hypot(...row) - values[j]!)).toBeLessThan(1e-3 * values[j]!);
});

test("a base's factors are computed once, and those of modules that were not prepared are refused", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-svd-"));
  try {
    const { model } = await writeTinyFolder(folder);
    const factors = singularFactors(model);
    const target = { layer: 0, linear: "q_proj" } as const;
    expect(() => factors.get(target, 3)).toThrow(/singular vectors of .*q_proj were not prepared/);
    await Promise.all([factors.prepare([target], 3), factors.prepare([target], 3)]);
    const found = factors.get(target, 3);
    const again = singularFactors(model);
    await again.prepare([target], 3);
    expect(again.get(target, 3)).toEqual(found);
    for (const rank of [1, 2, 4, 5]) await factors.prepare([target], rank);
    expect(() => factors.get(target, 3)).toThrow(/were not prepared/);
    expect(factors.get(target, 5).a).toHaveLength(5 * 16);
    // so small ones leave no files beside the model
    expect((await readdir(model)).filter((name) => name.startsWith(".mos"))).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("large ones are kept beside the model, and read again unless another model is there by now", async () => {
  const folder = await mkdtemp(join(tmpdir(), "mos-svd-"));
  try {
    const { model } = await writeTinyFolder(folder);
    const target = { layer: 0, linear: "q_proj" } as const;
    const first = singularFactors(model, { minKept: 1 });
    await first.prepare([target], 2);
    const [name = ""] = await readdir(join(model, ".mos"));
    const file = join(model, ".mos", name, "0.q_proj.safetensors");
    const second = singularFactors(model, { minKept: 1 });
    await second.prepare([target], 2);
    expect(second.get(target, 2)).toEqual(first.get(target, 2));
    await writeFile(file, "damaged");
    const third = singularFactors(model, { minKept: 1 });
    await third.prepare([target], 2);
    expect(third.get(target, 2)).toEqual(first.get(target, 2));
  } finally {
    await rm(folder, { recursive: true });
  }
});
