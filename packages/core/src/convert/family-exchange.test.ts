// What leaves for other programs and comes from them, where a family's files are not Llama's.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Adapter, computeDelta, loadAdapter, METHOD_NAMES, methods } from "#adapters";
import { randomStream } from "#common";
import { openGguf, openSafetensors, type WritableTensor, writeSafetensors } from "#files";
import {
  ggufName,
  listTargets,
  moduleKey,
  parseHuggingFaceConfig,
  reorderRows,
  toLayerShapes,
} from "#models";
import { largestDifference } from "../../test/largest-difference.ts";
import { withFactors } from "../../test/layer-shapes.ts";
import { randomAdapter } from "../../test/random-adapter.ts";
import { TINY_FAMILIES } from "../../test/tiny-families.ts";
import { tinyConfigJson } from "../../test/tiny-model.ts";
import { type Factors, peftTensorName, toLora } from "./assemble-lora.ts";
import { type FileModule, fileModules } from "./file-modules.ts";
import { fuseFactors, splitFactors } from "./fuse-factors.ts";
import { readLora } from "./read-lora.ts";
import { writeGgufLora, writePeft } from "./write-lora.ts";

const makeConfig = (model_type: string) =>
  parseHuggingFaceConfig({ ...tinyConfigJson, architectures: null, model_type }, "config.json");
const phi3 = makeConfig("phi3");
const FAMILIES = [phi3, makeConfig("granite"), makeConfig("gemma2")].map(
  (model) => [model.architecture, model] as const,
);

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-families-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const normals = (length: number, seed: number | string): Float32Array => {
  const random = randomStream(1, String(seed));
  return Float32Array.from({ length }, () => random.normal());
};

/** scale · B A, [out, in], by plain loops. */
function product({ rank, a, b }: Factors, scale: number): Float64Array {
  const [width, out] = [a.length / rank, b.length / rank];
  return Float64Array.from({ length: out * width }, (_, at) => {
    let sum = 0;
    for (let i = 0; i < rank; i++)
      sum += b[Math.floor(at / width) * rank + i]! * a[i * width + (at % width)]!;
    return scale * sum;
  });
}

/** What an adapter adds to a matrix of the files. */
async function deltaOfModule(adapter: Adapter, { parts, widths }: FileModule): Promise<Float32Array> {
  const sum = new Float32Array(widths.out * widths.in);
  let row = 0;
  for (const { target, out } of parts) {
    const delta = await computeDelta(adapter, target);
    if (delta !== undefined) sum.set(delta.data as Float32Array, row * widths.in);
    row += out;
  }
  return sum;
}

const isAdapted = ({ config }: Adapter, { parts }: FileModule): boolean =>
  parts.some(({ target }) => config.targets.includes(target.linear));

describe.each(FAMILIES)("%s", (family, model) => {
  const modules = fileModules(model);
  const shapes = withFactors(toLayerShapes(model));

  // all methods with fused matrices, and two with the others
  const tagsOf = (name: string) => (model === phi3 || name === "mos" || name === "lora" ? [] : ["thorough"]);
  for (const name of METHOD_NAMES)
    test(`${name} changes every matrix in PEFT and in llama.cpp as here`, {
      tags: tagsOf(name),
    }, async () => {
      const adapter = randomAdapter(methods[name].example, shapes, { seed: 3, only: "zeros" });
      const lora = await toLora(adapter);
      const place = join(folder, `${family}-${name}`);
      await writePeft(place, lora, { dtype: "float32", model, baseName: "org/base" });
      await writeGgufLora(`${place}.gguf`, lora, { dtype: "float32", model });
      const fields = JSON.parse(await readFile(join(place, "adapter_config.json"), "utf8"));
      await using peft = await openSafetensors(join(place, "adapter_model.safetensors"));
      await using gguf = await openGguf(`${place}.gguf`);
      const adapted = [...modules.values()].filter((module) => isAdapted(lora.adapter, module));
      expect(peft.tensors.size).toBe(2 * adapted.length);
      expect(gguf.tensors.size).toBe(2 * adapted.length);
      for (const module of adapted) {
        const { path, name: last, widths } = module;
        const delta = await deltaOfModule(adapter, module);
        const rank = fields.rank_pattern?.[last] ?? fields.r;
        const a = await peft.readFloat32(peftTensorName(path, "A"));
        const b = await peft.readFloat32(peftTensorName(path, "B"));
        expect([a.length, b.length]).toEqual([rank * widths.in, widths.out * rank]);
        const scale = (fields.alpha_pattern?.[last] ?? fields.lora_alpha) / rank;
        expect(largestDifference(product({ rank, a, b }, scale), delta)).toBeLessThan(1e-4);
        expect(scale).toBeCloseTo(fields.lora_alpha / fields.r, 10); // for servers that read no patterns
        expect(rank).toBeLessThanOrEqual(fields.r);

        const stored = ggufName(model, `${path}.weight`);
        const there = {
          rank,
          a: await gguf.readFloat32(`${stored}.lora_a`),
          b: await gguf.readFloat32(`${stored}.lora_b`),
        };
        const order = { config: model, name: `${path}.weight`, direction: "toFile" } as const;
        const rows = reorderRows(delta, order);
        expect(largestDifference(product(there, lora.alpha / rank), rows)).toBeLessThan(1e-4);
      }
      const back = await readLora(place, { model, from: "peft" });
      expect(back).toMatchObject({ padded: [], folded: [], absent: [], alpha: lora.alpha });
      expect(back.adapter.config).toEqual({ ...lora.adapter.config, seed: 0 });
      expect(back.adapter.tensors).toEqual(lora.adapter.tensors);
    });

  test("llama.cpp's name of the family", async () => {
    const path = join(folder, `${family}.gguf`);
    const adapter = randomAdapter({ method: "lora", rank: 1 }, shapes, { seed: 1 });
    await writeGgufLora(path, await toLora(adapter), { dtype: "float16", model });
    await using file = await openGguf(path);
    expect(file.metadata["general.architecture"]).toBe(family);
  });
});

test.each([
  [
    "lfm2",
    ["q_proj", "k_proj", "v_proj", "self_attn.out_proj", "w1", "w3", "w2", "in_proj", "conv.out_proj"],
  ],
  ["lfm3", ["q_proj", "o_proj", "w1", "g_proj", "in_proj", "out_proj"]],
  ["gemma4", ["q_proj", "v_proj", "down_proj", "per_layer_input_gate", "per_layer_projection"]],
  ["gemma4 with values of keys", ["q_proj", "v_proj", "down_proj"]],
  ["qwen3_5", ["q_proj", "down_proj", "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj"]],
  ["granitemoehybrid", ["q_proj", "input_linear", "output_linear"]],
  ["granite_swa", ["q_proj", "o_proj", "gate_proj", "down_proj"]],
  ["ministral3", ["q_proj", "o_proj", "gate_proj", "down_proj"]],
  ["olmo3", ["q_proj", "o_proj", "gate_proj", "down_proj"]],
] as const)(
  "%s: layers of different kinds have PEFT's names there, and come back as they were",
  async (family, names) => {
    const fields = { ...tinyConfigJson, ...TINY_FAMILIES[family] };
    const model = parseHuggingFaceConfig(fields, "config.json");
    const shapes = toLayerShapes(model);
    const targets = [...new Set(listTargets(shapes).map(({ linear }) => linear))];
    const lora = await toLora(randomAdapter({ method: "lora", rank: 2, targets }, shapes, { seed: 3 }));
    const place = join(folder, `kinds-${family}`);
    await writePeft(place, lora, { dtype: "float32", model, baseName: "org/base" });
    const { target_modules } = JSON.parse(await readFile(join(place, "adapter_config.json"), "utf8"));
    expect(target_modules).toEqual(expect.arrayContaining([...names]));
    const back = await readLora(place, { model, from: "peft" });
    expect(back).toMatchObject({ padded: [], folded: [], absent: [] });
    expect(back.adapter.config.targets).toEqual(targets);
    expect(back.adapter.tensors).toEqual(lora.adapter.tensors);
  },
);

test.each(["granite", "lfm2", "qwen3_5", "gemma4", "gemma4 with values of keys"])(
  "%s: a file for llama.cpp comes back as it was",
  async (family) => {
    const fields = { ...tinyConfigJson, ...TINY_FAMILIES[family], linear_num_value_heads: 6 };
    const model = parseHuggingFaceConfig(fields, "config.json");
    const shapes = toLayerShapes(model);
    const targets = [...new Set(listTargets(shapes).map(({ linear }) => linear))];
    const settings = { method: "lora", rank: 2, alpha: 0.5, targets };
    const lora = await toLora(randomAdapter(settings, shapes, { seed: 3 }));
    const path = join(folder, `back-${family}.gguf`);
    await writeGgufLora(path, lora, { dtype: "float32", model });
    const back = await readLora(path, { model, from: "gguf" });
    expect(back).toMatchObject({ padded: [], absent: [], base: {} });
    expect(back.adapter.config).toEqual({ ...lora.adapter.config, seed: 0 });
    expect([...back.adapter.tensors.keys()]).toEqual([...lora.adapter.tensors.keys()]);
    for (const [name, { data }] of lora.adapter.tensors) {
      const found = back.adapter.tensors.get(name)!.data as Float32Array;
      expect(largestDifference(found, data as Float32Array), name).toBeLessThan(1e-5);
    }
    await expect(readLora(path, { model: makeConfig("olmo2"), from: "gguf" })).rejects.toThrowError(
      'general.architecture is not "olmo2"; give a LoRA for this base',
    );
  },
);

/** The folder with its patterns taken away, which are refused on their own. */
async function onlyFused(place: string): Promise<string> {
  const path = join(place, "adapter_config.json");
  const { rank_pattern: _, alpha_pattern: __, ...fields } = JSON.parse(await readFile(path, "utf8"));
  await writeFile(path, JSON.stringify(fields));
  return place;
}

test("Phi-3: fused modules have the ranks of their parts together, in names that PEFT and llama.cpp have", async () => {
  const targets = ["q_proj", "v_proj", "o_proj", "gate_proj"] as const;
  const settings = { method: "lora", rank: 2, alpha: 0.1, targets };
  const lora = await toLora(randomAdapter(settings, toLayerShapes(phi3), { seed: 3 }));
  const place = join(folder, "phi3");
  await writePeft(place, lora, { dtype: "float32", model: phi3, baseName: "org/base" });
  expect(JSON.parse(await readFile(join(place, "adapter_config.json"), "utf8"))).toMatchObject({
    r: 4,
    lora_alpha: 0.2,
    target_modules: ["qkv_proj", "o_proj", "gate_up_proj"],
    rank_pattern: { o_proj: 2, gate_up_proj: 2 },
    alpha_pattern: { o_proj: 0.1, gate_up_proj: 0.1 },
  });
  const back = await readLora(place, { model: phi3, from: "peft" });
  expect(back.adapter.config).toEqual({ ...lora.adapter.config, seed: 0 });
  expect(back.adapter.tensors).toEqual(lora.adapter.tensors);
  await expect(
    loadAdapter(await onlyFused(place), { shapes: toLayerShapes(phi3), fingerprint: "any" }),
  ).rejects.toThrowError(
    "it targets qkv_proj, which combines several linear layers; convert the folder with mos import",
  );
  await writeGgufLora(`${place}.gguf`, lora, { dtype: "float32", model: phi3 });
  await using file = await openGguf(`${place}.gguf`);
  expect(new Map([...file.tensors].slice(0, 6).map(([name, { shape }]) => [name, shape]))).toEqual(
    new Map([
      ["blk.0.attn_qkv.weight.lora_a", [4, 16]],
      ["blk.0.attn_qkv.weight.lora_b", [32, 4]],
      ["blk.0.attn_output.weight.lora_a", [2, 16]],
      ["blk.0.attn_output.weight.lora_b", [16, 2]],
      ["blk.0.ffn_up.weight.lora_a", [2, 16]],
      ["blk.0.ffn_up.weight.lora_b", [80, 2]],
    ]),
  );
});

describe("a LoRA that PEFT trained on Phi-3's fused layers", () => {
  const modules = [...fileModules(phi3).values()];
  const fields = {
    peft_type: "LORA",
    r: 3,
    lora_alpha: 5,
    bias: "none",
    target_modules: ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"],
  };
  const factors = new Map(
    modules.map(({ path, widths }) => [
      path,
      { rank: 3, a: normals(3 * widths.in, `${path}.A`), b: normals(widths.out * 3, `${path}.B`) },
    ]),
  );
  const save = async (name: string, more: object, leftOut?: string): Promise<string> => {
    const place = join(folder, name);
    await mkdir(place);
    const tensors: Record<string, WritableTensor> = {};
    for (const { path, widths } of modules.filter((module) => module.name !== leftOut)) {
      const { a, b } = factors.get(path)!;
      tensors[peftTensorName(path, "A")] = { dtype: "F32", shape: [3, widths.in], data: a };
      tensors[peftTensorName(path, "B")] = { dtype: "F32", shape: [widths.out, 3], data: b };
    }
    await writeSafetensors(join(place, "adapter_model.safetensors"), tensors);
    await writeFile(join(place, "adapter_config.json"), JSON.stringify({ ...fields, ...more }));
    return place;
  };

  test.each([
    ["by name", {}],
    ["as all linear layers", { target_modules: "all-linear" }],
  ])("targets %s: every layer has its rows of B, and all the same A", async (name, more) => {
    const { adapter, padded, folded, absent } = await readLora(await save(name, more), {
      model: phi3,
      from: "peft",
    });
    expect([padded, folded, absent]).toEqual([[], [], []]);
    expect(adapter.config).toMatchObject({ rank: 3, alpha: 5 });
    for (const { path, parts } of modules) {
      let row = 0;
      for (const { target, out } of parts) {
        const own = (side: string) => adapter.tensors.get(`${target.linear}.${target.layer}.${side}`)!.data;
        expect(own("A"), moduleKey(target)).toEqual(factors.get(path)!.a);
        expect(own("B"), moduleKey(target)).toEqual(factors.get(path)!.b.subarray(row * 3, (row + out) * 3));
        row += out;
      }
    }
  });

  test("a module that is missing, and names of other families, are told", async () => {
    const read = async (place: Promise<string>, model = phi3) =>
      readLora(await place, { model, from: "peft" });
    await expect(read(save("half", {}, "gate_up_proj"))).rejects.toThrowError(
      "model.layers.0.mlp.gate_up_proj is targeted by adapter_config.json, but its tensors are missing",
    );
    await expect(read(save("llama", {}), makeConfig("llama"))).rejects.toThrowError(
      "_proj.lora_A.weight is not a factor of a linear layer of this base, which has q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj; expected names such as base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
    );
    const plain = join(folder, "plain");
    const lora = await toLora(randomAdapter({ method: "lora", rank: 1 }, toLayerShapes(phi3), { seed: 1 }));
    await writePeft(plain, lora, { dtype: "float32", model: makeConfig("llama"), baseName: "b" });
    await expect(read(Promise.resolve(plain))).rejects.toThrowError(
      "_proj.lora_A.weight is not a factor of a linear layer of this base, which has qkv_proj, o_proj, gate_up_proj, down_proj",
    );
  });

  test("one that was never trained keeps its ranks", async () => {
    for (const { b } of factors.values()) b.fill(0);
    const { adapter, absent } = await readLora(await save("new", {}), { model: phi3, from: "peft" });
    expect(absent).toEqual([]);
    expect(adapter.config.rank).toBe(3);
    expect(adapter.tensors.get("k_proj.1.A")!.data).toEqual(
      factors.get("model.layers.1.self_attn.qkv_proj")!.a,
    );
  });
});

describe("fusing factors", () => {
  const WIDTH = 4;
  const part = fc
    .record({ out: fc.integer({ min: 1, max: 5 }), rank: fc.nat({ max: 3 }), seed: fc.nat({ max: 99 }) })
    .map(({ out, rank, seed }) => ({
      out,
      factors:
        rank === 0 ? undefined : { rank, a: normals(rank * WIDTH, seed), b: normals(out * rank, seed + 100) },
    }));
  const parts = fc
    .array(part, { minLength: 2, maxLength: 3 })
    .filter((all) => all.some(({ factors }) => factors !== undefined));

  test("gives every part its product, and comes apart again", () => {
    fc.assert(
      fc.property(parts, (all) => {
        const fused = fuseFactors(all);
        const products = all.map(({ out, factors }) =>
          factors === undefined ? new Float64Array(out * WIDTH) : product(factors, 1),
        );
        expect(
          largestDifference(
            product(fused, 1),
            products.flatMap((rows) => [...rows]),
          ),
        ).toBe(0);
        const outs = all.map(({ out }) => out);
        expect(splitFactors(fused, outs)).toEqual(all.map(({ factors }) => factors));
      }),
    );
  });

  test("coming apart keeps the product of any factors", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 2, maxLength: 3 }),
        fc.array(fc.boolean(), { minLength: 48, maxLength: 48 }),
        (rank, outs, kept) => {
          const rows = outs.reduce((sum, out) => sum + out, 0);
          const b = normals(rows * rank, 7).map((value, i) => (kept[i] === true ? value : 0));
          const fused = { rank, a: normals(rank * WIDTH, 8), b };
          const products = splitFactors(fused, outs).map((factors, i) =>
            factors === undefined ? new Float64Array(outs[i]! * WIDTH) : product(factors, 1),
          );
          expect(
            largestDifference(
              products.flatMap((own) => [...own]),
              product(fused, 1),
            ),
          ).toBe(0);
        },
      ),
    );
  });
});

test("the limit of a rank is that of the fused matrices, as servers have them", async () => {
  const adapter = randomAdapter({ method: "lora", rank: 2, alpha: 4 }, toLayerShapes(phi3), {
    seed: 4,
    only: "zeros",
  });
  const place = join(folder, "limited");
  const written = await writePeft(place, await toLora(adapter), {
    dtype: "float32",
    model: phi3,
    baseName: "org/base",
    maxRank: 3,
  });
  expect(written).toMatchObject({ rank: 3, alpha: 6 });
  const names = Object.keys(written.lowered!.modules);
  // qkv had rank 6 and gate_up 4; o and down keep their 2
  expect(new Set(names.map((name) => name.split(".").at(-1)))).toEqual(new Set(["qkv_proj", "gate_up_proj"]));
  const fields = JSON.parse(await readFile(join(place, "adapter_config.json"), "utf8"));
  expect(fields).toMatchObject({
    r: 3,
    lora_alpha: 6,
    rank_pattern: { o_proj: 2, down_proj: 2 },
    alpha_pattern: { o_proj: 4, down_proj: 4 },
  });
});
