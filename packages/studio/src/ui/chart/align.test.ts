import { describe, expect, test } from "vitest";
import { align, nearestRow, valuesNear } from "./align.ts";

describe("align", () => {
  test("keeps a shared column of x", () => {
    const x = [1, 2, 3];
    expect(
      align([
        { x, y: [4, null, 6] },
        { x, y: [7, 8, 9] },
      ]),
    ).toEqual([x, [4, null, 6], [7, 8, 9]]);
  });

  test("merges points of their own: undefined where a series has none", () => {
    const [x, one, other] = align([
      { x: [1, 2, 4], y: [10, 20, 40] },
      { x: [2, 3], y: [0.2, Number.NaN] },
    ]);
    expect(x).toEqual([1, 2, 3, 4]);
    expect([...(one ?? [])]).toEqual([10, 20, undefined, 40]);
    expect([...(other ?? [])]).toEqual([undefined, 0.2, null, undefined]);
  });

  test("of no series is an empty column", () => {
    expect(align([])).toEqual([[]]);
  });
});

test("the nearest row, of two that are as near the first", () => {
  const x = [1, 2, 4, 8];
  expect([-1, 1, 1.4, 1.5, 3, 3.1, 7, 99].map((to) => nearestRow(x, to))).toEqual([0, 0, 0, 0, 1, 2, 3, 3]);
  expect(nearestRow([], 3)).toBe(0);
});

test("values near an x: those at it, else the nearest that are not too far", () => {
  const data = align([
    { x: [1, 2, 3, 4], y: [10, 20, null, 40] },
    { x: [1, 4], y: [0.1, 0.4] },
  ]);
  expect(valuesNear(data, 2, 1)).toEqual([20, 0.1]);
  expect(valuesNear(data, 3, 1)).toEqual([20, 0.4]);
  expect(valuesNear(data, 3, 0.5)).toEqual([null, null]);
  expect(valuesNear(data, 0, 1)).toEqual([10, 0.1]);
  expect(valuesNear(align([]), 0, 1)).toEqual([]);
});
