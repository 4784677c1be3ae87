import fc from "fast-check";
import { expect, test } from "vitest";
import {
  inWords,
  type Layers,
  type LayerType,
  layersUsing,
  layerTypes,
  layOut,
  modulesOf,
  type PoolUse,
  poolsOf,
} from "./pool-use.ts";

const module = (layer: number, target: string, rows_a: number[] | null, rows_b: number[] | null) => ({
  ...{ layer, target, rows_a, rows_b, norm_a: 1, norm_b: 1, norm_update: 1, stable_rank: 1 },
});
const described: Layers = {
  ...{ object: "adapter.layers", id: "acme", digest: "sha256:0", method: "mos", is_cut: false },
  ...{ rank: 2, equivalent_rank: 2, private_rank: 1, shards_per_vector: 2, layers: 3 },
  targets: ["q_proj", "v_proj"],
  pools: (["A", "B"] as const).map((side) => ({
    ...{ target: "q_proj", in: 8, out: 8, layers: [0, 1, 2], side, unit: "shard", shared: 6, private: 6 },
  })),
  modules: [
    module(1, "q_proj", [2, 3, 8, 9], [5, 4, 8, 9]),
    module(0, "q_proj", [1, 2, 6, 7], [0, 1, 6, 7]),
    module(2, "q_proj", [4, 5, 10, 11], [4, 1, 10, 11]),
    module(0, "v_proj", null, null),
  ],
};

const [queries, values] = layerTypes(described) as [LayerType, LayerType];

test("the pools of a target, and what its layers take from them", () => {
  const [a, b] = poolsOf(described, queries) as [PoolUse, PoolUse];
  expect(a).toEqual({
    ...{ side: "A", unit: "shard", shared: 6, rows: 12, perVector: 2, rank: 2 },
    layers: [
      { layer: 0, rows: [1, 2, 6, 7] },
      { layer: 1, rows: [2, 3, 8, 9] },
      { layer: 2, rows: [4, 5, 10, 11] },
    ],
  });
  expect(b.layers[1]?.rows).toEqual([5, 4, 8, 9]);
  expect(poolsOf(described, values)).toEqual([]);
  expect([layersUsing(a, 2), layersUsing(a, 0), layersUsing(a, 9)]).toEqual([[0, 1], [], [1]]);
});

test("a target of several widths is a part of the picture for each, whose lines are the layers that have it", () => {
  const [narrow, wide] = ([256, 512] as const).map((out) => ({
    ...{ target: "q_proj", in: 8, out, side: "A" as const, unit: "shard" as const, shared: 6, private: 6 },
    layers: out === 512 ? [2] : [0, 1],
  }));
  const mixed: Layers = { ...described, pools: [narrow!, wide!] };
  const types = layerTypes(mixed);
  expect(types.map(({ title }) => title)).toEqual(["q_proj 8 → 256", "q_proj 8 → 512", "v_proj"]);
  expect(types.map((type) => modulesOf(mixed, type).map(({ layer }) => layer))).toEqual([[0, 1], [2], [0]]);
  const pools = poolsOf(mixed, types[1]!);
  expect(pools[0]?.layers).toEqual([{ layer: 2, rows: [4, 5, 10, 11] }]);
  expect(inWords(pools, { layer: 2 })).toBe("Layer 2. A: 2 of 6 public shards, and 2 of its own.");
  expect(inWords(pools, { side: "A", row: 5 })).toBe("Shard 5 of A is public: layer 2 uses it.");
  const layout = layOut(pools[0]!, 600);
  expect(layout.hit(2, layout.yOfLine(0) + 1)).toEqual({ layer: 2 });
});

test("what is pointed at, in words", () => {
  const pools = poolsOf(described, queries);
  expect(inWords(pools, undefined)).toBeUndefined();
  expect(inWords(pools, { layer: 1 })).toBe(
    "Layer 1. A: 2 of 6 public shards, 1 of them also in layer 0, and 2 of its own. B: 2 of 6 public shards, 1 of them also in layer 2, and 2 of its own.",
  );
  expect(inWords(pools, { side: "A", row: 2 })).toBe("Shard 2 of A is public: layers 0 and 1 use it.");
  expect(inWords(pools, { side: "A", row: 0 })).toBe("Shard 0 of A is public; no layer uses it.");
  expect(inWords(pools, { side: "B", row: 9 })).toBe("Shard 9 of B is private to layer 1.");
});

test("every cell of a drawing is where a pointer finds it, and within the drawing", () => {
  const pool = fc
    .record({
      ...{ rank: fc.integer({ min: 1, max: 9 }), perVector: fc.integer({ min: 1, max: 6 }) },
      ...{ count: fc.integer({ min: 1, max: 40 }), owned: fc.boolean() },
    })
    .map(({ rank, perVector, count, owned }): PoolUse => {
      const own = owned ? perVector : 0;
      const shared = count * rank * perVector;
      const layers = Array.from({ length: count }, (_, line) => ({
        layer: 4 * line + 3, // the layers of attention of a model that has others
        rows: Array.from({ length: rank * perVector }, (_, i) =>
          i < rank * perVector - own
            ? (i * 7 + line) % shared
            : shared + line * own + i - (rank * perVector - own),
        ),
      }));
      return { side: "A", unit: "shard", shared, rows: shared + count * own, perVector, rank, layers };
    });
  fc.assert(
    fc.property(pool, fc.integer({ min: 120, max: 1600 }), (made, width) => {
      const layout = layOut(made, width);
      const { width: w, height: h } = layout.cell;
      const middle = ({ x, y }: { x: number; y: number }) => layout.hit(x + w / 2, y + h / 2);
      // one comparison for all: thousands of them would take their time
      const pool = Array.from({ length: made.rows }, (_, row) => [
        { side: "A", row },
        middle(layout.placeOf(row)),
      ]);
      const lines = made.layers.flatMap(({ layer, rows }, line) => {
        const y = layout.yOfLine(line);
        const cells = rows.map((row, column) => [
          { side: "A", row, layer },
          middle({ x: layout.xOf(column), y }),
        ]);
        return [...cells, [{ layer }, layout.hit(2, y + h / 2)]];
      });
      const all = [...pool, ...lines];
      expect(all.map(([, found]) => found)).toEqual(all.map(([wanted]) => wanted));
      expect(layout.xOf(layout.columns - 1) + w).toBeLessThanOrEqual(
        Math.max(width, layout.columns + 28) + 1e-6,
      );
      expect(layout.hit(width / 2, layout.height + 1)).toBeUndefined();
    }),
    { numRuns: 40 },
  );
});
