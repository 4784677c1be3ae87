import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  ADAPTER_TENSORS,
  type Adapter,
  type AdapterConfigInput,
  createAdapter,
  expandOnHost,
  type FactorMap,
  loadAdapter,
  METHOD_NAMES,
  methods,
  parseAdapterConfig,
  saveAdapter,
} from "#adapters";
import { toLayerShapes } from "#models";
import { runs } from "../../../../test/runs.ts";
import { withFactors } from "../../test/layer-shapes.ts";
import { fillRandom } from "../../test/random-adapter.ts";
import { tinyModel } from "../../test/tiny-model.ts";
import { averageAdapters } from "./average-adapters.ts";

const model = tinyModel().config;
const shapes = withFactors(toLayerShapes(model));
const base = { name: "tiny", fingerprint: "sha256:0", identity: "sha256:1", tokens: "sha256:2" };

let folder: string;
let count = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-average-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const place = (): string => join(folder, String(count++));

/** An adapter as a client returns it: random numbers where it was trained, all else as every client has it. */
const trained = (settings: AdapterConfigInput, seed: number): Adapter =>
  fillRandom(createAdapter(parseAdapterConfig(settings), shapes), { seed, only: "trainable" });

async function save(adapter: Adapter, changes: Partial<typeof base> = {}): Promise<string> {
  const path = place();
  await saveAdapter(path, adapter, { base: { ...base, ...changes } });
  return path;
}

async function mean(adapters: readonly string[], weights?: readonly number[]): Promise<Adapter> {
  const out = place();
  await averageAdapters({ adapters, out, model, weights });
  return await loadAdapter(out, { shapes, fingerprint: base.fingerprint });
}

/** The largest difference of two arrays, over the largest number of the first. */
function distance(found: ArrayLike<number>, expected: readonly number[]): number {
  const scale = expected.reduce((most, value) => Math.max(most, Math.abs(value)), 1e-9);
  return expected.reduce((most, value, i) => Math.max(most, Math.abs(value - (found[i] ?? 0)) / scale), 0);
}

/** How far the factors of one adapter are from the mean of the factors of others. */
function factorDistance(one: FactorMap, others: readonly FactorMap[]): number {
  return Math.max(
    ...Array.from(one, ([key, factors]) => {
      const sides = (["a", "b"] as const).map((side) => {
        const all = others.map((map) => map.get(key)?.[side] ?? new Float32Array(0));
        const middle = Array.from(factors[side], (_, i) =>
          all.reduce((sum, data) => sum + (data[i] ?? 0) / all.length, 0),
        );
        return distance(factors[side], middle);
      });
      return Math.max(...sides);
    }),
  );
}

describe.each(METHOD_NAMES)("%s", (name) => {
  const { example, hasLinearFactors } = methods[name];

  test(`has ${hasLinearFactors ? "linear factors, whose mean a mean has" : "factors of another mean, and is refused"}`, async () => {
    const [a, b] = [trained(example, 1), trained(example, 2)];
    const tensors = Array.from(a.tensors, ([key, { shape, data }]) => {
      const other = b.tensors.get(key)?.data;
      const half =
        data instanceof Float32Array ? data.map((value, i) => (value + (other?.[i] ?? 0)) / 2) : data;
      return [key, { shape, data: half }] as const;
    });
    const middle = { ...a, tensors: new Map(tensors) };
    const away = factorDistance(expandOnHost(middle), [expandOnHost(a), expandOnHost(b)]);
    if (hasLinearFactors) expect(away).toBeLessThan(1e-6);
    else expect(away).toBeGreaterThan(0.1);
    const folders = [await save(a), await save(b)];
    if (hasLinearFactors) expect((await mean(folders)).tensors).toEqual(middle.tensors);
    else
      await expect(mean(folders)).rejects.toMatchObject({
        code: "unsupported",
        message: expect.stringContaining(
          `${folders[0]}/adapter_config.json: A and B of ${name} are products`,
        ),
      });
  });
});

const mos = methods.mos.example;

test("the mean of equal adapters is the adapter, to the same bytes, whatever the weights", async () => {
  const weight = fc.double({ min: 1e-3, max: 1e6, noNaN: true });
  const path = await save(trained(mos, 3));
  await fc.assert(
    fc.asyncProperty(fc.array(weight, { minLength: 1, maxLength: 4 }), async (weights) => {
      const out = place();
      const { weights: shares } = await averageAdapters({ adapters: weights.map(() => path), out, weights });
      expect(shares.reduce((sum, share) => sum + share, 0)).toBeCloseTo(1, 12);
      for (const file of [ADAPTER_TENSORS, "adapter_config.json"])
        expect(await readFile(join(out, file))).toEqual(await readFile(join(path, file)));
    }),
    { numRuns: runs(8) },
  );
});

test("weights count by their ratios, and the order of adapters does not matter", async () => {
  const adapters = [1, 2, 3].map((seed) => trained(mos, seed));
  const [a = "", b = "", c = ""] = await Promise.all(adapters.map((adapter) => save(adapter)));
  const found = await mean([a, b, c], [2, 1, 5]);
  const other = await mean([c, a, b], [50, 20, 10]);
  for (const [name, { data }] of found.tensors) {
    const [x, y, z] = adapters.map((adapter) => adapter.tensors.get(name)?.data ?? []);
    const expected = Array.from(data, (_, i) => (2 * (x?.[i] ?? 0) + (y?.[i] ?? 0) + 5 * (z?.[i] ?? 0)) / 8);
    expect(distance(data, expected), name).toBeLessThan(1e-6);
    expect(distance(other.tensors.get(name)?.data ?? [], expected), name).toBeLessThan(1e-6);
  }
});

/** The adapter with a change in one of its tensors. */
function altered(adapter: Adapter, name: string, change: (data: Float32Array | Int32Array) => void): Adapter {
  change(adapter.tensors.get(name)?.data ?? new Float32Array(0));
  return adapter;
}

const scaled = methods["random-scaling"].example;

describe("what differs is refused, by file and field:", () => {
  const config = "adapter_config.json";
  test.each<[string, () => Promise<string>, AdapterConfigInput, string, string]>([
    [
      "another base",
      () => save(trained(mos, 2), { fingerprint: "sha256:9" }),
      mos,
      config,
      'base_fingerprint is "sha256:9", but "sha256:0"',
    ],
    [
      "other token ids",
      () => save(trained(mos, 2), { tokens: "sha256:9" }),
      mos,
      config,
      'base_tokens is "sha256:9", but "sha256:2"',
    ],
    [
      "another method",
      () => save(trained(scaled, 2)),
      mos,
      config,
      'peft_type is "RANDOM_SCALING", but "MOS"',
    ],
    ["another rank", () => save(trained({ ...mos, rank: 2 }, 2)), mos, config, "r is 2, but 3"],
    ["another alpha", () => save(trained({ ...mos, alpha: 8 }, 2)), mos, config, "lora_alpha is 8, but 16"],
    [
      "other targets",
      () => save(trained({ ...mos, targets: ["q_proj"] }, 2)),
      mos,
      config,
      'target_modules is ["q_proj"], but ["q_proj",',
    ],
    ["another seed", () => save(trained({ ...mos, seed: 1 }, 2)), mos, config, "seed is 1, but 0"],
    [
      "another index table",
      () =>
        save(
          altered(trained(mos, 2), "q_proj.I_a", (table) => {
            [table[0], table[1]] = [table[1] ?? 0, table[0] ?? 0];
          }),
        ),
      mos,
      ADAPTER_TENSORS,
      "base_model.model.q_proj.I_a is not that",
    ],
    [
      "another frozen tensor",
      () => save(altered(trained(scaled, 2), "q_proj.scale", (scale) => scale.fill(2))),
      scaled,
      ADAPTER_TENSORS,
      "base_model.model.q_proj.scale is not that",
    ],
  ])("%s", async (_, other, settings, file, what) => {
    const [first, second] = [await save(trained(settings, 1)), await other()];
    await expect(mean([first, second])).rejects.toMatchObject({
      code: "bad_adapter",
      message: expect.stringContaining(`${second}/${file}: ${what}`),
    });
    await expect(mean([first, second])).rejects.toThrow(
      `in ${first}; a mean is only of adapters that started`,
    );
  });
});

test("another name of the base and another dropout change nothing", async () => {
  const other = await save(trained({ ...mos, dropout: 0.5 }, 2), { name: "another" });
  await expect(mean([await save(trained(mos, 1)), other])).resolves.toBeDefined();
});

test("weights that do not fit, no adapters, and a place that is taken are refused", async () => {
  const path = await save(trained(mos, 1));
  const refused = (adapters: readonly string[], weights?: readonly number[]) =>
    expect(mean(adapters, weights)).rejects;
  await refused([path], [1, 2]).toThrow("weights: [1,2] is invalid for 1 adapters; give a number for each");
  await refused([path], [0]).toThrow("weights: [0] is invalid; give a number above 0");
  await refused([path, path], [1e308, 1e308]).toThrow("is invalid for 2 adapters");
  await refused([]).toThrow("adapters: there is none; give one or more folders");
  const onto = averageAdapters({ adapters: [path], out: path, overwrite: true });
  await expect(onto).rejects.toThrow(`${path} is the input; choose another output`);
  const over = averageAdapters({ adapters: [path], out: await save(trained(mos, 2)) });
  await expect(over).rejects.toThrow("already holds an adapter; add --overwrite to replace it");
});
