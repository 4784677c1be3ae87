// Models of families beyond Llama whose config or weights are broken, as `mos generate` meets them.
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeSafetensors } from "mixture-of-shards-core/files";
import type { FloatTensor } from "mixture-of-shards-core/models";
import { afterAll, beforeAll, describe, test } from "vitest";
import { TINY_FAMILIES } from "../../../core/test/tiny-families.ts";
import { asTensors, storedTensors, type TinyModel, writeTinyModel } from "../../../core/test/tiny-model.ts";
import { expectRefusal } from "./run-mos.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "mos-bad-family-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const SIZES = { vocab_size: 1024, max_position_embeddings: 128, bos_token_id: 0, eos_token_id: 2 };

async function refused(
  family: string,
  message: RegExp,
  edit: (at: string, model: TinyModel) => Promise<void>,
): Promise<void> {
  const at = await mkdtemp(join(folder, "model-"));
  const model = await writeTinyModel(at, { overrides: { ...TINY_FAMILIES[family], ...SIZES } });
  for (const name of ["tokenizer.json", "tokenizer_config.json"])
    await copyFile(join("assets/tiny-english", name), join(at, name));
  await edit(at, model);
  await expectRefusal(["generate", "--model", at, "--prompt", "Hi"], { code: 1, message, untouched: folder });
}

describe("config.json with", () => {
  test.each<[family: string, fields: object, message: RegExp]>([
    ["mistral", { sliding_window: "x" }, /field "sliding_window" is "x"; expected a number/],
    ["qwen2", { layer_types: ["a", "b", "c"] }, /layers of the type "a" \(layer_types\) are not supported/],
    ["qwen2", { use_sliding_window: "yes" }, /"use_sliding_window" is "yes"; expected true or false/],
    ["qwen3", { head_dim: 7 }, /head_dim is 7; it must be even/],
    ["smollm3", { no_rope_layers: null, no_rope_layer_interval: 0 }, /_interval" is 0; expected more than 0/],
    ["gemma2", { query_pre_attn_scalar: -4 }, /"query_pre_attn_scalar" is -4; expected more than 0/],
    [
      "gemma2",
      { hidden_activation: "relu6" },
      /hidden_activation "relu6" is not supported; supported are silu, swish, relu/,
    ],
    ["gemma3", { rope_local_base_freq: "a" }, /field "rope_local_base_freq" is "a"; expected a number/],
    [
      "gemma3",
      { rope_scaling: { rope_type: "ntk", factor: 8 } },
      /rope scaling of the type "ntk" is not supported/,
    ],
    ["gemma3", { model_type: "gemma3" }, /field "text_config" is missing; expected an object/],
    ["phi3", { partial_rotary_factor: 2 }, /is 16; expected an even number from 2 to 8/],
    [
      "phi3 with longrope",
      { original_max_position_embeddings: null },
      /original_max_position_embeddings is null/,
    ],
    ["olmo2", { hidden_act: "mish" }, /hidden_act "mish" is not supported/],
    ["granite", { logits_scaling: 0 }, /field "logits_scaling" is 0; expected more than 0/],
    [
      "llama",
      { model_type: "qwen3_moe" },
      /"qwen3_moe" are not supported; supported are qwen3_5_text, .*llama, mistral/,
    ],
  ])("%s and %j", (family, fields, message) =>
    refused(family, message, async (at) => {
      const file = join(at, "config.json");
      await writeFile(file, JSON.stringify({ ...JSON.parse(await readFile(file, "utf8")), ...fields }));
    }),
  );
});

type Tensors = Map<string, FloatTensor>;
const LAYER = "model.layers.1.";
const without =
  (name: string) =>
  (tensors: Tensors): unknown =>
    tensors.delete(LAYER + name);
const ofShape =
  (name: string, shape: readonly number[]) =>
  (tensors: Tensors): unknown =>
    tensors.set(LAYER + name, { shape, data: new Float32Array(shape.reduce((a, b) => a * b, 1)) });

describe("weights", () => {
  test.each<[family: string, what: string, edit: (tensors: Tensors) => unknown, message: RegExp]>([
    ["phi3", "without qkv", without("self_attn.qkv_proj.weight"), /qkv_proj\.weight \[64, 16\] is missing/],
    [
      ...(["phi3", "with few rows of qkv", ofShape("self_attn.qkv_proj.weight", [60, 16])] as const),
      /qkv_proj\.weight has the shape \[60, 16\], the config implies \[64, 16\]/,
    ],
    [
      ...(["qwen3", "with a q_norm of all heads", ofShape("self_attn.q_norm.weight", [32])] as const),
      /q_norm\.weight has the shape \[32\], the config implies \[8\]/,
    ],
    [
      ...(["olmo2", "with a q_norm of one head", ofShape("self_attn.q_norm.weight", [4])] as const),
      /q_norm\.weight has the shape \[4\], the config implies \[16\]/,
    ],
    ["qwen2", "without a bias", without("self_attn.q_proj.bias"), /q_proj\.bias \[16\] is missing/],
    [
      ...(["gemma2", "without its fourth norm", without("post_feedforward_layernorm.weight")] as const),
      /post_feedforward_layernorm\.weight \[16\] is missing/,
    ],
    [
      ...(["olmo2", "with a norm before attention", ofShape("input_layernorm.weight", [16])] as const),
      /input_layernorm\.weight does not belong to this model/,
    ],
  ])("of %s %s", (family, _, edit, message) =>
    refused(family, message, async (at, model) => {
      const tensors = new Map(storedTensors(model));
      edit(tensors);
      await writeSafetensors(join(at, "model.safetensors"), asTensors(tensors), { format: "pt" });
    }),
  );
});
