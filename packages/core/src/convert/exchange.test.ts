import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Adapter, computeDelta, type LayerShapes, loadAdapter, METHOD_NAMES, methods } from "#adapters";
import { randomStream } from "#common";
import { openGguf, openSafetensors, type WritableGgufValue, writeGguf } from "#files";
import { COMMON_LINEARS, moduleKey, parseHuggingFaceConfig, type TargetModule } from "#models";
import { runs } from "../../../../test/runs.ts";
import { largestDifference } from "../../test/largest-difference.ts";
import { layerShapes } from "../../test/layer-shapes.ts";
import { randomAdapter } from "../../test/random-adapter.ts";
import { assembleLora, type ModuleFactors, toLora } from "./assemble-lora.ts";
import { readLora } from "./read-lora.ts";
import { writeGgufLora, writePeft } from "./write-lora.ts";

const model = parseHuggingFaceConfig(
  {
    model_type: "llama",
    vocab_size: 48,
    hidden_size: 16,
    intermediate_size: 40,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 8,
    max_position_embeddings: 64,
    rms_norm_eps: 1e-5,
    tie_word_embeddings: false,
  },
  "config.json",
);
const shapes = layerShapes(2);
const targets: readonly TargetModule[] = [0, 1].flatMap((layer) =>
  COMMON_LINEARS.map((linear) => ({ layer, linear })),
);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-exchange-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** An adapter whose zeros became random numbers. */
const filled = (settings: unknown): Adapter => randomAdapter(settings, shapes, { seed: 3, only: "zeros" });

async function deltas(adapter: Adapter): Promise<ReadonlyMap<string, Float32Array>> {
  const found = new Map<string, Float32Array>();
  for (const target of targets) {
    const delta = await computeDelta(adapter, target);
    if (delta?.data instanceof Float32Array && delta.data.some((value) => value !== 0))
      found.set(moduleKey(target), delta.data);
  }
  return found;
}

describe.each(METHOD_NAMES)("%s as a plain LoRA", (name) => {
  const adapter = filled(methods[name].example);

  test("changes the base as before, on the same layers", async () => {
    const lora = await toLora(adapter);
    expect(lora.adapter.config.method).toBe("lora");
    expect(lora).toMatchObject({ padded: [], folded: [], absent: [] });
    const [expected, found] = [await deltas(adapter), await deltas(lora.adapter)];
    expect(expected.size).toBeGreaterThan(0);
    expect([...found.keys()]).toEqual([...expected.keys()]);
    for (const [key, delta] of expected) expect(largestDifference(found.get(key)!, delta)).toBeLessThan(5e-5);
  });

  test("comes back from PEFT's folder as it went", async () => {
    const lora = await toLora(adapter);
    const place = join(folder, `${name}-peft`);
    await writePeft(place, lora, { dtype: "float32", model, baseName: "org/base" });
    const back = await readLora(place, { model, from: "peft" });
    expect(back).toMatchObject({ base: { name: "org/base" }, padded: [], folded: [], absent: [] });
    expect(back.adapter.config).toEqual({ ...lora.adapter.config, seed: 0 });
    expect(back.adapter.tensors).toEqual(lora.adapter.tensors);
    const loaded = await loadAdapter(place, { shapes, fingerprint: "any" });
    expect(loaded.tensors).toEqual(lora.adapter.tensors);
  });
});

test("a LoRA is itself, to the last bit of its alpha", async () => {
  for (const [rank, alpha] of [
    [3, 16],
    [7, 0.1],
    [6, 13],
  ]) {
    const adapter = filled({ method: "lora", rank, alpha });
    const lora = await toLora(adapter);
    expect(lora.adapter.config).toEqual(adapter.config);
    expect(lora.adapter.tensors).toEqual(adapter.tensors);
  }
});

test("PEFT's folder has the fields that PEFT has had since 0.4, and no others", async () => {
  const place = join(folder, "fields");
  await writePeft(place, await toLora(filled({ ...methods.mos.example, targets: ["v_proj", "q_proj"] })), {
    dtype: "bfloat16",
    model,
    baseName: "org/base",
  });
  const fields = JSON.parse(await readFile(join(place, "adapter_config.json"), "utf8"));
  const { rank } = methods.mos.example;
  expect(fields).toEqual({
    auto_mapping: null,
    base_model_name_or_path: "org/base",
    bias: "none",
    fan_in_fan_out: false,
    inference_mode: true,
    init_lora_weights: true,
    layers_pattern: null,
    layers_to_transform: null,
    lora_alpha: 16,
    lora_dropout: 0,
    modules_to_save: null,
    peft_type: "LORA",
    r: rank,
    revision: null,
    target_modules: ["q_proj", "v_proj"],
    task_type: "CAUSAL_LM",
  });
  await using file = await openSafetensors(join(place, "adapter_model.safetensors"));
  expect(file.metadata).toEqual({ format: "pt" });
  expect([...file.tensors.values()].every(({ dtype }) => dtype === "BF16")).toBe(true);
  expect([...file.tensors.keys()].filter((key) => key.includes("layers.1"))).toEqual(
    ["q", "v"].flatMap((letter) =>
      ["A", "B"].map(
        (side) => `base_model.model.model.layers.1.self_attn.${letter}_proj.lora_${side}.weight`,
      ),
    ),
  );
});

test("GGUF: llama.cpp's names, its alpha, and its order of the rows of q and k", async () => {
  const lora = await toLora(filled({ method: "lora", rank: 2, alpha: 5 }));
  const path = join(folder, "lora.gguf");
  await writeGgufLora(path, lora, { dtype: "float32", model });
  await using file = await openGguf(path);
  expect(file.metadata).toEqual({
    "general.architecture": "llama",
    "general.type": "adapter",
    "general.file_type": 0,
    "adapter.type": "lora",
    "adapter.lora.alpha": 5,
  });
  expect(file.tensors.size).toBe(2 * 7 * 2);
  expect(file.tensors.get("blk.1.ffn_down.weight.lora_a")?.shape).toEqual([2, 40]);
  expect(file.tensors.get("blk.1.ffn_down.weight.lora_b")?.shape).toEqual([16, 2]);
  const own = (name: string) => lora.adapter.tensors.get(name)!.data;
  expect(await file.readFloat32("blk.0.attn_q.weight.lora_a")).toEqual(own("q_proj.0.A"));
  expect(await file.readFloat32("blk.0.attn_v.weight.lora_b")).toEqual(own("v_proj.0.B"));
  // a head of 8 rows: row i of the first half stands at 2 i, row i of the second at 2 i + 1
  const [stored, rows] = [await file.readFloat32("blk.0.attn_q.weight.lora_b"), own("q_proj.0.B")];
  for (let head = 0; head < 2; head++)
    for (let i = 0; i < 8; i++) {
      const place = head * 8 + (i < 4 ? 2 * i : 2 * (i - 4) + 1);
      expect([...stored.subarray(place * 2, place * 2 + 2)]).toEqual([
        ...rows.subarray((head * 8 + i) * 2, (head * 8 + i) * 2 + 2),
      ]);
    }
});

test.each<[WritableGgufValue, string]>([
  [{ type: "string", value: "8" }, '"8"; expected a number'],
  [{ type: "float32", value: Number.NaN }, "NaN; expected a finite number"],
  [{ type: "float32", value: Number.POSITIVE_INFINITY }, "Infinity; expected a finite number"],
])("GGUF: the alpha %o is refused", async (alpha, message) => {
  const path = join(folder, "alpha.gguf");
  await rm(path, { force: true });
  await writeGguf(path, {
    metadata: {
      "general.architecture": { type: "string", value: "llama" },
      "general.type": { type: "string", value: "adapter" },
      "adapter.type": { type: "string", value: "lora" },
      "adapter.lora.alpha": alpha,
    },
    tensors: {
      "blk.1.ffn_down.weight.lora_a": { dtype: "F32", shape: [2, 40], data: new Float32Array(80) },
      "blk.1.ffn_down.weight.lora_b": { dtype: "F32", shape: [16, 2], data: new Float32Array(32) },
    },
  });
  await expect(readLora(path, { model, from: "gguf" })).rejects.toThrowError(
    `alpha.gguf: adapter.lora.alpha is ${message}`,
  );
});

describe("a lower rank", () => {
  const adapter = filled({ method: "lora", rank: 6, alpha: 9 });

  test.each(["peft", "gguf"] as const)(
    "is the nearest of all, in %s, and its error is told",
    async (from) => {
      const lora = await toLora(adapter);
      const place = join(folder, `lower.${from}`);
      const write = (maxRank: number) =>
        from === "peft"
          ? writePeft(place, lora, { dtype: "float32", model, baseName: "base", maxRank })
          : writeGgufLora(place, lora, { dtype: "float32", model, maxRank });
      // rank 6 is what it has, and 2 is what it gets
      expect(await write(6)).toEqual({ rank: 6, alpha: 9 });
      const { lowered, ...fields } = await write(2);
      expect(fields).toEqual({ rank: 2, alpha: 3 });
      const read = await readLora(place, { model, from });
      expect(read.adapter.config).toMatchObject({ rank: 2, alpha: 3 });
      const [before, after] = [await deltas(adapter), await deltas(read.adapter)];
      const norm = (of: (i: number) => number, length: number): number =>
        Math.sqrt(Array.from({ length }, (_, i) => of(i) ** 2).reduce((sum, x) => sum + x, 0));
      let [lost, all] = [0, 0];
      for (const [i, [key, delta]] of [...before].entries()) {
        const nearest = after.get(key)!;
        const [error, whole] = [
          norm((j) => delta[j]! - nearest[j]!, delta.length),
          norm((j) => delta[j]!, delta.length),
        ];
        expect(Object.values(lowered!.modules)[i]).toBeCloseTo(error / whole, 4);
        expect(error).toBeGreaterThan(0);
        [lost, all] = [lost + error ** 2, all + whole ** 2];
      }
      expect(lowered!.error).toBeCloseTo(Math.sqrt(lost / all), 4);
    },
  );
});

test("float16 is refused for numbers that it cannot hold", async () => {
  const adapter = filled({ method: "lora", rank: 1, targets: ["q_proj"] });
  (adapter.tensors.get("q_proj.1.B")!.data as Float32Array)[2] = 70_000;
  const lora = await toLora(adapter);
  const write = (dtype: "float16" | "bfloat16") =>
    writePeft(join(folder, "wide"), lora, { dtype, model, baseName: "base" });
  await expect(write("float16")).rejects.toThrowError(
    "layers.1.self_attn.q_proj.lora_B.weight holds 70000, and the float16 maximum is 65504; store the weights as bfloat16 or float32",
  );
  await write("bfloat16");
});

describe("assembling sites of unlike ranks and scales", () => {
  const factors = fc
    .record({
      target: fc.constantFrom(...targets),
      rank: fc.integer({ min: 1, max: 5 }),
      scale: fc.constantFrom(0.25, 1, 2.5, 2 / Math.sqrt(3), -1),
      seed: fc.nat({ max: 1000 }),
    })
    .map(({ target, rank, scale, seed }): readonly [string, ModuleFactors] => {
      const random = randomStream(seed, "site");
      const widths = shapes.widths[target.linear]!;
      const draw = (length: number) => Float32Array.from({ length }, () => random.normal());
      return [moduleKey(target), { rank, scale, a: draw(rank * widths.in), b: draw(widths.out * rank) }];
    });

  const product = ({ rank, scale, a, b }: ModuleFactors): Float64Array => {
    const [width, out] = [a.length / rank, b.length / rank];
    const result = new Float64Array(out * width);
    for (let row = 0; row < out; row++)
      for (let column = 0; column < width; column++)
        for (let i = 0; i < rank; i++)
          result[row * width + column]! += scale * b[row * rank + i]! * a[i * width + column]!;
    return result;
  };

  test("keeps every site's product, and reports the changes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(factors, { minLength: 1, maxLength: 5 }), async (entries) => {
        const given = new Map(entries);
        const { adapter, alpha, padded, folded, absent } = assembleLora(given, {
          shapes,
          dropout: 0,
          seed: 0,
        });
        const { rank, targets } = adapter.config;
        expect(rank).toBe(Math.max(...[...given.values()].map((target) => target.rank)));
        expect(padded).toEqual([...given].filter(([, target]) => target.rank < rank).map(([key]) => key));
        const scales = new Set([...given.values()].map(({ scale }) => scale));
        if (scales.size === 1 && !scales.has(-1)) expect(folded).toEqual([]);
        expect(alpha).toBeGreaterThan(0);
        expect(absent.length).toBe(targets.length * 2 - given.size);
        const found = await deltas(adapter);
        expect([...found.keys()].sort()).toEqual([...given.keys()].sort());
        for (const [key, target] of given) {
          const [expected, actual] = [product(target), found.get(key)!];
          for (const [i, value] of expected.entries()) expect(actual[i]).toBeCloseTo(value, 4);
        }
      }),
      { numRuns: runs(12) },
    );
  });

  test("takes the scale that most sites have, and leaves their numbers alone", () => {
    const target = (scale: number): ModuleFactors => ({
      rank: 1,
      scale,
      a: new Float32Array(16).fill(1),
      b: new Float32Array(8).fill(3),
    });
    const given = new Map([
      ["0.k_proj", target(2)],
      ["1.k_proj", target(0.5)],
      ["0.v_proj", target(0.5)],
    ]);
    const { adapter, alpha, folded } = assembleLora(given, { shapes, dropout: 0, seed: 0 });
    expect(alpha).toBe(0.5);
    expect(folded).toEqual(["0.k_proj"]);
    expect([...adapter.tensors.get("k_proj.0.B")!.data]).toEqual(new Array(8).fill(12));
    expect([...adapter.tensors.get("k_proj.1.B")!.data]).toEqual(new Array(8).fill(3));
  });

  test("refuses what would overflow, and what would grow without bounds", () => {
    const huge = { rank: 1, a: new Float32Array(16), b: new Float32Array(8).fill(1e38) };
    const given = new Map([
      ["0.k_proj", { ...huge, scale: 1 }],
      ["1.k_proj", { ...huge, scale: 100 }],
    ]);
    const options = { shapes, dropout: 0, seed: 0 };
    expect(() => assembleLora(given, options)).toThrowError("overflows float32");
    const wide: LayerShapes = { layers: 128, widths: { k_proj: { in: 16_384, out: 1024 } } };
    const one = (rank: number) => ({
      rank,
      scale: 1,
      a: new Float32Array(rank * 16_384),
      b: new Float32Array(rank * 1024),
    });
    const unlike = new Map([
      ["0.k_proj", one(256)],
      ["1.k_proj", one(1)],
    ]);
    expect(() => assembleLora(unlike, { ...options, shapes: wide })).toThrowError(
      "a LoRA of one rank (256) would have 570425344 parameters",
    );
  });
});
