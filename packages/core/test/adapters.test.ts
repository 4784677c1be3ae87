// What every adapter method promises. A new method has to be added to the tables below, or nothing compiles.

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { add, compile, constant, grad, leaf, matmul, mul, sum, type Value } from "mixture-of-shards-graph";
import { describe, expect, test } from "vitest";
import { runs } from "../../../test/runs.ts";
import {
  type Adapter,
  type AdapterConfig,
  type AdapterConfigInput,
  adapterHook,
  adapterLeaves,
  bindMethod,
  budget,
  computeDelta,
  createAdapter,
  expandFactors,
  expandOnHost,
  type Factors,
  type LayerShapes,
  loadAdapter,
  METHOD_NAMES,
  type MethodName,
  methods,
  parseAdapterConfig,
  saveAdapter,
} from "../src/adapters/index.ts";
import { randomStream } from "../src/common/index.ts";
import {
  COMMON_LINEARS,
  type LinearName,
  moduleKey,
  type TargetModule,
} from "../src/models/linear-layers.ts";
import { largestDifference } from "./largest-difference.ts";
import { layerShapes, withFactors } from "./layer-shapes.ts";
import { fillRandom } from "./random-adapter.ts";

const shapes = layerShapes(3);
const base = { name: "tiny", fingerprint: "sha256:0" };

const variants = {
  lora: [{ method: "lora", rank: 3 }],
  mos: [
    { method: "mos", rank: 4, equivalentRank: 2, shardsPerVector: 2, privateRank: 1 },
    // −sp, −vs, −pd, and the case that is LoRA
    { method: "mos", rank: 4, equivalentRank: 2, shardsPerVector: 4, privateRank: 0 },
    { method: "mos", rank: 4, equivalentRank: 2, shardsPerVector: 1, privateRank: 1 },
    { method: "mos", rank: 4, equivalentRank: 2, shardsPerVector: 2, pairDissociation: false },
    { method: "mos", rank: 2, equivalentRank: 2, shardsPerVector: 8, privateRank: 2 },
  ],
  "pure-sharing": [{ method: "pure-sharing", rank: 5 }],
  "random-scaling": [{ method: "random-scaling", rank: 5, scaleMean: 0.5, scaleDeviation: 2 }],
  "subset-selection": [
    { method: "subset-selection", rank: 4, equivalentRank: 2 },
    { method: "subset-selection", rank: 6, equivalentRank: 2 }, // all pairs, in an order of each layer's own
  ],
  vera: [{ method: "vera", rank: 7 }],
  "tied-lora": [
    { method: "tied-lora", rank: 2 },
    { method: "tied-lora", rank: 4, targets: ["k_proj", "v_proj"] },
  ],
  prolora: [
    { method: "prolora", rank: 5, unsharedRank: 2, chunks: 3 }, // divides none of the widths
    { method: "prolora", rank: 3, unsharedRank: 0, chunks: 4 },
    { method: "prolora", rank: 2, unsharedRank: 2, chunks: 4 }, // this is LoRA
  ],
  "lora-xs": [
    { method: "lora-xs", rank: 3 },
    { method: "lora-xs", rank: 8, targets: ["k_proj", "down_proj"] },
  ],
  "uni-lora": [
    { method: "uni-lora", rank: 2, vectorLength: 7 },
    { method: "uni-lora", rank: 1, vectorLength: 240, targets: ["k_proj", "up_proj"] }, // every number is used once: this is LoRA
    { method: "uni-lora", rank: 4, vectorLength: 700, targets: ["k_proj", "up_proj"] }, // some once, some twice
  ],
} as const satisfies Record<MethodName, readonly AdapterConfigInput[]>;

test("prolora has at most as many chunks as a width, and as many unshared ranks as ranks", () => {
  const narrow: LayerShapes = { layers: 1, widths: { q_proj: { in: 6, out: 4 } } };
  const make = (given: object) =>
    createAdapter(
      parseAdapterConfig({ method: "prolora", targets: ["q_proj"], rank: 3, ...given } as AdapterConfigInput),
      narrow,
    );
  const { tensors } = make({ unsharedRank: 1, chunks: 4 });
  expect(tensors.get("q_proj.0.B_chunk")?.shape).toEqual([1, 2]);
  expect(() => make({ unsharedRank: 1, chunks: 5 })).toThrow(/5 chunks are more than the width 4 of q_proj/);
  expect(make({ unsharedRank: 3, chunks: 2 }).tensors.has("q_proj.0.A_chunk")).toBe(false);
  expect(make({ unsharedRank: 0, chunks: 2 }).tensors.has("q_proj.0.A_unshared")).toBe(false);
  expect(() => make({ unsharedRank: 4, chunks: 2 })).toThrow(/unshared rank 4 is more than the rank 3/);
});

const configs = METHOD_NAMES.flatMap((name) =>
  [methods[name].example, ...variants[name]].map((settings) => {
    const { method: _, targets: __, ...shown } = settings as AdapterConfig;
    return [`${name} ${JSON.stringify(shown)}`, parseAdapterConfig(settings)] as const;
  }),
);

const trainedTensors = (adapter: Adapter) => [...adapterLeaves(adapter).parameters.values()];

/** Fills the trained tensors with random numbers, so that B is not zero. */
const disturb = (adapter: Adapter): Adapter => fillRandom(adapter, { seed: 5, only: "trainable" });

/** A of the factors is drawn as LoRA's is. */
const startsAsLora = ({ method }: AdapterConfig): boolean =>
  !["vera", "random-scaling", "lora-xs", "uni-lora"].includes(method);

const listSites = ({ config, shapes: { layers } }: Adapter): readonly TargetModule[] =>
  config.targets.flatMap((linear) => Array.from({ length: layers }, (_, layer) => ({ layer, linear })));
const numbers = (adapter: Adapter, name: string): ArrayLike<number> => adapter.tensors.get(name)!.data;

/** A row-major matrix by its elements. */
const build = (rows: number, columns: number, at: (i: number, j: number) => number): Float32Array =>
  Float32Array.from({ length: rows * columns }, (_, n) => at(Math.floor(n / columns), n % columns));

interface Plain {
  readonly rank: number;
  readonly scale: number;
  /** A [r, in] and Bᵀ [r, out] */
  readonly a: Float32Array;
  readonly b: Float32Array;
}
type Expand<M extends MethodName> = (
  adapter: Adapter,
  config: Extract<AdapterConfig, { readonly method: M }>,
  target: TargetModule,
) => Plain;

interface PoolUse {
  readonly linear: LinearName;
  readonly chosen: (rank: number) => number;
  readonly rank: number;
  readonly pairs: number;
}

/** Pairs of a pool A [pairs, in], B [out, pairs] that a layer uses. */
function pickPairs(adapter: Adapter, { linear, chosen, rank, pairs }: PoolUse): Pick<Plain, "a" | "b"> {
  const { in: width, out } = adapter.shapes.widths[linear]!;
  const [a, b] = [numbers(adapter, `${linear}.A`), numbers(adapter, `${linear}.B`)];
  return {
    a: build(rank, width, (j, i) => a[chosen(j) * width + i]!),
    b: build(rank, out, (j, o) => b[o * pairs + chosen(j)]!),
  };
}

/** The definitions of the methods, as plain loops that share no code with the program. */
const definitions: { readonly [M in MethodName]: Expand<M> } = {
  lora(adapter, { rank, alpha }, { layer, linear }) {
    const { in: width, out } = adapter.shapes.widths[linear]!;
    const a = numbers(adapter, `${linear}.${layer}.A`);
    const b = numbers(adapter, `${linear}.${layer}.B`);
    return {
      rank,
      scale: alpha / rank,
      a: build(rank, width, (j, i) => a[j * width + i]!),
      b: build(rank, out, (j, o) => b[o * rank + j]!),
    };
  },
  mos(adapter, { rank, alpha, shardsPerVector: l }, { layer, linear }) {
    const { in: width, out } = adapter.shapes.widths[linear]!;
    const side = (pool: ArrayLike<number>, indices: ArrayLike<number>, d: number) =>
      build(rank, d, (j, i) => {
        const shard = Math.floor(i / (d / l));
        const row = indices[layer * rank * l + j * l + shard]!;
        return pool[row * (d / l) + (i - shard * (d / l))]!;
      });
    return {
      rank,
      scale: alpha / rank,
      a: side(numbers(adapter, `${linear}.A_pool`), numbers(adapter, `${linear}.I_a`), width),
      b: side(numbers(adapter, `${linear}.B_pool`), numbers(adapter, `${linear}.I_b`), out),
    };
  },
  "pure-sharing": (adapter, { rank, alpha }, { linear }) => ({
    rank,
    scale: alpha / rank,
    ...pickPairs(adapter, { linear, chosen: (j) => j, rank, pairs: rank }),
  }),
  "random-scaling"(adapter, { rank, alpha }, { layer, linear }) {
    const s = numbers(adapter, `${linear}.scale`);
    const { a, b } = pickPairs(adapter, { linear, chosen: (j) => j, rank, pairs: rank });
    const { in: width } = adapter.shapes.widths[linear]!;
    return {
      rank,
      scale: alpha / rank,
      a: build(rank, width, (j, i) => s[layer * rank + j]! * a[j * width + i]!),
      b,
    };
  },
  "subset-selection"(adapter, { rank, alpha, equivalentRank: e }, { layer, linear }) {
    const chosen = numbers(adapter, `${linear}.I`);
    const pairs = e * adapter.shapes.layers;
    return {
      rank,
      scale: alpha / rank,
      ...pickPairs(adapter, { linear, chosen: (j) => chosen[layer * rank + j]!, rank, pairs }),
    };
  },
  vera(adapter, { rank }, { layer, linear }) {
    const { in: width, out } = adapter.shapes.widths[linear]!;
    const [a, b] = [numbers(adapter, `${linear}.A`), numbers(adapter, `${linear}.B`)];
    const [ranks, outputs] = [
      numbers(adapter, `${linear}.${layer}.d`),
      numbers(adapter, `${linear}.${layer}.b`),
    ];
    return {
      rank,
      scale: 1,
      a: build(rank, width, (j, i) => ranks[j]! * a[j * width + i]!),
      b: build(rank, out, (j, o) => outputs[o]! * b[o * rank + j]!),
    };
  },
  "tied-lora"(adapter, { rank, alpha, targets }, { layer, linear }) {
    const { in: width, out } = adapter.shapes.widths[linear]!;
    let from = 0;
    for (const target of targets) {
      if (target === linear) break;
      from += adapter.shapes.widths[target]!.out;
    }
    const [a, b] = [numbers(adapter, "A"), numbers(adapter, "B")];
    const [u, v] = [numbers(adapter, `${layer}.u`), numbers(adapter, `${layer}.v`)];
    return {
      rank,
      scale: alpha / rank,
      a: build(rank, width, (j, i) => u[j]! * a[j * width + i]!),
      b: build(rank, out, (j, o) => v[from + o]! * b[(from + o) * rank + j]!),
    };
  },
  prolora(adapter, { rank, alpha, unsharedRank: u, chunks: m }, { layer, linear }) {
    const { in: width, out } = adapter.shapes.widths[linear]!;
    const part = (name: string): ArrayLike<number> =>
      adapter.tensors.get(`${linear}.${layer}.${name}`)?.data ?? [];
    const [ownA, ownB, chunkA, chunkB] = ["A_unshared", "B_unshared", "A_chunk", "B_chunk"].map(part);
    const shared = rank - u;
    /** Row of the chunk that copy c has at shared rank j, and the place within the copy. */
    const place = (j: number, i: number, d: number) => {
      const w = Math.ceil(d / m);
      return { row: (j - u + Math.floor(i / w)) % shared, at: i % w, w };
    };
    return {
      rank,
      scale: alpha / rank,
      a: build(rank, width, (j, i) => {
        if (j < u) return ownA![j * width + i]!;
        const { row, at, w } = place(j, i, width);
        return chunkA![row * w + at]!;
      }),
      b: build(rank, out, (j, o) => {
        if (j < u) return ownB![o * u + j]!;
        const { row, at } = place(j, o, out);
        return chunkB![at * shared + row]!;
      }),
    };
  },
  "lora-xs"(adapter, { rank, alpha }, { layer, linear }) {
    const { in: width, out } = adapter.shapes.widths[linear]!;
    const [a, b, r] = ["A", "B", "R"].map((part) => numbers(adapter, `${linear}.${layer}.${part}`));
    return {
      rank,
      scale: alpha / rank,
      a: build(rank, width, (j, i) => a![j * width + i]!),
      b: build(rank, out, (j, o) => {
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += r![k * rank + j]! * b![k * out + o]!;
        return sum;
      }),
    };
  },
  "uni-lora"(adapter, { rank, vectorLength, targets }, { layer, linear }) {
    const { layers, widths } = adapter.shapes;
    const [vector, places] = [numbers(adapter, "vector"), numbers(adapter, "places")];
    const counts = countUses(places, vectorLength);
    // A and then B of each layer, of one type after the other
    const perRank = (name: LinearName) => widths[name]!.in + widths[name]!.out;
    const before = targets.slice(0, targets.indexOf(linear)).reduce((sum, name) => sum + perRank(name), 0);
    const begin = rank * (before * layers + layer * perRank(linear));
    const { in: width, out } = widths[linear]!;
    const at = (n: number): number => {
      const place = places[n]!;
      return vector[place]! * Math.fround(1 / Math.sqrt(counts[place]!));
    };
    return {
      rank,
      scale: 1,
      a: build(rank, width, (j, i) => at(begin + j * width + i)),
      b: build(rank, out, (j, o) => at(begin + rank * width + j * out + o)),
    };
  },
};

/** How often each number of a vector is used. */
function countUses(places: ArrayLike<number>, length: number): readonly number[] {
  const counts = Array.from({ length }, () => 0);
  for (const place of Array.from(places)) counts[place]!++;
  return counts;
}

/** The row of `definitions` for a configuration, which the union's type cannot pair by itself. */
const computeDefinition = (adapter: Adapter, target: TargetModule): Plain =>
  (
    definitions[adapter.config.method] as (
      adapter: Adapter,
      config: AdapterConfig,
      target: TargetModule,
    ) => Plain
  )(adapter, adapter.config, target);

describe.each(configs)("%s", (_, config) => {
  // whose A and B are made of the same numbers, so that with zeros it could not learn
  test.runIf(config.method === "uni-lora")("starts close to the base model", async () => {
    for (const { rank, a, b } of (await expandFactors(createAdapter(config, shapes))).values()) {
      expect(Math.max(...a.map(Math.abs), ...b.map(Math.abs)) ** 2 * rank).toBeLessThan(rank * 0.02 ** 2);
      expect([...a, ...b].every((x) => x !== 0)).toBe(true);
    }
  });

  const isZero = config.method !== "uni-lora";
  test.runIf(isZero)("starts as the base model: every delta is zero, and A is not", async () => {
    const adapter = createAdapter(config, shapes);
    // of one layer: each delta is a program of its own, and the factors of all layers follow
    for (const linear of config.targets) {
      const { in: width, out } = shapes.widths[linear]!;
      const delta = await computeDelta(adapter, { layer: 1, linear });
      expect(delta?.shape).toEqual([out, width]);
      expect(delta?.data.every((x) => x === 0)).toBe(true);
    }
    const expanded = await expandFactors(adapter);
    for (const { a, b } of expanded.values()) {
      expect(a.every((x) => x !== 0)).toBe(true);
      expect(b.every((x) => x === 0)).toBe(true);
    }
  });

  // what else multiplies A is not a start of A
  test.runIf(startsAsLora(config))("A starts uniform in ±1/√d_in", async () => {
    const one = { layers: 4, widths: { q_proj: { in: 400, out: 400 } } };
    const expanded = await expandFactors(createAdapter({ ...config, targets: ["q_proj"] }, one));
    const a = [...expanded.values()].flatMap((factors) => [...factors.a]).map((x) => x * Math.sqrt(400));
    const mean = (values: readonly number[]): number => values.reduce((x, y) => x + y) / values.length;
    expect(Math.max(...a)).toBeLessThan(1.000001);
    expect(Math.min(...a)).toBeGreaterThan(-1.000001);
    expect(Math.max(...a)).toBeGreaterThan(0.99);
    expect(Math.abs(mean(a))).toBeLessThan(0.06);
    expect(Math.abs(mean(a.map((x) => x * x)) - 1 / 3)).toBeLessThan(0.03);
  });

  test("trains as many numbers as its budget says", () => {
    const adapter = createAdapter(config, shapes);
    const { parameters, trainable } = adapterLeaves(adapter);
    const counted = { trainable: 0, frozen: 0, seeded: 0 };
    const roles = new Map(
      bindMethod(config)
        .tensors(shapes)
        .map(({ name, role }) => [name, role]),
    );
    for (const [name, { shape, data }] of adapter.tensors) {
      expect(data.length).toBe(shape.reduce((x, y) => x * y, 1));
      const role = roles.get(name)!;
      expect(parameters.has(`adapter.${name}`)).toBe(role === "trainable");
      counted[role] += data.length;
    }
    const { bytes, ...costs } = budget(config, shapes);
    expect(costs).toMatchObject(counted);
    expect(bytes.float32).toBe(4 * (counted.trainable + counted.frozen));
    expect([...trainable.keys()]).toEqual([...parameters.keys()]);
  });

  test("survives saving and loading bit for bit", async () => {
    const folder = await mkdtemp(join(tmpdir(), "adapter-"));
    try {
      const adapter = disturb(
        createAdapter(
          { ...config, seed: 2 ** 40, dropout: 0.1, ...("alpha" in config ? { alpha: 12.5 } : {}) },
          shapes,
        ),
      );
      // numbers that a detour through text or another precision would change
      for (const { data } of trainedTensors(adapter)) data.set([-0, 1e-45]);
      await saveAdapter(join(folder, "saved"), adapter, { base });
      const loaded = await loadAdapter(join(folder, "saved"), { shapes, fingerprint: base.fingerprint });
      expect(loaded.config).toEqual(adapter.config);
      expect([...loaded.tensors.keys()]).toEqual([...adapter.tensors.keys()]);
      for (const [name, { shape, data }] of adapter.tensors) {
        const found = loaded.tensors.get(name)!;
        expect(found.shape).toEqual(shape);
        const bytes = ({ buffer, byteOffset, byteLength }: ArrayBufferView) =>
          Buffer.from(buffer, byteOffset, byteLength);
        expect(bytes(found.data).equals(bytes(data)), name).toBe(true);
      }
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("the seed decides everything that is drawn", () => {
    const at = (seed: number) => createAdapter({ ...config, seed }, shapes).tensors;
    expect(at(7)).toEqual(at(7));
    const [first, second] = [at(7), at(8)];
    const fromBase = bindMethod(config)
      .tensors(shapes)
      .flatMap(({ name, prepare }) => (prepare === undefined ? [] : [name]));
    // with a private rank as large as the budget there is nothing to draw for the tables
    const fixed = config.method === "mos" && config.privateRank === config.equivalentRank;
    for (const [name, { data }] of first) {
      const isConstant = data instanceof Float32Array && data.every((x) => x === data[0]);
      const isRouting = data instanceof Int32Array;
      if (fromBase.includes(name)) expect(second.get(name)!.data, name).toEqual(data);
      if (isConstant || (isRouting && fixed) || fromBase.includes(name)) continue;
      expect(second.get(name)!.data, name).not.toEqual(data);
    }
  });

  test("expands to what the definition says", async () => {
    const adapter = disturb(createAdapter(config, shapes));
    const expanded = await expandFactors(adapter);
    expect(expanded.size).toBe(listSites(adapter).length);
    for (const target of listSites(adapter))
      expect(expanded.get(`${target.layer}.${target.linear}`)).toEqual(computeDefinition(adapter, target));
  });

  const isProduct = config.method === "lora-xs"; // the sum of a product depends on its order
  test(`the host's factors are those of a compiled program${isProduct ? "" : ", bit for bit"}`, async () => {
    const adapter = disturb(createAdapter(config, shapes));
    const leaves = adapterLeaves(adapter);
    const factors = leaves.factors();
    const values: Record<string, Value> = {};
    for (const target of listSites(adapter)) {
      values[`${moduleKey(target)} a`] = factors(target)!.a;
      values[`${moduleKey(target)} b`] = factors(target)!.b;
    }
    await using program = await compile(values);
    const expected = await program.run(Object.fromEntries(leaves.parameters));
    const found = expandOnHost(adapter);
    expect(found.size).toBe(listSites(adapter).length);
    for (const [key, { a, b }] of found) {
      const compiled = expected[`${key} b`]!.data;
      expect({ a, b: isProduct ? compiled : b }, key).toEqual({ a: expected[`${key} a`]!.data, b: compiled });
      expect(largestDifference(b, compiled)).toBeLessThan(1e-4);
    }
  });

  test("its delta is scale · B A", async () => {
    const adapter = disturb(createAdapter(config, shapes));
    for (const linear of ["k_proj", "down_proj"] as const) {
      if (!config.targets.includes(linear)) continue;
      const target = { layer: 2, linear };
      const { in: width, out } = shapes.widths[linear]!;
      const { rank, scale, a, b } = computeDefinition(adapter, target);
      const expected = build(out, width, (o, i) => {
        let sum = 0;
        for (let j = 0; j < rank; j++) sum += b[j * out + o]! * a[j * width + i]!;
        return scale * sum;
      });
      const delta = await computeDelta(adapter, target);
      expect(largestDifference(delta!.data, expected)).toBeLessThan(5e-4);
    }
  });

  test("leaves alone what is not a target", async () => {
    const targets: readonly LinearName[] = config.targets.includes("up_proj")
      ? ["v_proj", "up_proj"]
      : ["v_proj"];
    const adapter = disturb(createAdapter({ ...config, targets }, shapes));
    expect(await computeDelta(adapter, { layer: 0, linear: "q_proj" })).toBeUndefined();
    const touched = [...(await expandFactors(adapter)).keys()].map((key) => key.split(".")[1]);
    expect(new Set(touched)).toEqual(new Set(targets));
  });
});

describe("dropout", () => {
  const [rows, target] = [5, { layer: 1, linear: "k_proj" }] as const;
  const { in: width, out } = shapes.widths.k_proj!;
  const draw = (label: string, rowCount: number, columns: number): Float32Array => {
    const random = randomStream(3, label);
    return build(rowCount, columns, () => random.normal());
  };
  const data = {
    x: { shape: [rows, width], data: draw("x", rows, width) },
    w: { shape: [out, width], data: draw("w", out, width) },
    bias: { shape: [out], data: draw("bias", 1, out) },
  };

  async function outputs(adapter: Adapter, masks: Readonly<Record<string, Float32Array | undefined>>) {
    const leaves = adapterLeaves(adapter);
    const [x, weight, bias] = [leaf("x", [rows, width]), leaf("w", [out, width]), leaf("bias", [out])];
    const values: Record<string, Value> = {};
    for (const merge of ["kept", "again", false] as const)
      for (const [name, mask] of Object.entries(masks)) {
        const dropoutMask = mask === undefined ? {} : { dropoutMask: () => constant(mask, [rows, width]) };
        const hook = adapterHook({ factors: leaves.factors(), merge, ...dropoutMask });
        values[`${name} ${merge}`] = hook(x, target, { weight, bias });
      }
    await using program = await compile(values);
    const used = [...leaves.parameters].filter(([name]) => program.inputs.has(name));
    return await program.run({ ...data, ...Object.fromEntries(used) });
  }

  test.each(configs)("%s: acts on the input of the branch only", async (_, config) => {
    const adapter = disturb(createAdapter(config, shapes));
    const random = randomStream(4, "mask");
    const drawn = build(rows, width, () => (random.uniform() < 0.5 ? 0 : 2));
    const found = await outputs(adapter, {
      none: undefined,
      drawn,
      all: new Float32Array(rows * width),
    });
    const { rank, scale, a, b } = computeDefinition(adapter, target);
    const expected = (mask: (n: number) => number): Float32Array =>
      build(rows, out, (n, o) => {
        let y = data.bias.data[o]!;
        for (let i = 0; i < width; i++) y += data.x.data[n * width + i]! * data.w.data[o * width + i]!;
        for (let j = 0; j < rank; j++)
          for (let i = 0; i < width; i++)
            y +=
              scale * b[j * out + o]! * a[j * width + i]! * data.x.data[n * width + i]! * mask(n * width + i);
        return y;
      });
    for (const [name, mask] of [
      ["none", () => 1],
      ["drawn", (n: number) => drawn[n]!],
      ["all", () => 0],
    ] as const) {
      const outputs = expected(mask);
      for (const merge of ["kept", "again", false] as const)
        expect(largestDifference(found[`${name} ${merge}`]!.data, outputs), `${name} ${merge}`).toBeLessThan(
          2e-3,
        );
    }
  });
});

/** What random settings are made from. */
interface Draw {
  readonly layers: number;
  readonly l: number;
  readonly e: number;
  readonly p: number;
  readonly extra: number;
  readonly pairDissociation: boolean;
}

/** Settings of a method that fit together. */
const fitting: Record<MethodName, (draw: Draw) => Readonly<Record<string, unknown>>> = {
  lora: ({ e }) => ({ rank: e }),
  mos({ layers, l, e, p, extra, pairDissociation }) {
    const privateRank = Math.min(p, e);
    const most = privateRank === e ? e : privateRank + layers * (e - privateRank);
    const rank = Math.min(e + extra, most);
    return { rank, equivalentRank: e, shardsPerVector: l, privateRank, pairDissociation };
  },
  "pure-sharing": ({ e, layers }) => ({ rank: e * layers }),
  "random-scaling": ({ e, layers, extra }) => ({ rank: e * layers, scaleDeviation: extra }),
  "subset-selection": ({ e, layers, extra }) => ({
    rank: Math.min(1 + extra, e * layers),
    equivalentRank: e,
  }),
  vera: ({ e, extra }) => ({ rank: e + extra }),
  "tied-lora": ({ e }) => ({ rank: e }),
  prolora: ({ e, p, l }) => ({ rank: e, unsharedRank: Math.min(p, e), chunks: l }),
  "lora-xs": ({ e, l }) => ({ rank: Math.min(e, l) }), // no width is below l
  "uni-lora": ({ e, extra }) => ({ rank: e + extra, vectorLength: 1 + extra }),
};

/** Settings that fit together, and a model of random widths that they fit. */
const settings = fc
  .record({
    method: fc.constantFrom(...METHOD_NAMES),
    layers: fc.integer({ min: 1, max: 3 }),
    l: fc.constantFrom(1, 2, 3),
    e: fc.integer({ min: 1, max: 3 }),
    p: fc.nat({ max: 3 }),
    extra: fc.nat({ max: 3 }),
    width: fc.integer({ min: 1, max: 2 }),
    out: fc.integer({ min: 1, max: 3 }),
    linear: fc.constantFrom(...COMMON_LINEARS),
    pairDissociation: fc.boolean(),
    seed: fc.nat(),
  })
  .map(({ method, width, out, linear: any, seed, ...draw }) => {
    const linear = methods[method].example.targets.includes(any) ? any : "v_proj";
    // one more than a multiple: only MoS has to divide it
    const odd = method === "prolora" ? 1 : 0;
    const shape = withFactors({
      layers: draw.layers,
      widths: { [linear]: { in: draw.l * width + odd, out: draw.l * out + odd } },
    });
    const config = parseAdapterConfig({ method, targets: [linear], seed, ...fitting[method](draw) });
    return { shape, linear, config };
  });

/** Σ over the layers of C ∘ (scale · B A) for random C: it has a gradient at every trained number. */
function weighDeltas(
  siteFactors: (target: TargetModule) => Factors | undefined,
  linear: LinearName,
  layers: number,
): Value {
  const random = randomStream(6, "weights");
  const parts = Array.from({ length: layers }, (_, layer) => {
    const { a, b, scale } = siteFactors({ layer, linear })!;
    const delta = matmul(b, a, { transposeA: true, alpha: scale });
    const [rows, columns] = delta.shape as [number, number];
    return sum(
      mul(
        delta,
        constant(
          build(rows, columns, () => random.normal()),
          [rows, columns],
        ),
      ),
    );
  });
  return parts.reduce((x, y) => add(x, y));
}

test("gradients through the factors agree with finite differences, on random settings", async () => {
  await fc.assert(
    fc.asyncProperty(settings, async ({ shape, linear, config }) => {
      const { parameters, trainable, factors } = adapterLeaves(disturb(createAdapter(config, shape)));
      const loss = weighDeltas(factors(), linear, shape.layers);
      const gradients = grad(loss, [...trainable.values()]);
      const named = [...trainable.keys()].map((name, i) => [`d ${name}`, gradients[i]!] as const);
      await using program = await compile({ loss, ...Object.fromEntries(named) });
      const feeds = Object.fromEntries(parameters);
      const lossNow = async (): Promise<number> => (await program.run(feeds, ["loss"]))["loss"]!.data[0]!;
      const exact = await program.run(feeds);
      for (const [name, { shape: expected, data }] of parameters) {
        const gradient = exact[`d ${name}`]!;
        expect(gradient.shape).toEqual(expected);
        for (const [i, kept] of [...data].entries()) {
          // the loss is linear or quadratic in every single number, so a large step costs no accuracy
          data[i] = kept + 0.5;
          const above = await lossNow();
          data[i] = kept - 0.5;
          const slope = above - (await lossNow());
          data[i] = kept;
          const tolerance = 2e-3 * Math.max(1, Math.abs(slope));
          expect(Math.abs(gradient.data[i]! - slope), `${name} ${i}`).toBeLessThan(tolerance);
        }
      }
    }),
    { numRuns: runs(40) },
  );
});

/** The papers' formulas for one linear type. */
function expectedTrainable(
  config: AdapterConfig,
  layers: number,
  { in: width, out }: { readonly in: number; readonly out: number },
): number {
  const { rank } = config;
  switch (config.method) {
    case "lora":
      return layers * rank * (width + out);
    case "mos":
    case "subset-selection":
      return layers * config.equivalentRank * (width + out);
    case "pure-sharing":
    case "random-scaling":
      return rank * (width + out);
    case "vera":
      return layers * (rank + out);
    case "tied-lora":
      return rank * (width + out) + layers * (rank + out);
    case "prolora": {
      const { unsharedRank: u, chunks: m } = config;
      const chunk = Math.ceil(width / m) + Math.ceil(out / m);
      return layers * (u * (width + out) + (rank - u) * chunk);
    }
    case "lora-xs":
      return layers * rank * rank;
    case "uni-lora":
      return config.vectorLength;
  }
}

test("budgets, tables and expansion hold for random settings", async () => {
  await fc.assert(
    fc.asyncProperty(settings, async ({ shape, linear, config }) => {
      const adapter = disturb(createAdapter(config, shape));
      expect(budget(config, shape).trainable).toBe(
        expectedTrainable(config, shape.layers, shape.widths[linear]!),
      );
      const expanded = await expandFactors(adapter);
      for (const target of listSites(adapter))
        expect(expanded.get(`${target.layer}.${target.linear}`)).toEqual(computeDefinition(adapter, target));
    }),
    { numRuns: runs(80) },
  );
});
