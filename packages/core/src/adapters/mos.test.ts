import fc from "fast-check";
import { add, compile, constant, grad, matmul, mul, sum } from "mixture-of-shards-graph";
import { describe, expect, test } from "vitest";
import { countElements, randomStream } from "#common";
import { COMMON_LINEARS, type LinearName } from "#models";
import { runs } from "../../../../test/runs.ts";
import { randomAdapter } from "../../test/random-adapter.ts";
import { type Adapter, adapterLeaves, createAdapter } from "./adapter.ts";
import { parseAdapterConfig } from "./adapter-settings.ts";
import { budget } from "./budget.ts";
import { expandFactors } from "./expand.ts";
import type { LayerShapes } from "./method.ts";

const square = (layers: number, ...names: LinearName[]): LayerShapes => ({
  layers,
  widths: Object.fromEntries(names.map((name) => [name, { in: 8, out: 4 }])),
});
const create = (settings: object, shapes = square(3, "q_proj")): Adapter =>
  createAdapter(parseAdapterConfig({ method: "mos", targets: ["q_proj"], ...settings }), shapes);
const table = (adapter: Adapter, name: string): number[] => [...adapter.tensors.get(name)!.data];

test("the routing of a seed never changes", () => {
  const adapter = create({ rank: 3, equivalentRank: 2, shardsPerVector: 2, privateRank: 1, seed: 42 });
  // biome-ignore format: a row for each layer, two shared ranks and one of its own
  expect(table(adapter, "q_proj.I_a")).toEqual([
    4, 0, 3, 5, 6, 7,
    3, 1, 2, 0, 8, 9,
    0, 2, 5, 1, 10, 11,
  ]);
  // biome-ignore format: as above
  expect(table(adapter, "q_proj.I_b")).toEqual([
    0, 1, 5, 4, 6, 7,
    5, 2, 1, 3, 8, 9,
    3, 4, 5, 1, 10, 11,
  ]);
  expect(table(adapter, "q_proj.A_pool").slice(0, 4)).toEqual([
    0.1640477180480957, 0.2259771227836609, -0.08912134915590286, 0.12285640090703964,
  ]);
});

test("shapes are those of the paper", () => {
  const { tensors } = create({ rank: 3, equivalentRank: 2, shardsPerVector: 2, privateRank: 1 });
  expect([...tensors].map(([name, { shape }]) => [name, shape])).toEqual([
    ["q_proj.A_pool", [12, 4]],
    ["q_proj.B_pool", [12, 2]],
    ["q_proj.I_a", [3, 6]],
    ["q_proj.I_b", [3, 6]],
  ]);
});

test("A is spread by the fan-in of the whole vector, not of a shard", () => {
  const { tensors } = create({ rank: 4, shardsPerVector: 4, privateRank: 0 });
  const largest = Math.max(...tensors.get("q_proj.A_pool")!.data.map(Math.abs));
  expect(largest).toBeLessThanOrEqual(1 / Math.sqrt(8));
});

test("stored narrower, the pools shrink and the index tables do not", () => {
  const { config } = create({ rank: 3, equivalentRank: 2, shardsPerVector: 2, privateRank: 1 });
  const [pools, tables] = [12 * 4 + 12 * 2, 2 * 3 * 6];
  expect(budget(config, square(3, "q_proj")).bytes).toEqual({
    float32: 4 * pools + 4 * tables,
    bfloat16: 2 * pools + 4 * tables,
    int8: pools + 4 * tables,
  });
});

test("pair dissociation routes A and B apart; without it they share one routing", () => {
  const settings = { rank: 3, shardsPerVector: 4 };
  const apart = create(settings);
  expect(table(apart, "q_proj.I_b")).not.toEqual(table(apart, "q_proj.I_a"));
  const together = create({ ...settings, pairDissociation: false });
  expect(table(together, "q_proj.I_b")).toEqual(table(together, "q_proj.I_a"));
  expect(table(together, "q_proj.I_a")).toEqual(table(apart, "q_proj.I_a"));
});

test("types and layers are routed independently", () => {
  const adapter = create(
    { rank: 4, shardsPerVector: 4, privateRank: 0, targets: ["q_proj", "k_proj"] },
    square(4, "q_proj", "k_proj"),
  );
  const q = table(adapter, "q_proj.I_a");
  expect(table(adapter, "k_proj.I_a")).not.toEqual(q);
  const layers = [0, 1, 2, 3].map((k) => q.slice(16 * k, 16 * k + 16).join());
  expect(new Set(layers).size).toBe(4);
});

test("every shared shard is equally likely", () => {
  const uses = new Int32Array(12);
  for (let seed = 0; seed < 500; seed++)
    for (const index of table(create({ rank: 2, shardsPerVector: 2, privateRank: 0, seed }), "q_proj.I_a"))
      uses[index] = uses[index]! + 1;
  // 500 seeds × 3 layers × 4 of 12 rows: 500 uses each, with a standard deviation of 18
  for (const count of uses) expect(Math.abs(count - 500)).toBeLessThan(5 * 18);
});

test("with all ranks private MoS is LoRA: no layer shares rows", () => {
  const adapter = create({ rank: 2, equivalentRank: 2, privateRank: 2, shardsPerVector: 2 });
  expect(table(adapter, "q_proj.I_a")).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  expect(table(adapter, "q_proj.I_b")).toEqual(table(adapter, "q_proj.I_a"));
});

/** Settings that fit together, on models of all shapes. */
const valid = fc
  .record({
    layers: fc.integer({ min: 1, max: 4 }),
    e: fc.integer({ min: 1, max: 3 }),
    l: fc.constantFrom(1, 2, 3, 4),
    privateShare: fc.double({ min: 0, max: 1, noNaN: true }),
    rankShare: fc.double({ min: 0, max: 1, noNaN: true }),
    factors: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 14, maxLength: 14 }),
    targets: fc.subarray([...COMMON_LINEARS], { minLength: 1, maxLength: 3 }),
    pairDissociation: fc.boolean(),
    seed: fc.integer({ min: 0, max: 2 ** 31 }),
  })
  .map(({ layers, e, l, privateShare, rankShare, factors, targets, pairDissociation, seed }) => {
    const privateRank = Math.round(privateShare * e);
    const most = privateRank === e ? e : privateRank + layers * (e - privateRank);
    const rank = e + Math.floor(rankShare * (most - e));
    const widths = COMMON_LINEARS.map((name, i) => [
      name,
      { in: l * factors[2 * i]!, out: l * factors[2 * i + 1]! },
    ]);
    return {
      shapes: { layers, widths: Object.fromEntries(widths) } as LayerShapes,
      config: parseAdapterConfig({
        method: "mos",
        rank,
        equivalentRank: e,
        shardsPerVector: l,
        privateRank,
        targets,
        pairDissociation,
        seed,
      }),
    };
  });

test("routing: distinct shared rows, then the layer's own in order", () => {
  fc.assert(
    fc.property(valid, ({ config, shapes }) => {
      if (config.method !== "mos") return;
      const { rank: r, equivalentRank: e, shardsPerVector: l, privateRank: p } = config;
      const shared = shapes.layers * (e - p) * l;
      const { tensors } = createAdapter(config, shapes);
      for (const linear of config.targets)
        for (const name of [`${linear}.I_a`, `${linear}.I_b`])
          for (let k = 0; k < shapes.layers; k++) {
            const row = [...tensors.get(name)!.data.slice(k * r * l, (k + 1) * r * l)];
            const chosen = row.slice(0, (r - p) * l);
            expect(new Set(chosen).size).toBe((r - p) * l);
            expect(chosen.every((index) => index >= 0 && index < shared)).toBe(true);
            expect(row.slice((r - p) * l)).toEqual(
              Array.from({ length: p * l }, (_, i) => shared + k * p * l + i),
            );
          }
    }),
    { numRuns: runs(60) },
  );
});

/** Rows of a pool joined as the paper says, for one layer: [r, l · w]. */
function joinShards(adapter: Adapter, pool: string, indices: string): (layer: number) => number[] {
  const { data, shape } = adapter.tensors.get(pool)!;
  const { data: routing, shape: routingShape } = adapter.tensors.get(indices)!;
  const [places, w] = [routingShape[1]!, shape[1]!];
  return (layer) => {
    const joined: number[] = [];
    for (let place = 0; place < places; place++) {
      const row = routing[layer * places + place]!;
      joined.push(...data.subarray(row * w, row * w + w));
    }
    return joined;
  };
}

test("factors are the joined shards, by a loop of our own", async () => {
  await fc.assert(
    fc.asyncProperty(valid, async ({ config, shapes }) => {
      const adapter = randomAdapter(config, shapes, { seed: 1 });
      const expanded = await expandFactors(adapter);
      expect(expanded.size).toBe(shapes.layers * config.targets.length);
      for (const linear of config.targets) {
        const a = joinShards(adapter, `${linear}.A_pool`, `${linear}.I_a`);
        const b = joinShards(adapter, `${linear}.B_pool`, `${linear}.I_b`);
        for (let layer = 0; layer < shapes.layers; layer++) {
          const found = expanded.get(`${layer}.${linear}`)!;
          expect(found.rank).toBe(config.rank);
          expect([...found.a]).toEqual(a(layer));
          expect([...found.b]).toEqual(b(layer));
        }
      }
    }),
    { numRuns: runs(25) },
  );
});

/** Σ over modules of a random weighting of scale · B A, as a program with its gradients. */
function weightedDeltas(adapter: Adapter) {
  const leaves = adapterLeaves(adapter);
  const factors = leaves.factors();
  const { config, shapes } = adapter;
  const parts = config.targets.flatMap((linear) =>
    Array.from({ length: shapes.layers }, (_, layer) => {
      const { a, b, scale } = factors({ layer, linear })!;
      const delta = matmul(b, a, { transposeA: true, alpha: scale });
      const { normal } = randomStream(2, `${layer}.${linear}`);
      const weights = Float32Array.from({ length: countElements(delta.shape) }, () => normal());
      return sum(mul(delta, constant(weights, delta.shape)));
    }),
  );
  const loss = parts.reduce((sum, part) => add(sum, part));
  const gradients = grad(loss, [...leaves.trainable.values()]);
  const names = [...leaves.trainable.keys()];
  return {
    leaves,
    outputs: { loss, ...Object.fromEntries(names.map((name, i) => [`d.${name}`, gradients[i]!])) },
  };
}

test("gradients of the pools agree with finite differences for any settings", async () => {
  await fc.assert(
    fc.asyncProperty(valid, async ({ config, shapes }) => {
      const adapter = randomAdapter(config, shapes, { seed: 1 });
      const { leaves, outputs } = weightedDeltas(adapter);
      await using program = await compile(outputs);
      program.bind(Object.fromEntries(leaves.parameters));
      const exact = await program.run({});
      const loss = async (): Promise<number> => (await program.run({}, ["loss"]))["loss"]!.data[0]!;
      for (const [name, { data }] of leaves.parameters) {
        const gradient = exact[`d.${name}`]!.data;
        const size = Math.hypot(...gradient);
        for (const i of [0, data.length >> 1, data.length - 1]) {
          const kept = data[i]!;
          data[i] = kept + 1; // the loss is linear in each element, so a long step is exact
          const above = await loss();
          data[i] = kept - 1;
          const slope = (above - (await loss())) / 2;
          data[i] = kept;
          expect(Math.abs(slope - gradient[i]!), `${name} ${i}`).toBeLessThan(1e-3 + 1e-3 * size);
        }
      }
    }),
    { numRuns: runs(15) },
  );
});

describe("impossible settings are explained", () => {
  test.each<[object, string]>([
    [
      { rank: 3, equivalentRank: 2, privateRank: 3 },
      "private rank 3 is more than the equivalent rank 2; a layer cannot own more than its budget. Use a private rank of 0 to 2",
    ],
    [
      { rank: 2, equivalentRank: 3 },
      "rank 2 is less than the equivalent rank 3; MoS assembles at least as many ranks as it has budget for. Use a rank of 3 or more",
    ],
    [
      { rank: 3, equivalentRank: 2, privateRank: 2 },
      "private rank 2 leaves nothing to share (equivalent rank 2), so rank 3 cannot be filled; use rank 2, which is LoRA, or a private rank below 2",
    ],
    [
      { rank: 8, equivalentRank: 2, privateRank: 1 },
      "rank 8 needs 7 shared ranks, but 3 layers × (equivalent rank 2 − private rank 1) share only 3; use a rank of at most 4",
    ],
    [
      { rank: 4, shardsPerVector: 3 },
      "q_proj: its d_in of 8 does not split into 3 shards; shards per vector can be 1, 2, 4 for these targets",
    ],
    [
      { rank: 4, shardsPerVector: 8 },
      "q_proj: its d_out of 4 does not split into 8 shards; shards per vector can be 1, 2, 4 for these targets",
    ],
    [{ rank: 4, targets: ["o_proj"] }, "targets: this model has no o_proj; it has q_proj"],
  ])("%j", (settings, message) => {
    expect(() => create(settings)).toThrowError(expect.objectContaining({ code: "bad_config", message }));
  });

  test("what the advice names does work", () => {
    expect(() => create({ rank: 4, equivalentRank: 2, privateRank: 1 })).not.toThrow();
    expect(() => create({ rank: 2, equivalentRank: 2, privateRank: 2 })).not.toThrow();
  });

  test("all usable numbers of shards are listed, also large ones", () => {
    const wide: LayerShapes = { layers: 4, widths: { q_proj: { in: 576, out: 192 } } };
    expect(() => create({ rank: 4, shardsPerVector: 5 }, wide)).toThrowError(
      /can be 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 192 for/,
    );
  });
});

describe("layers of different kinds and widths", () => {
  const mixed: LayerShapes = {
    layers: 6,
    widths: {
      "q_proj@8x4": { in: 8, out: 4, layers: [0, 3] },
      "q_proj@8x12": { in: 8, out: 12, layers: [2, 5] },
      up_proj: { in: 8, out: 16 },
    },
  };
  const settings = { targets: ["q_proj", "up_proj"], rank: 3, equivalentRank: 2, shardsPerVector: 2 };

  test("each width has a pool of its own, and its n-th layer the n-th row of its tables", async () => {
    const adapter = randomAdapter({ method: "mos", ...settings }, mixed, { seed: 1 });
    expect(adapter.tensors.get("q_proj@8x4.A_pool")!.shape).toEqual([2 * 2 * 2, 4]);
    expect(adapter.tensors.get("up_proj.I_a")!.shape).toEqual([6, 6]);
    const factors = await expandFactors(adapter);
    expect([...factors.keys()].filter((key) => key.endsWith("q_proj")).sort()).toEqual(
      ["0.q_proj", "2.q_proj", "3.q_proj", "5.q_proj"], // none where a layer has no such linear
    );
    const [pool, rows] = [adapter.tensors.get("q_proj@8x12.B_pool")!, table(adapter, "q_proj@8x12.I_b")];
    const first = rows[6 * 1]!; // of layer 5, the second that has it
    expect(factors.get("5.q_proj")!.b.slice(0, 6)).toEqual(pool.data.slice(first * 6, first * 6 + 6));
  });

  test("the few layers of a pool are named, with the rank and the budget that would do", () => {
    expect(() => create({ ...settings, rank: 6 }, mixed)).toThrowError(
      /rank 6 needs 5 shared ranks, but 2 layers that have q_proj 8 → 4 .* share only 2; use a rank of at most 3, or an equivalent rank of at least 4/,
    );
    expect(create({ ...settings, rank: 6, equivalentRank: 4 }, mixed).config.rank).toBe(6);
  });
});
