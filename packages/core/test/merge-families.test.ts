// `mergeAdapter` for families whose files are not as Llama's: fused matrices, and gains that are stated around 0.
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Adapter, computeDelta, saveAdapter } from "#adapters";
import { randomStream } from "#common";
import { mergeAdapter } from "#convert";
import { openGguf, openSafetensors, type WritableTensor, writeSafetensors } from "#files";
import {
  COMMON_LINEARS,
  dequantizeWeight,
  type FloatTensor,
  ggufName,
  type LinearName,
  listTargets,
  loadBase,
  type ModelConfig,
  modulePath,
  parseHuggingFaceConfig,
  storedPlace,
  storedShapes,
  toLayerShapes,
} from "#models";
import { randomAdapter } from "./random-adapter.ts";
import { TINY_FAMILIES } from "./tiny-families.ts";
import { type Typed, tinyGguf, writeGguf } from "./tiny-gguf.ts";
import { tinyConfigJson, tinyModel } from "./tiny-model.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-merge-families-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const SETTINGS = { method: "lora", rank: 2, targets: ["q_proj", "v_proj", "gate_proj", "down_proj"] };

interface Base {
  readonly path: string;
  readonly tensors: Readonly<Record<string, WritableTensor>>;
}

/** A folder of random numbers, as the family's files have them. Gains are far smaller than the last bit of 1. */
async function writeBase(name: string, json: string): Promise<Base> {
  const path = join(folder, name);
  await mkdir(path);
  const random = randomStream(5, name);
  const tensors = Object.fromEntries(
    [...storedShapes(parseHuggingFaceConfig(JSON.parse(json), "config.json"))].map(([key, shape]) => {
      const length = shape.reduce((product, size) => product * size, 1);
      const size = key.includes("norm") ? 1e-9 : 0.1;
      const data = Float32Array.from({ length }, () => size * random.normal());
      return [key, { dtype: "F32", shape, data } as const];
    }),
  );
  await writeFile(join(path, "config.json"), json);
  await writeSafetensors(join(path, "model.safetensors"), tensors);
  return { path, tensors };
}

async function merge({ path }: Base): Promise<{ readonly out: string; readonly adapter: Adapter }> {
  const { config, fingerprint } = await loadBase(path);
  const adapter = randomAdapter(SETTINGS, toLayerShapes(config), { seed: 2, deviation: 0.3 });
  await saveAdapter(`${path}-adapter`, adapter, { base: { name: "tiny", fingerprint } });
  const out = `${path}-merged`;
  for await (const event of mergeAdapter({ model: path, adapter: `${path}-adapter`, out }))
    if (event.type === "finish") expect(event.files).toEqual(["model.safetensors"]);
  return { out, adapter };
}

/** What an adapter adds to the tensors of a folder, by their names. */
async function deltas(adapter: Adapter, path: string): Promise<ReadonlyMap<string, Float32Array>> {
  const { config } = await loadBase(path);
  const shapes = storedShapes(config);
  const found = new Map<string, Float32Array>();
  for (let layer = 0; layer < config.layers; layer++)
    for (const linear of COMMON_LINEARS) {
      const { name, row } = storedPlace(config, `${modulePath({ layer, linear })}.weight`);
      const [rows = 0, width = 0] = shapes.get(name) ?? [];
      const sum = found.get(name) ?? new Float32Array(rows * width);
      const delta = await computeDelta(adapter, { layer, linear });
      if (delta !== undefined) sum.set(delta.data as Float32Array, row * width);
      found.set(name, sum);
    }
  return found;
}

test.each(["phi3", "gemma2", "granite"])(
  "%s keeps its tensors, and all bits that no adapter changes",
  async (family) => {
    const json = JSON.stringify({ ...tinyConfigJson, architectures: null, model_type: family });
    const base = await writeBase(family, json);
    const { out, adapter } = await merge(base);
    await using file = await openSafetensors(join(out, "model.safetensors"));
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(base.tensors).sort());
    const added = await deltas(adapter, base.path);
    for (const [name, { shape, data }] of Object.entries(base.tensors)) {
      expect(file.tensors.get(name)?.shape).toEqual(shape);
      const delta = added.get(name);
      const wanted = data.map((value, i) => value + (delta?.[i] ?? 0));
      expect(await file.readFloat32(name), name).toEqual(wanted);
    }
    const changed = [...added].filter(([, delta]) => delta.some((value) => value !== 0));
    expect(changed.length).toBe(2 * (family === "phi3" ? 3 : 4));
  },
);

test("of a model that also sees, the merged one is the language model", async () => {
  const text = {
    ...tinyConfigJson,
    architectures: null,
    model_type: "gemma3_text",
  };
  const capped = { model_type: "gemma3", text_config: { ...text, final_logit_softcapping: 30 } };
  // transformers reads the cap in the language model alone
  expect(() => parseHuggingFaceConfig(capped, "config.json")).toThrow(
    /final_logit_softcapping 30 is not supported/,
  );
  const { out } = await merge(
    await writeBase("sees", JSON.stringify({ model_type: "gemma3", text_config: text })),
  );
  const written = await readFile(join(out, "config.json"), "utf8");
  expect(JSON.parse(written)).toMatchObject({
    architectures: ["Gemma3ForCausalLM"],
    model_type: "gemma3_text",
  });
  expect((await loadBase(out)).config).toEqual((await loadBase(join(folder, "sees"))).config);
});

/** Tiny models as GGUF, with the keys of llama.cpp that a Llama does not have. */
const GGUF_FAMILIES: readonly {
  readonly title: string;
  readonly architecture: string;
  readonly overrides: Readonly<Record<string, unknown>>;
  readonly keys: (config: ModelConfig) => Readonly<Record<string, Typed>>;
  readonly targets: readonly LinearName[];
  /** A tensor that nothing reads. */
  readonly idle?: string;
}[] = [
  {
    title: "lfm2",
    architecture: "lfm2",
    overrides: TINY_FAMILIES["lfm2"]!,
    keys: ({ layerKinds = [], keyValueHeads, convolution = 0 }) => ({
      "attention.head_count_kv": [
        "numbers",
        layerKinds.map((kind) => (kind === "attention" ? keyValueHeads : 0)),
      ],
      "shortconv.l_cache": ["uint32", convolution],
    }),
    targets: ["o_proj", "gate_proj", "down_proj", "conv_in_proj"],
  },
  {
    title: "qwen3_5 with three value heads to a key head",
    architecture: "qwen35",
    overrides: { ...TINY_FAMILIES["qwen3_5"]!, linear_num_value_heads: 6 },
    keys: () => ({
      "rope.dimension_count": ["uint32", 4],
      full_attention_interval: ["uint32", 2],
      block_count: ["uint32", 5],
      nextn_predict_layers: ["uint32", 1],
      "ssm.conv_kernel": ["uint32", 4],
      "ssm.state_size": ["uint32", 8],
      "ssm.group_count": ["uint32", 2],
      "ssm.time_step_rank": ["uint32", 6],
      "ssm.inner_size": ["uint32", 48],
    }),
    targets: ["q_proj", "up_proj", "in_proj_qkv", "in_proj_z", "in_proj_a", "out_proj"],
    idle: "blk.4.nextn.eh_proj.weight",
  },
  {
    title: "gemma4",
    architecture: "gemma4",
    overrides: TINY_FAMILIES["gemma4"]!,
    keys: ({ layers }) => ({
      ...GEMMA4_KEYS,
      feed_forward_length: ["numbers", Array.from({ length: layers }, (_, i) => (i < 4 ? 40 : 80))],
      "attention.shared_kv_layers": ["uint32", 2],
      embedding_length_per_layer_input: ["uint32", 4],
      final_logit_softcapping: ["float32", 3],
    }),
    targets: ["q_proj", "v_proj", "down_proj", "per_layer_input_gate"],
    idle: "blk.5.attn_k.weight",
  },
  {
    title: "gemma4 with values of keys",
    architecture: "gemma4",
    overrides: TINY_FAMILIES["gemma4 with values of keys"]!,
    keys: () => ({ ...GEMMA4_KEYS, "attention.head_count_kv": ["numbers", [2, 1, 2, 1]] }),
    targets: ["k_proj", "v_proj", "o_proj"],
  },
];

const GEMMA4_KEYS: Readonly<Record<string, Typed>> = {
  "attention.key_length": ["uint32", 8],
  "attention.value_length": ["uint32", 8],
  "attention.key_length_swa": ["uint32", 4],
  "attention.value_length_swa": ["uint32", 4],
  "attention.sliding_window": ["uint32", 5],
  "attention.sliding_window_pattern": ["numbers", [1, 0, 1, 0, 1, 0]],
  "rope.dimension_count": ["uint32", 8],
  "rope.freq_base": ["float32", 1e6],
  "rope.freq_base_swa": ["float32", 1e4],
};

/** Which of six value heads of two key heads stands where in a file of llama.cpp. */
const TILES = [0, 3, 1, 4, 2, 5];

/** Numbers behind the first `kept` ones as six heads in the order of the file. */
function tiled(data: Float32Array, kept = 0): Float32Array {
  const width = (data.length - kept) / TILES.length;
  const heads = TILES.map((head) => data.subarray(kept + head * width, kept + (head + 1) * width));
  return Float32Array.from([...data.subarray(0, kept), ...heads.flatMap((head) => [...head])]);
}

/** The numbers of a weight of Qwen3.5 as the file has them: 32 rows of queries and keys stay. */
function qwenNumbers(name: string, { shape, data }: FloatTensor): Float32Array {
  if (name.endsWith("A_log")) return tiled(data.map((rate) => -Math.exp(rate)));
  if (/dt_bias|in_proj_[zab]/.test(name)) return tiled(data);
  if (/in_proj_qkv|conv1d/.test(name)) return tiled(data, 32 * (shape.at(-1) ?? 0));
  if (!name.includes("linear_attn.out_proj")) return data;
  const width = shape[1] ?? 0;
  const rows = Array.from({ length: shape[0] ?? 0 }, (_, row) =>
    data.subarray(row * width, (row + 1) * width),
  );
  return Float32Array.from(rows.flatMap((row) => [...tiled(row)]));
}

describe.each(GGUF_FAMILIES)(
  "a GGUF file of $title",
  ({ title, architecture, overrides, keys, targets, idle }) => {
    const model = tinyModel({ overrides });
    const { config, weights } = model;
    const file = (end: string): string => join(folder, `${title.replaceAll(" ", "-")}${end}`);
    beforeAll(async () => {
      const common = Object.entries(tinyGguf(model).metadata).map(
        ([key, value]) => [key.replace(/^llama\./, `${architecture}.`), value] as const,
      );
      const own = Object.entries(keys(config)).map(
        ([key, value]) => [`${architecture}.${key}`, value] as const,
      );
      const tensors = [...weights].map(([name, weight]) => {
        const data = architecture === "qwen35" ? qwenNumbers(name, weight) : weight.data;
        return {
          name: ggufName(config, name),
          shape: weight.shape.filter((_, axis) => weight.shape.length < 3 || axis !== 1),
          bytes: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
        };
      });
      const unturned = new Float32Array([1, 1e30, 1e30, 1e30]);
      const factors = { name: "rope_freqs.weight", shape: [4], bytes: new Uint8Array(unturned.buffer) };
      await writeGguf(file(".gguf"), {
        metadata: {
          ...Object.fromEntries([...common, ...own]),
          "general.architecture": ["string", architecture],
        },
        tensors: [
          ...(architecture === "gemma4" ? [factors] : []),
          ...tensors,
          ...(idle === undefined ? [] : [{ ...factors, name: idle }]),
        ],
      });
    });

    test("is the model of the folder", async () => {
      const loaded = await loadBase(file(".gguf"));
      expect(loaded.config).toEqual(config);
      for (const [name, { data }] of weights) {
        const found = dequantizeWeight(loaded.weights.get(name)!);
        if (!name.endsWith("A_log")) expect(found, name).toEqual(data);
        else for (const [i, rate] of data.entries()) expect(found[i]).toBeCloseTo(rate, 5);
      }
    });

    test("is merged with an adapter, and kernels stay float32", async () => {
      const base = await loadBase(file(".gguf"));
      const settings = { ...SETTINGS, targets };
      const adapter = randomAdapter(settings, toLayerShapes(base.config), { seed: 2, deviation: 0.3 });
      await saveAdapter(file("-adapter"), adapter, { base: { name: "tiny", fingerprint: base.fingerprint } });
      const out = file("-merged.gguf");
      for await (const _ of mergeAdapter({ model: file(".gguf"), adapter: file("-adapter"), out }));
      const merged = await loadBase(out);
      for (const target of listTargets(toLayerShapes(config))) {
        const name = `${modulePath(target)}.weight`;
        const delta = (await computeDelta(adapter, target))?.data;
        const isTarget = targets.includes(target.linear);
        expect(delta?.some((value) => Math.abs(value) > 0.01) ?? false, name).toBe(isTarget);
        const found = dequantizeWeight(merged.weights.get(name)!);
        for (const [i, value] of dequantizeWeight(base.weights.get(name)!).entries()) {
          const wanted = value + (delta?.[i] ?? 0);
          expect(Math.abs(found[i]! - wanted), name).toBeLessThan(1e-3 * Math.max(1, Math.abs(wanted)));
        }
      }
      await using written = await openGguf(out);
      const types = new Set(
        [...written.tensors].map(([name, { type }]) => `${name.replace(/^blk\.\d+\./, "")} ${type}`),
      );
      if (architecture !== "gemma4")
        expect(types).toContain(`${architecture === "lfm2" ? "shortconv.conv" : "ssm_conv1d"}.weight F32`);
      expect(types).toContain("ffn_up.weight F16");
    });
  },
);
