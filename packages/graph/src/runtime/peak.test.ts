import { expect, test } from "vitest";
import { grad } from "../grad.ts";
import { add, mul } from "../ops/elementwise.ts";
import { lowRankLinear, type Merge, matmul } from "../ops/linear.ts";
import { sum } from "../ops/reduce.ts";
import { concat, reshape } from "../ops/shape.ts";
import { constant, emit, leaf } from "../value.ts";
import { Arena, programPeak } from "./peak.ts";

const dimensionSize = (): number => 1024;
const KB = 1024;
const matrix = (name: string) => leaf(name, [512, 512]); // 1 MiB

test("what is not needed any more makes room, and a chain of equal tensors needs two", () => {
  const a = matrix("a");
  const chain = (length: number) => {
    let x = a;
    for (let i = 0; i < length; i++) x = matmul(x, a);
    return programPeak({ y: x }, { dimensionSize });
  };
  expect(chain(12).workspace).toBe(chain(4).workspace);
  expect(chain(12).results).toBe(1024 * KB);
});

test("sums in place and other shapes of a tensor take nothing", () => {
  const [a, b] = [matrix("a"), matrix("b")];
  const product = matmul(a, b);
  const plain = programPeak({ y: product }, { dimensionSize });
  const more = reshape(
    mul(add(reshape(product, [512 * 512]), reshape(b, [512 * 512])), leaf("s", [])),
    [256, 1024],
  );
  expect(programPeak({ y: more }, { dimensionSize }).workspace).toBe(plain.workspace);
});

test("what several read is kept until the last of them", () => {
  const a = matrix("a");
  const kept = Array.from({ length: 8 }, (_, i) => matmul(a, matrix(`b${i}`)));
  // the sum begins at the last, so that all products are there at once
  const joined = kept.reduceRight((sum, x) => matmul(x, sum));
  const few = programPeak({ y: matmul(a, a) }, { dimensionSize }).workspace;
  expect(programPeak({ y: joined }, { dimensionSize }).workspace).toBeGreaterThan(few);
});

test("merged weights that are made again for the backward pass are few at a time", () => {
  const peak = (layers: number, merge: Merge): number => {
    const factors = Array.from({ length: layers }, (_, i) => leaf(`a${i}`, [2, 512]));
    const y = factors.reduce(
      (x, a, i) => lowRankLinear(x, matrix(`w${i}`), { a, b: leaf(`b${i}`, [2, 512]), scale: 1, merge }),
      leaf("x", [1, 512]),
    );
    return programPeak(Object.fromEntries(grad(sum(y), factors).entries()), { dimensionSize }).workspace;
  };
  expect(peak(16, "again")).toBeLessThan(peak(4, "again") + 1024 * KB);
  expect(peak(16, "kept")).toBeGreaterThan(12 * 1024 * KB);
});

test("dimensions that only a run knows are asked for", () => {
  const x = leaf("x", ["tokens", 64]);
  const measurePeak = (tokens: number): number =>
    programPeak({ y: matmul(x, leaf("w", [64, 4096])) }, { dimensionSize: () => tokens }).workspace;
  // the product and the copy that is given back
  expect(measurePeak(1024)).toBeGreaterThanOrEqual(2 * 4 * 1024 * 4096);
  expect(measurePeak(2048) / measurePeak(1024)).toBeCloseTo(2, 1);
});

test("joined dimensions are a sum, and one without a size is refused", () => {
  const y = concat([leaf("x", ["cached", 64]), leaf("z", ["tokens", 64])], 0);
  const asked: string[] = [];
  const measure = (size: number) =>
    programPeak(
      { y },
      {
        dimensionSize(name) {
          asked.push(name);
          return size;
        },
      },
    );
  expect(measure(1024).results).toBe(4 * 64 * 1024);
  expect(asked).toContain("cached + tokens");
  expect(() => measure(Number.NaN)).toThrow(/"cached \+ tokens" has the size NaN/);
});

test("a tensor with a dimension that the runtime cannot know is not written in place", () => {
  const [one, other] = ["x", "y"].map((name) =>
    matmul(leaf(name, ["slots", "tokens", 512]), matrix(`w${name}`)),
  );
  const sum = (rows: string) => {
    const back = reshape(reshape(one!, ["slots", rows, 2, 256]), ["slots", "tokens", 512]);
    return programPeak({ y: add(back, other!) }, { dimensionSize: () => 32 });
  };
  expect(sum("groups").workspace - sum("tokens").workspace).toBeGreaterThanOrEqual(4 * 32 * 32 * 512);
});

test("a choice between two tensors has what it chooses of each beside it", () => {
  const peak = (op: string) => {
    const inputs = [leaf("isFirst", [512, 512], "bool"), matrix("a"), matrix("b")];
    const y = emit(op, inputs, { shape: [512, 512], dtype: "float32" });
    return programPeak({ y }, { dimensionSize }).workspace;
  };
  expect(peak("Where") - peak("Max")).toBe(1024 * KB);
});

test("constants are counted once", () => {
  const c = constant(new Float32Array(1000));
  const x = leaf("x", [1000]);
  expect(programPeak({ y: add(mul(x, c), c) }, { dimensionSize }).constants).toBe(4000);
});

test("the arena gives the smallest piece that is large enough, joins neighbours, and never gives memory back", () => {
  const arena = new Arena();
  const pieces = [300, 64, 200].map((size) => arena.allocate(size * KB));
  const before = arena.touched;
  expect(before).toBe((300 + 64 + 200 + 12) * KB); // whole pages
  arena.free(pieces[0]!);
  arena.free(pieces[2]!);
  expect(arena.allocate(190 * KB)).toMatchObject({ begin: 0 }); // what is behind the last piece is one with the rest
  arena.free(pieces[1]!);
  expect(arena.touched).toBe(before);
  expect(arena.allocate(4096 * KB)).toMatchObject({ region: 1, size: 4096 * KB });
  expect(arena.touched).toBe(before + 4096 * KB);
});
