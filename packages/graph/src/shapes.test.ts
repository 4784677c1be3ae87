import { describe, expect, test } from "vitest";
import * as graph from "./index.ts";

const { leaf } = graph;
const x = leaf("x", [2, 3]);
const open = leaf("open", ["n", 3]);

describe("what does not fit together is refused, with the shapes:", () => {
  test.each<[string, () => unknown, string]>([
    ["add", () => graph.add(x, leaf("z", [2])), "shapes [2, 3] and [2] do not fit together"],
    ["mul", () => graph.mul(open, leaf("z", ["m", 3])), "shapes [n, 3] and [m, 3] do not fit together"],
    ["matmul", () => graph.matmul(x, x), "cannot multiply [2, 3] by [2, 3]"],
    ["matmul of a vector", () => graph.matmul(leaf("v", [3]), x), "matmul needs matrices, not [3]"],
    [
      "matmul of two batches",
      () => graph.matmul(leaf("a", [4, 2, 3]), leaf("b", [5, 3, 2])),
      "cannot multiply [4, 2, 3] by [5, 3, 2]",
    ],
    ["reshape", () => graph.reshape(x, [4]), "cannot reshape [2, 3] to [4]"],
    [
      "reshape with two unknown sizes",
      () => graph.reshape(leaf("a", ["n", "m"]), ["k", "l"]),
      "cannot reshape [n, m] to [k, l]: more than one unknown dimension",
    ],
    ["slice", () => graph.slice(x, { axis: 1, from: 1, to: 4 }), "cannot take 1…4 of axis 1 of [2, 3]"],
    [
      "an empty slice",
      () => graph.slice(x, { axis: 1, from: 1, to: 1 }),
      "cannot take 1…1 of axis 1 of [2, 3]",
    ],
    [
      "slice of an unknown size",
      () => graph.slice(open, { axis: 0, from: 0, to: 1 }),
      "cannot take 0…1 of axis 0 of [n, 3]",
    ],
    ["pad", () => graph.padAxis(open, { axis: 0, before: 1, after: 0 }), "cannot pad axis 0 of [n, 3]"],
    ["concat", () => graph.concat([], 0), "concat needs at least one value"],
    ["split", () => graph.split(x, { axis: 1, sizes: [1, 1] }), "cannot split axis 1 of [2, 3] into 1 + 1"],
    ["gatherRows", () => graph.gatherRows(x, Int32Array.of(0, 2)), "row 2 of a table of 2 rows"],
    ["gatherRows below 0", () => graph.gatherRows(x, Int32Array.of(-1)), "row -1 of a table of 2 rows"],
    [
      "gatherRows of an open table",
      () => graph.gatherRows(open, Int32Array.of(0)),
      "gatherRows needs a table of known size, not [n, 3]",
    ],
    [
      "packedBlocks",
      () => graph.packedBlocks(leaf("segments", ["b", 4], "int32"), { blockSize: 2 }),
      "packedBlocks needs segments of known shape, not [b, 4]",
    ],
  ])("%s", (_, build, message) => {
    expect(build).toThrowError(expect.objectContaining({ name: "MosError", code: "bad_config", message }));
  });
});

test("shapes broadcast as NumPy's do", () => {
  expect(graph.broadcast([2, 1, 3], [4, 1])).toEqual([2, 4, 3]);
  expect(graph.broadcast([], ["n", 1])).toEqual(["n", 1]);
  expect(graph.broadcast(["n", 1], ["n", "m"])).toEqual(["n", "m"]);
});

test("every row's uses are found, padded with the number of indices", () => {
  const { positions, width } = graph.inverseIndex(Int32Array.of(2, 0, 2, 3), 5);
  expect(width).toBe(2);
  expect([...positions]).toEqual([1, 4, 4, 4, 0, 2, 3, 4, 4, 4]);
});

describe("blocks of packed rows", () => {
  const segments = leaf("segments", [1, 10], "int32");
  const spans = (options: graph.PackedBlocksOptions) =>
    graph.packedBlocks(segments, options).map(({ from, to, first }) => [first, from, to]);

  test("cover all queries, and the keys that can be of their example", () => {
    expect(spans({ blockSize: 4 })).toEqual([
      [0, 0, 4],
      [0, 4, 8],
      [0, 8, 10],
    ]);
    expect(spans({ blockSize: 4, maxSegment: 3 })).toEqual([
      [0, 0, 4],
      [2, 4, 8],
      [6, 8, 10],
    ]);
    expect(spans({ blockSize: 4, window: 3 })).toEqual(spans({ blockSize: 4, maxSegment: 3 }));
    expect(spans({ blockSize: 4, maxSegment: 9, window: 1 })).toEqual([
      [0, 0, 4],
      [4, 4, 8],
      [8, 8, 10],
    ]);
  });
});
