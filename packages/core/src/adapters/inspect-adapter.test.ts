import { mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { COMMON_LINEARS } from "#models";
import { runs } from "../../../../test/runs.ts";
import { withFactors } from "../../test/layer-shapes.ts";
import { randomAdapter } from "../../test/random-adapter.ts";
import { type Adapter, createAdapter, METHOD_NAMES, methods } from "./adapter.ts";
import { parseAdapterConfig } from "./adapter-settings.ts";
import { computeDelta, type ExpandedFactors, expandFactors } from "./expand.ts";
import { readShapes } from "./folder.ts";
import { saveAdapter } from "./folder-files.ts";
import { moduleNorms, routingUse } from "./inspect-adapter.ts";
import type { LayerShapes } from "./method.ts";

const shapes: LayerShapes = withFactors({
  layers: 3,
  widths: Object.fromEntries(
    COMMON_LINEARS.map((name, i) => [
      name,
      { in: i === 6 ? 36 : 24, out: [24, 12, 12, 24, 36, 36, 24][i] ?? 24 },
    ]),
  ),
});

const trained = (settings: unknown, seed: number): Adapter =>
  randomAdapter(settings, shapes, { seed, deviation: 0.3 });

const norm = (data: ArrayLike<number>): number =>
  Math.sqrt(Array.from(data).reduce((sum, x) => sum + x * x, 0));

/** The largest singular value of a matrix of `rows` rows, by many plain steps of W Wᵀ x. */
function largestSingularValue(data: Float32Array, rows: number): number {
  const width = data.length / rows;
  let x = Array.from({ length: width }, (_, i) => Math.sin(1 + i));
  let size = 0;
  for (let step = 0; step < 500; step++) {
    const y = Array.from({ length: rows }, (_, r) =>
      x.reduce((sum, v, c) => sum + v * data[r * width + c]!, 0),
    );
    x = x.map((_, c) => y.reduce((sum, v, r) => sum + v * data[r * width + c]!, 0));
    size = norm(x);
    x = x.map((v) => v / size);
  }
  return Math.sqrt(size);
}

/** scale · B A, [out, in], of A [r, in] and Bᵀ [r, out]. */
function explicitProduct({ a, b, rank, scale }: ExpandedFactors, width: number, out: number): Float32Array {
  const product = new Float32Array(width * out);
  for (let o = 0; o < out; o++)
    for (let i = 0; i < width; i++)
      for (let k = 0; k < rank; k++) product[o * width + i]! += scale * b[k * out + o]! * a[k * width + i]!;
  return product;
}

describe.each(METHOD_NAMES)("norms of %s", (method) => {
  test("are those of the explicit product, by plain loops", async () => {
    const adapter = trained(methods[method].example, 1);
    const factors = await expandFactors(adapter);
    const norms = await moduleNorms(adapter);
    expect(norms.map(({ layer, linear }) => `${layer}.${linear}`).sort()).toEqual([...factors.keys()].sort());
    for (const target of norms) {
      const { a, b, rank, scale } = factors.get(`${target.layer}.${target.linear}`)!;
      const { in: width, out } = shapes.widths[target.linear]!;
      const product = explicitProduct({ a, b, rank, scale }, width, out);
      expect(target.rank).toBe(rank);
      expect(target.a / norm(a)).toBeCloseTo(1, 5);
      expect(target.b / norm(b)).toBeCloseTo(1, 5);
      expect(target.update / norm(product)).toBeCloseTo(1, 4);
      const delta = (await computeDelta(adapter, target))!.data;
      expect(target.update / norm(delta)).toBeCloseTo(1, 4);
      if (target.layer !== 1) continue;
      const spectral = largestSingularValue(product, out);
      expect(target.spectral / spectral).toBeCloseTo(1, 4);
      expect(target.stableRank / (norm(product) / spectral) ** 2).toBeCloseTo(1, 3);
    }
  });

  test("are 0 before training, or finite", async () => {
    const fresh = createAdapter(parseAdapterConfig(methods[method].example), shapes);
    for (const { update, spectral, stableRank, a } of await moduleNorms(fresh)) {
      // whose A and B start from the same small numbers
      if (method === "uni-lora") expect(update).toBeLessThan(1e-3);
      else expect([update, spectral, stableRank]).toEqual([0, 0, 0]);
      expect(a).toBeGreaterThan(0);
    }
  });
});

test("values that overflow when squared are an error, not NaN", async () => {
  const adapter = trained({ method: "lora", rank: 2, targets: ["q_proj"] }, 1);
  adapter.tensors.get("q_proj.2.A")!.data.fill(1e20);
  await expect(moduleNorms(adapter)).rejects.toMatchObject({
    code: "bad_adapter",
    message: expect.stringContaining("layer 2, q_proj: the values of A or B overflow when squared"),
  });
});

test("layers of a large rank are compared one after the other", { tags: "thorough" }, async () => {
  const widths = { q_proj: { in: 4, out: 4 } };
  const settings = { method: "pure-sharing", rank: 5000, targets: ["q_proj"] };
  const adapter = createAdapter(parseAdapterConfig(settings), { layers: 3, widths });
  expect((await moduleNorms(adapter)).map(({ layer }) => layer)).toEqual([0, 1, 2]);
  const larger = createAdapter(parseAdapterConfig({ ...settings, rank: 8193 }), { layers: 1, widths });
  await expect(moduleNorms(larger)).rejects.toMatchObject({ code: "unsupported" });
});

test("the stable rank is between 1 and the rank, and 1 for a single pair", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 6 }), fc.nat(1000), async (rank, seed) => {
      const adapter = trained({ method: "lora", rank, targets: ["q_proj"] }, seed);
      for (const { stableRank } of await moduleNorms(adapter)) {
        expect(stableRank).toBeGreaterThanOrEqual(1 - 1e-6);
        expect(stableRank).toBeLessThanOrEqual(rank + 1e-6);
      }
    }),
    { numRuns: runs(20) },
  );
});

describe("the use of pools", () => {
  test("of MoS is counted by table, and private shards apart", () => {
    const settings = { method: "mos", rank: 4, equivalentRank: 2, shardsPerVector: 2, privateRank: 1 };
    const adapter = trained(settings, 1);
    const uses = routingUse(adapter);
    expect(uses.map(({ linear, side }) => `${linear} ${side}`).slice(0, 3)).toEqual([
      "q_proj A",
      "q_proj B",
      "k_proj A",
    ]);
    for (const { linear, side, shared, usedTimes, meanUses, mostUsed, privateShare, ...use } of uses) {
      expect(use).toEqual({ unit: "shard", private: 6 }); // L · p · l
      expect(shared).toBe(6); // L · (e − p) · l
      expect(privateShare).toBe(0.5);
      const table = Array.from(adapter.tensors.get(`${linear}.I_${side === "A" ? "a" : "b"}`)!.data);
      const counts = Array.from(
        { length: shared },
        (_, row) => table.filter((entry) => entry === row).length,
      );
      expect(usedTimes).toEqual(
        Array.from(
          { length: Math.max(...counts) + 1 },
          (_, n) => counts.filter((count) => count === n).length,
        ),
      );
      expect(mostUsed).toEqual({ row: counts.indexOf(Math.max(...counts)), times: Math.max(...counts) });
      expect(meanUses).toBe(3); // L · (r − p) · l places for them
    }
  });

  test("of MoS without shared shards is empty", () => {
    const adapter = trained(
      { method: "mos", rank: 1, equivalentRank: 1, privateRank: 1, shardsPerVector: 2 },
      1,
    );
    expect(routingUse(adapter)[0]).toMatchObject({ shared: 0, usedTimes: [0], meanUses: 0, privateShare: 1 });
  });

  test("of subset selection is counted in pairs; other methods have none", () => {
    const [use] = routingUse(trained({ method: "subset-selection", rank: 2, equivalentRank: 2 }, 1));
    expect(use).toMatchObject({ side: "A and B", unit: "pair", shared: 6, private: 0, meanUses: 1 });
    expect(routingUse(trained(methods.lora.example, 1))).toEqual([]);
  });
});

describe("the geometry of the base", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "mos-geometry-"));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("needs the tensors, and never a pickle", async () => {
    const path = join(folder, "pickled");
    await saveAdapter(path, trained(methods.lora.example, 1), {
      base: { name: "tiny", fingerprint: "sha256:0" },
    });
    await rename(join(path, "adapter_model.safetensors"), join(path, "adapter_model.bin"));
    await expect(readShapes(path)).rejects.toMatchObject({
      code: "not_found",
      message: `${path}: adapter_model.safetensors is missing; adapter_model.bin may contain code and is never read: load it with torch.load(…, weights_only=True) and save it with safetensors.torch.save_file`,
    });
  });

  /** What is kept too little of: see the message. */
  const silent = ["pure-sharing", "vera", "tied-lora", "lora-xs", "uni-lora"];
  test.each([
    [{ unsharedRank: 0, chunks: 5 }, false], // five chunks of 5 are 25, the width is 24
    [{ unsharedRank: 0, chunks: 4 }, false], // 21 to 24 would be the same
    [{ unsharedRank: 0, chunks: 1 }, true],
    [{ unsharedRank: 1, chunks: 5 }, true],
    [{ unsharedRank: 3, chunks: 5 }, true],
  ])("of prolora %j is not guessed from chunks that are rounded up", async (settings, isTold) => {
    const adapter = trained({ method: "prolora", rank: 3, ...settings }, 1);
    const path = join(folder, JSON.stringify(settings).replaceAll(/\W/g, ""));
    await saveAdapter(path, adapter, { base: { name: "tiny", fingerprint: "sha256:0" } });
    if (isTold) expect({ ...shapes, ...(await readShapes(path)) }).toEqual(shapes);
    else await expect(readShapes(path)).rejects.toMatchObject({ code: "bad_option" });
  });

  test.each(METHOD_NAMES)("is inferred from the tensors of %s, or has to be given", async (method) => {
    const adapter = trained(methods[method].example, 1);
    const path = join(folder, method);
    await saveAdapter(path, adapter, { base: { name: "tiny", fingerprint: "sha256:0" } });
    if (silent.includes(method))
      await expect(readShapes(path)).rejects.toMatchObject({
        code: "bad_option",
        message: expect.stringContaining("pass --model too"),
      });
    else {
      const { layers, widths } = await readShapes(path);
      expect(layers).toBe(shapes.layers);
      for (const linear of adapter.config.targets) expect(widths[linear]).toEqual(shapes.widths[linear]);
    }
  });
});
