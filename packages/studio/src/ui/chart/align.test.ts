import { describe, expect, test } from "vitest";
import { align } from "./align.ts";

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
