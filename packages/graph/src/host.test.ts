import fc from "fast-check";
import { expect, test } from "vitest";
import { evaluateOnHost } from "./host.ts";
import { add, concat, gatherRows, mul, reshape, slice, split, transpose } from "./ops/index.ts";
import { constant, emit, leaf, scalar } from "./value.ts";

const matrix = (rows: number, columns: number) => ({
  shape: [rows, columns],
  data: Float32Array.from({ length: rows * columns }, (_, n) => n + 0.1),
});

test("an op is computed once for equal inputs, even where it occurs twice", () => {
  const x = leaf("x", [3, 2]);
  const found = evaluateOnHost(
    { a: transpose(x, [1, 0]), b: transpose(x, [1, 0]) },
    new Map([["x", matrix(3, 2)]]),
  );
  expect(found.get("a")!.data).toBe(found.get("b")!.data);
  expect(found.get("a")).toEqual({
    shape: [2, 3],
    data: Float32Array.of(0.1, 2.1, 4.1, 1.1, 3.1, 5.1),
  });
});

test("the same numbers in two shapes are not taken for each other", () => {
  const x = leaf("x", [2, 3]);
  const found = evaluateOnHost(
    { a: transpose(x, [1, 0]), b: transpose(reshape(x, [3, 2]), [1, 0]) },
    new Map([["x", matrix(2, 3)]]),
  );
  expect([...found.get("a")!.data]).not.toEqual([...found.get("b")!.data]);
});

test("products are rounded once, as float32 products are", () => {
  const x = leaf("x", [2]);
  const feeds = new Map([["x", { shape: [2], data: Float32Array.of(1.1, 1e-30) }]]);
  const found = evaluateOnHost({ y: mul(x, constant(Float32Array.of(1.1, 1e-15))) }, feeds);
  const expected = [Math.fround(1.1) * Math.fround(1.1), Math.fround(1e-30) * Math.fround(1e-15)];
  expect([...found.get("y")!.data]).toEqual(expected.map(Math.fround));
});

test.each([
  ["an op", () => add(leaf("x", [2]), scalar(1)), "op Add"],
  [
    "an axis",
    () =>
      emit("Gather", [leaf("x", [2]), constant(Int32Array.of(0))], { shape: [1], attributes: { axis: 1 } }),
    "Gather along an axis other than the first",
  ],
  ["an order", () => transpose(leaf("x", [2]), [0]), "Transpose of anything but a matrix"],
  ["a shape", () => mul(constant(new Float32Array(8), [2, 2, 2]), scalar(1)), "Mul of shape [2, 2, 2]"],
])("%s that is not known is refused by name", (_, value, message) => {
  const feeds = new Map([["x", { shape: [2], data: new Float32Array(2) }]]);
  expect(() => evaluateOnHost({ y: value() }, feeds)).toThrow(message);
});

test("a leaf must be fed, in its shape", () => {
  const y = reshape(leaf("x", [4]), [2, 2]);
  expect(() => evaluateOnHost({ y }, new Map())).toThrow("leaf x of shape [4] is fed nothing");
  expect(() => evaluateOnHost({ y }, new Map([["x", matrix(2, 2)]]))).toThrow("is fed [2, 2]");
});

test("parts joined again are the whole, along either axis", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 5 }),
      fc.constantFrom(0, 1),
      (rows, columns, axis) => {
        const x = leaf("x", [rows, columns]);
        const size = [rows, columns][axis]!;
        const cut = Math.ceil(size / 2);
        const sizes = size > cut ? [cut, size - cut] : [size];
        const feeds = new Map([["x", matrix(rows, columns)]]);
        const parts = split(x, { axis, sizes });
        expect(concat(parts, axis), "nothing is computed").toBe(x);
        const found = evaluateOnHost(
          {
            first: parts[0]!,
            swapped: concat(parts.toReversed(), axis),
            whole: concat(
              split(concat(parts.toReversed(), axis), { axis, sizes: sizes.toReversed() }).toReversed(),
              axis,
            ),
            sliced: slice(x, { axis, from: 0, to: cut }),
            gathered: gatherRows(
              x,
              Int32Array.from({ length: rows }, (_, i) => rows - 1 - i),
            ),
          },
          feeds,
        );
        expect(found.get("whole")).toEqual(matrix(rows, columns));
        expect(found.get("first")).toEqual(found.get("sliced"));
        expect([...found.get("gathered")!.data]).toEqual(
          Array.from({ length: rows }, (_, i) => [
            ...matrix(rows, columns).data.subarray((rows - 1 - i) * columns, (rows - i) * columns),
          ]).flat(),
        );
      },
    ),
  );
});
