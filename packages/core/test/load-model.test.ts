import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { writeSafetensors } from "#files";
import {
  computeFingerprint,
  computeIdentity,
  type FloatTensor,
  floatData,
  floatTensors,
  huggingFaceConfig,
  loadBase,
  openModel,
  parseHuggingFaceConfig,
  presetConfig,
} from "#models";
import { TINY_FAMILIES } from "./tiny-families.ts";
import { tinyGguf, writeGguf } from "./tiny-gguf.ts";
import { asTensors, storedTensors, tinyConfigJson, tinyModel, writeTinyModel } from "./tiny-model.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "mos-load-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);
const failing = (code: string, message: RegExp) => ({ code, message: expect.stringMatching(message) });

describe("Hugging Face folders", () => {
  test("config and every weight arrive", async () => {
    const { config, weights } = await writeTinyModel(at("tiny"));
    const progress: number[] = [];
    const model = await loadBase(at("tiny"), {
      onProgress: ({ done, total }) => progress.push(done / total),
    });
    expect(model.config).toEqual(config);
    expect(floatTensors(model.weights)).toEqual(weights);
    expect(model).toMatchObject({ name: "tiny", source: { kind: "folder", folder: at("tiny") } });
    expect(model.fingerprint).toMatch(/^sha256:[0-9a-f]{64}$/);
    expect(progress.at(-1)).toBe(1);
  });

  test("shards are joined by the index", async () => {
    const { weights } = await writeTinyModel(folder);
    const whole = await loadBase(folder);
    rmSync(at("model.safetensors"));
    const entries = [...weights];
    const parts = [entries.slice(0, 5), entries.slice(5)];
    const map: Record<string, string> = {};
    for (const [i, part] of parts.entries()) {
      const shard = `model-0000${i + 1}-of-00002.safetensors`;
      await writeSafetensors(at(shard), asTensors(new Map(part)));
      for (const [name] of part) map[name] = shard;
    }
    writeFileSync(at("model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map: map }));
    const model = await loadBase(folder);
    expect(floatTensors(model.weights)).toEqual(weights);
    expect(model.fingerprint).toBe(whole.fingerprint);
  });

  test.each(Object.entries(TINY_FAMILIES))("a model of the family %s", async (_, overrides = {}) => {
    const { config, weights } = await writeTinyModel(folder, { overrides });
    await using files = await openModel(folder);
    const model = await loadBase(folder);
    expect(model.config).toEqual(config);
    expect([...model.weights.keys()]).toEqual([...weights.keys()]);
    for (const [name, { shape, data }] of weights) {
      const loaded = floatData(model.weights.get(name)!);
      const parts: number[] = [];
      for await (const part of files.readWeightParts(name)) parts.push(...part);
      expect(model.weights.get(name)?.shape).toEqual(shape);
      // gains of Gemma lose a bit on the way to the file and back
      expect(loaded.every((number, i) => Math.abs(number - data[i]!) < 1e-7)).toBe(true);
      expect(parts).toEqual([...loaded]);
      expect([...(await files.readWeight(name))]).toEqual(parts);
    }
    expect(await computeIdentity(files)).toBe(model.identity);
    expect(await computeFingerprint(files)).toBe(model.fingerprint);
  });

  test("the language model of one that also sees is read, and its pictures' weights are not", async () => {
    const overrides = TINY_FAMILIES["gemma3"]!;
    const model = tinyModel({ overrides });
    const vision = { dtype: "F32", shape: [3], data: new Float32Array(3) } as const;
    for (const prefix of ["language_model.model.", "model.language_model."]) {
      const tensors = Object.fromEntries(
        Object.entries(asTensors(storedTensors(model))).map(([name, tensor]) => [
          name.replace(/^model\./, prefix),
          tensor,
        ]),
      );
      await writeSafetensors(at("model.safetensors"), {
        ...tensors,
        "vision_tower.vision_model.head.weight": vision,
        "multi_modal_projector.norm.weight": vision,
      });
      const text_config = { ...tinyConfigJson, ...overrides, architectures: undefined };
      writeFileSync(at("config.json"), JSON.stringify({ model_type: "gemma3", text_config }));
      expect((await loadBase(folder)).config.layers).toBe(3);
    }
  });

  test("biases, a head width of its own and a tied head are read where the config says so", async () => {
    const overrides = { attention_bias: true, mlp_bias: true, head_dim: 6, tie_word_embeddings: true };
    await writeTinyModel(folder, { overrides });
    const { weights } = await loadBase(folder);
    expect(weights.get("model.layers.1.self_attn.k_proj.bias")?.shape).toEqual([12]);
    expect(weights.get("model.layers.0.self_attn.o_proj.weight")?.shape).toEqual([16, 24]);
    expect(weights.get("model.layers.0.mlp.down_proj.bias")?.shape).toEqual([16]);
    expect(weights.has("lm_head.weight")).toBe(false);
  });

  test("weights that nothing reads are ignored", async () => {
    const edit = (weights: Map<string, FloatTensor>) => {
      weights.set("model.layers.0.self_attn.rotary_emb.inv_freq", { shape: [2], data: new Float32Array(2) });
      weights.set("lm_head.weight", { shape: [48, 16], data: new Float32Array(768) });
    };
    await writeTinyModel(folder, { overrides: { tie_word_embeddings: true }, edit });
    expect((await loadBase(folder)).weights.has("lm_head.weight")).toBe(false);
  });

  test("vectors of 16 bits are read as float32, matrices keep their type", async () => {
    const { weights } = await writeTinyModel(folder);
    const halves = Object.entries(asTensors(weights)).map(([name, tensor]) => [
      name,
      { ...tensor, dtype: "BF16" },
    ]);
    await writeSafetensors(at("model.safetensors"), Object.fromEntries(halves));
    const loaded = await loadBase(folder, { baseDtype: "stored" });
    expect(loaded.weights.get("model.embed_tokens.weight")!.format).toEqual({ kind: "bfloat16" });
    const norm = floatData(loaded.weights.get("model.norm.weight")!);
    for (const [i, x] of weights.get("model.norm.weight")!.data.entries())
      expect(Math.abs(norm[i]! - x)).toBeLessThan(x / 256);
  });

  const setWeight =
    (name: string, change: (weight: FloatTensor) => FloatTensor | undefined) =>
    (weights: Map<string, FloatTensor>) => {
      const changed = change(weights.get(name)!);
      if (changed) weights.set(name, changed);
      else weights.delete(name);
    };
  const q = "model.layers.1.self_attn.q_proj.weight";
  const poke = (value: number) => (weight: FloatTensor) => ({ ...weight, data: weight.data.with(7, value) });

  test.each<[string, (weights: Map<string, FloatTensor>) => void, RegExp]>([
    ["a missing weight", setWeight(q, () => undefined), /q_proj.weight \[16, 16\] is missing/],
    [
      "a missing head",
      setWeight("lm_head.weight", () => undefined),
      /lm_head.weight \[48, 16\] is missing .*not tied/,
    ],
    [
      "another shape",
      setWeight(q, ({ data }) => ({ shape: [32, 8], data })),
      /q_proj.weight has the shape \[32, 8\], the config implies \[16, 16\]/,
    ],
    ["another rank", setWeight(q, ({ data }) => ({ shape: [256], data })), /has the shape \[256\]/],
    ["NaN", setWeight(q, poke(Number.NaN)), /layers.1.self_attn.q_proj.weight holds the value NaN at 7/],
    [
      "an infinity",
      setWeight("model.norm.weight", poke(Number.NEGATIVE_INFINITY)),
      /model.norm.weight holds the value -Infinity at 7/,
    ],
    [
      "an unknown weight",
      (weights) => weights.set("model.extra", { shape: [1], data: new Float32Array(1) }),
      /model.extra does not belong to this model/,
    ],
  ])("%s is refused", async (_, edit, message) => {
    await writeTinyModel(folder, { edit });
    await expect(loadBase(folder)).rejects.toMatchObject(failing("bad_model", message));
  });

  test("files that are missing or cut short", async () => {
    await expect(loadBase(at("none"))).rejects.toMatchObject(failing("not_found", /none/));
    await expect(loadBase(folder)).rejects.toMatchObject(failing("not_found", /no config.json and no .gguf/));
    writeFileSync(at("config.json"), JSON.stringify(tinyConfigJson));
    await expect(loadBase(folder)).rejects.toMatchObject(
      failing("not_found", /neither model.safetensors nor/),
    );
    writeFileSync(at("pytorch_model.bin"), "");
    await expect(loadBase(folder)).rejects.toMatchObject(
      failing("unsupported", /pytorch_model.bin is a Python pickle/),
    );
    await writeTinyModel(folder);
    await expect(loadBase(at("model.safetensors"))).rejects.toMatchObject(
      failing("bad_option", /give the folder/),
    );
    truncateSync(at("model.safetensors"), 3000);
    await expect(loadBase(folder)).rejects.toMatchObject(
      failing("bad_model", /model.safetensors: .*cut short/),
    );
    writeFileSync(at("generation_config.json"), '{"eos_token_id":"x"}');
    await expect(loadBase(folder)).rejects.toMatchObject(
      failing("bad_model", /generation_config.json: field "eos_token_id"/),
    );
  });

  test("an index that lies", async () => {
    await writeTinyModel(folder);
    const index = (map: Record<string, string>) => {
      writeFileSync(at("model.safetensors.index.json"), JSON.stringify({ weight_map: map }));
      return expect(loadBase(folder)).rejects;
    };
    writeFileSync(at("a.safetensors"), readFileSync(at("model.safetensors")));
    rmSync(at("model.safetensors"));
    await index({ x: "../a.safetensors" }).toMatchObject(
      failing("bad_model", /x is in "\.\.\/a\.safetensors"/),
    );
    await index({ x: "/etc/passwd" }).toMatchObject(
      failing("bad_model", /\.safetensors file of this folder/),
    );
    await index({ x: "b.safetensors" }).toMatchObject(
      failing("not_found", /b.safetensors: the index names this shard/),
    );
    await index({ x: "a.safetensors" }).toMatchObject(
      failing("bad_model", /the index says that x is in a.safetensors, but it is not/),
    );
    await index({ "model.norm.weight": "a.safetensors" }).toMatchObject(
      failing("bad_model", /embed_tokens.weight .* is missing/),
    );
  });

  test("a signal stops the loading", async () => {
    await writeTinyModel(folder);
    await expect(loadBase(folder, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "cancelled",
    });
  });
});

describe("the fingerprint", () => {
  test("knows the weights and the geometry, not the file format, the name or the tokens", async () => {
    await writeTinyModel(at("a"));
    await writeTinyModel(at("b"), { overrides: { eos_token_id: [3, 4], rms_norm_eps: 1e-6 } });
    await writeTinyModel(at("c"), { seed: 1 });
    await writeTinyModel(at("d"), { overrides: { rope_theta: 20000 } });
    await writeGguf(at("e.gguf"), tinyGguf(tinyModel()));
    const [a, b, c, d, e] = await Promise.all(
      ["a", "b", "c", "d", "e.gguf"].map(async (name) => (await loadBase(at(name))).fingerprint),
    );
    expect(b).toBe(a);
    expect(e).toBe(a);
    expect(new Set([a, c, d]).size).toBe(3);
  });
});

describe("GGUF", () => {
  test.each([
    ["plain", {}],
    [
      "with biases and a tied head",
      { attention_bias: true, mlp_bias: true, tie_word_embeddings: true, head_dim: 6 },
    ],
  ])("%s: config and weights equal those of the folder", async (_, overrides) => {
    const model = tinyModel({ overrides });
    await writeGguf(at("tiny.gguf"), tinyGguf(model));
    const loaded = await loadBase(at("tiny.gguf"));
    expect(loaded.config).toEqual(model.config);
    expect(floatTensors(loaded.weights)).toEqual(model.weights);
    expect(loaded).toMatchObject({ name: "tiny", source: { kind: "gguf", file: { path: at("tiny.gguf") } } });
    // a folder that holds only this file
    expect((await loadBase(folder)).fingerprint).toBe(loaded.fingerprint);
  });

  test("rope scaling", async () => {
    const input = tinyGguf(tinyModel());
    const scaled = {
      ...input.metadata,
      "llama.rope.scaling.type": ["string", "linear"],
      "llama.rope.scaling.factor": ["float32", 4],
    } as const;
    await writeGguf(at("a.gguf"), { ...input, metadata: scaled });
    await using linear = await openModel(at("a.gguf"));
    expect(linear.config.rope).toEqual({ kind: "linear", theta: 10000, factor: 4 });
    const factors = {
      name: "rope_freqs.weight",
      shape: [2],
      bytes: new Uint8Array(Float32Array.of(1, 8).buffer),
    };
    const yarn = {
      ...input.metadata,
      "llama.rope.scaling.type": ["string", "yarn"],
      "llama.rope.scaling.factor": ["float32", 4],
      "llama.rope.scaling.original_context_length": ["uint32", 32],
    } as const;
    await writeGguf(at("c.gguf"), { ...input, metadata: yarn });
    await using extended = await openModel(at("c.gguf"));
    expect(extended.config).toMatchObject({
      rope: { kind: "yarn", factor: 4, originalMaxPositions: 32, attentionFactor: 0.1 * Math.log(4) + 1 },
      maxPositions: 128,
    });
    expect(parseHuggingFaceConfig(huggingFaceConfig(extended.config, "here"), "config.json")).toMatchObject({
      rope: extended.config.rope,
    });
    await writeGguf(at("b.gguf"), { ...input, tensors: [...input.tensors, factors] });
    await using stretched = await openModel(at("b.gguf"));
    expect(stretched.config.rope).toEqual({ kind: "factors", theta: 10000, factor: 1, factors: [1, 8] });
  });

  test("several files in a folder", async () => {
    await writeGguf(at("a.gguf"), tinyGguf(tinyModel()));
    await writeGguf(at("b.gguf"), tinyGguf(tinyModel()));
    await expect(openModel(folder)).rejects.toMatchObject(failing("bad_option", /a.gguf, b.gguf/));
  });

  test("version 2 is read", async () => {
    await writeGguf(at("a.gguf"), { ...tinyGguf(tinyModel()), version: 2 });
    expect((await loadBase(at("a.gguf"))).weights.size).toBe(21);
  });
});

// SHA-256 over the weights' own SHA-256 sums, in the order of their names, as transformers 5.24 loads this GGUF.
const SMOLLM2 = "e9ba9e15d07a2e3e1b7c899279e4b3847451f24e73819edfdd3dff845b6ff26a";
const smollm2 = process.env["MOS_TEST_MODEL"];

test.skipIf(!smollm2)(
  "SmolLM2's weights equal those of transformers, bit for bit (needs MOS_TEST_MODEL)",
  async () => {
    const { config, weights } = await loadBase(smollm2!, { baseDtype: "float32" });
    expect(config).toEqual(presetConfig("smollm2-135m"));
    const digest = createHash("sha256");
    for (const [name, { data }] of [...floatTensors(weights)].sort(([a], [b]) => (a < b ? -1 : 1)))
      digest.update(`${name} ${createHash("sha256").update(data).digest("hex")}\n`);
    expect(digest.digest("hex")).toBe(SMOLLM2);
  },
);
