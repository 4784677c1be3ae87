import { describe, expect, test } from "vitest";
import type { ModelConfig } from "../config.ts";
import { huggingFaceConfig, parseHuggingFaceConfig } from "../config-json.ts";
import { storedPlace, storedShapes, weightShapes } from "../weights.ts";
import { FAMILIES, FAMILY_NAMES, type FamilyName } from "./index.ts";

const sizes = {
  vocab_size: 100,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 6,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  max_position_embeddings: 1024,
};
const parse = (model_type: FamilyName, fields: object = {}): ModelConfig =>
  parseHuggingFaceConfig({ ...sizes, model_type, ...fields }, "config.json");

const windows = (config: ModelConfig): string =>
  (config.window?.layers ?? []).map((isWindowed) => (isWindowed ? "w" : "f")).join("");

/** Fields of a file, and what they make of a model. */
const CASES: readonly (readonly [string, FamilyName, object, object])[] = [
  ["Llama has no choices", "llama", {}, { attentionBias: false, maxPositions: 1024 }],
  ["Mistral's window is on all layers", "mistral", { sliding_window: 64 }, { window: "wwwwww" }],
  ["a window longer than the model's context is none", "mistral", { sliding_window: 4096 }, { window: "" }],
  ["Qwen 2 has biases on q, k and v", "qwen2", {}, { attentionBias: "qkv", window: "" }],
  ["Qwen's window is off unless it is used", "qwen2", { sliding_window: 64 }, { window: "" }],
  [
    "and is on the upper layers then",
    "qwen2",
    { sliding_window: 64, use_sliding_window: true, max_window_layers: 4 },
    { window: "ffffww" },
  ],
  ["Qwen 3 has norms of each head", "qwen3", {}, { queryKeyNorm: "head", attentionBias: false }],
  [
    "Qwen 3.5 has linear attention in three layers of four, and rotates a quarter of a head",
    "qwen3_5_text",
    {},
    {
      layerKinds: [..."lllall"].map((kind) => (kind === "a" ? "attention" : "linear_attention")),
      linearAttention: { keyHeads: 16, valueHeads: 32, keyDim: 128, valueDim: 128, kernel: 4 },
      rotaryDim: 2,
      gatedQueries: true,
      gainOffset: 1,
    },
  ],
  [
    "or the layers that are listed, of other heads",
    "qwen3_5_text",
    {
      layer_types: [..."aaalaa"].map((kind) => (kind === "a" ? "full_attention" : "linear_attention")),
      linear_num_key_heads: 2,
      linear_num_value_heads: 4,
      linear_conv_kernel_dim: 3,
      rope_parameters: { rope_theta: 1e7, rope_type: "default", partial_rotary_factor: 0.5 },
    },
    {
      layerKinds: [..."aaalaa"].map((kind) => (kind === "a" ? "attention" : "linear_attention")),
      linearAttention: { keyHeads: 2, valueHeads: 4, keyDim: 128, valueDim: 128, kernel: 3 },
      rotaryDim: 4,
    },
  ],
  [
    "SmolLM3 rotates three layers of four",
    "smollm3",
    {},
    { rotatedLayers: [true, true, true, false, true, true], tiedHead: true },
  ],
  [
    "or those that are listed",
    "smollm3",
    { no_rope_layers: [0, 1, 0, 1, 1, 1] },
    { rotatedLayers: [false, true, false, true, true, true] },
  ],
  [
    "Gemma 2 has windows in every other layer, four norms and caps",
    "gemma2",
    { sliding_window: 64, query_pre_attn_scalar: 16 },
    {
      window: "wfwfwf",
      norms: "both",
      gainOffset: 1,
      activation: "gelu_tanh",
      attentionSoftCap: 50,
      logitSoftCap: 30,
      attentionScale: 0.25,
      embeddingScale: Math.sqrt(32),
    },
  ],
  [
    "Gemma 3 has one full layer in six, and a rope for the others",
    "gemma3_text",
    { sliding_window: 64, rope_scaling: { rope_type: "linear", factor: 8 } },
    {
      window: "wwwwwf",
      queryKeyNorm: "head",
      rope: { kind: "linear", theta: 1e6, factor: 8 },
      localRope: { kind: "default", theta: 1e4 },
    },
  ],
  [
    "Gemma 3 in the style of transformers 5",
    "gemma3_text",
    {
      sliding_window: 64,
      layer_types: ["full_attention", ...Array.from({ length: 5 }, () => "sliding_attention")],
      rope_parameters: {
        full_attention: { rope_type: "default", rope_theta: 5e5 },
        sliding_attention: { rope_type: "default", rope_theta: 2e4 },
      },
    },
    {
      window: "fwwwww",
      rope: { kind: "default", theta: 5e5 },
      localRope: { kind: "default", theta: 2e4 },
    },
  ],
  [
    "ropes of Gemma 3 that name no theta have those of their layers",
    "gemma3_text",
    {
      sliding_window: 64,
      rope_parameters: {
        full_attention: { rope_type: "default" },
        sliding_attention: { rope_type: "default" },
      },
    },
    { rope: { kind: "default", theta: 1e6 }, localRope: { kind: "default", theta: 1e4 } },
  ],
  [
    "layers of SmolLM3 that are listed have a window, used or not",
    "smollm3",
    {
      use_sliding_window: false,
      sliding_window: 64,
      layer_types: ["full_attention", ...Array.from({ length: 5 }, () => "sliding_attention")],
    },
    { window: "fwwwww" },
  ],
  ["Phi-4-mini rotates three quarters of a head", "phi3", { partial_rotary_factor: 0.75 }, { rotaryDim: 6 }],
  [
    "longrope",
    "phi3",
    {
      original_max_position_embeddings: 256,
      rope_scaling: { type: "su", short_factor: [1, 1, 1, 1], long_factor: [1, 2, 3, 4] },
    },
    {
      rope: {
        kind: "longrope",
        theta: 10000,
        originalMaxPositions: 256,
        shortFactors: [1, 1, 1, 1],
        longFactors: [1, 2, 3, 4],
        attentionFactor: Math.sqrt(1 + Math.log(4) / Math.log(256)),
      },
    },
  ],
  ["OLMo 2 has norms after each half", "olmo2", {}, { norms: "post", queryKeyNorm: "all" }],
  [
    "Granite has factors",
    "granite",
    { embedding_multiplier: 12, attention_multiplier: 0.1, residual_multiplier: 0.22, logits_scaling: 8 },
    { embeddingScale: 12, attentionScale: 0.1, residualScale: 0.22, logitScale: 1 / 8 },
  ],
  [
    "dense Granite 4.0 is a Granite",
    "granitemoehybrid",
    {
      shared_intermediate_size: 40,
      num_local_experts: 0,
      layer_types: Array.from({ length: 6 }, () => "attention"),
      position_embedding_type: "rope",
      embedding_multiplier: 12,
      attention_multiplier: 0.1,
      residual_multiplier: 0.22,
      logits_scaling: 8,
    },
    { intermediateSize: 40, residualScale: 0.22 },
  ],
  [
    "and has another name for attention where transformers 5 has saved it",
    "granitemoehybrid",
    {
      num_local_experts: 0,
      layers_block_type: Array.from({ length: 6 }, () => "full_attention"),
      position_embedding_type: "rope",
      embedding_multiplier: 12,
      attention_multiplier: 0.1,
      residual_multiplier: 0.22,
      logits_scaling: 8,
    },
    { intermediateSize: 1024 },
  ],
  [
    "OLMo 3 has windows in three layers of four, which its scaling leaves alone",
    "olmo3",
    { sliding_window: 64, rope_scaling: { rope_type: "linear", factor: 8 } },
    {
      window: "wwwfww",
      rope: { kind: "linear", theta: 5e5, factor: 8 },
      localRope: { kind: "default", theta: 5e5 },
    },
  ],
  [
    "Ministral 3 scales queries by their position, and its YaRN has no factor",
    "ministral3",
    {
      rope_parameters: {
        rope_type: "yarn",
        rope_theta: 1e4,
        factor: 4,
        original_max_position_embeddings: 256,
        mscale: 1,
        mscale_all_dim: 1,
        llama_4_scaling_beta: 0.1,
      },
    },
    {
      queryScale: { beta: 0.1, originalPositions: 256 },
      rope: { kind: "yarn", factor: 4, attentionFactor: 1 },
    },
  ],
  [
    "LFM2 has convolutions where it lists no attention, and adjusts the width of its MLP",
    "lfm2",
    { full_attn_idxs: [1, 5], norm_eps: 1e-4, intermediate_size: 600, conv_L_cache: 4 },
    {
      layerKinds: ["conv", "attention", "conv", "conv", "conv", "attention"],
      convolution: 4,
      intermediateSize: 512,
      normEpsilon: 1e-4,
    },
  ],
  [
    "LFM3 has windows too, norms after each half, a gate, and a rope for each kind",
    "lfm3",
    { sliding_window: 64 },
    {
      layerKinds: ["conv", "conv", "attention", "conv", "attention", "conv"],
      window: "ffffwf",
      norms: "both",
      attentionGate: true,
      rope: { kind: "proportional", theta: 1e6, part: 0.5, factor: 1 },
      localRope: { kind: "default", theta: 1e4 },
    },
  ],
  [
    "of its two names for epsilon one counts, and both ropes have one base",
    "lfm3",
    {
      norm_eps: 0.1,
      rms_norm_eps: 1e-6,
      rope_theta: 500,
      rope_parameters: {
        full_attention: { rope_type: "default" },
        sliding_attention: { rope_type: "default" },
      },
    },
    {
      normEpsilon: 1e-6,
      rope: { kind: "default", theta: 500 },
      localRope: { kind: "default", theta: 500 },
    },
  ],
  [
    "ropes that are null are its defaults",
    "lfm3",
    { rope_parameters: null },
    { rope: { kind: "proportional", theta: 1e6 } },
  ],
  [
    "Gemma 4's full layers have heads of their own, and its last layers share keys",
    "gemma4_text",
    { sliding_window: 64, num_kv_shared_layers: 0, hidden_size_per_layer_input: 4 },
    {
      window: "wwwwwf",
      fullHeads: { headDim: 512, keyValueHeads: 2 },
      layerInput: { width: 4, vocabularySize: 262_144 },
      valueNorm: true,
    },
  ],
];

describe("config.json", () => {
  test.each(CASES)("%s", (_, family, fields, expected) => {
    const config = parse(family, fields);
    expect({ ...config, window: windows(config) }).toMatchObject(expected);
  });

  test.each(CASES)("written and read back it is the same: %s", (_, family, fields) => {
    const config = parse(family, fields);
    expect(parseHuggingFaceConfig(huggingFaceConfig(config, "here"), "config.json")).toEqual(config);
  });

  test("of a model that also sees, it is the language model", () => {
    const text = { ...sizes, model_type: "gemma3_text", sliding_window: 64 };
    const whole = { model_type: "gemma3", architectures: ["Gemma3ForConditionalGeneration"] };
    const vision_config = { model_type: "siglip_vision_model" };
    const json = { ...whole, text_config: text, vision_config, eos_token_id: [1, 16] };
    expect(parseHuggingFaceConfig(json, "config.json")).toEqual({
      ...parse("gemma3_text", { sliding_window: 64 }),
      eosTokens: [1, 16],
    });
  });

  test.each([
    ["qwen3_vl", "Qwen3VLForConditionalGeneration", "qwen3_vl_text", "qwen3"],
    ["qwen2_5_vl", "Qwen2_5_VLForConditionalGeneration", "qwen2_5_vl_text", "qwen2"],
    ["smolvlm", "SmolVLMForConditionalGeneration", "llama", "llama"],
    ["mistral3", "Mistral3ForConditionalGeneration", "mistral", "mistral"],
  ] as const)(
    "of a %s too, whose rotary positions of three parts are plain ones",
    (type, name, inner, family) => {
      const rope_scaling = { type: "mrope", mrope_section: [1, 1, 2] };
      const ropes = type.startsWith("qwen") ? { rope_scaling, rope_theta: 1e6 } : {};
      const text_config = { ...sizes, ...ropes, model_type: inner, rms_norm_eps: 1e-5, sliding_window: null };
      const json = { model_type: type, architectures: [name], text_config, tie_word_embeddings: true };
      expect(parseHuggingFaceConfig(json, "config.json")).toEqual({
        ...parse(family, {
          rms_norm_eps: 1e-5,
          sliding_window: null,
          ...(type.startsWith("qwen") ? { rope_theta: 1e6 } : {}),
        }),
        tiedHead: true,
      });
    },
  );

  test("without a text_config, fields count that the language model's class declares", () => {
    const rope_scaling = { rope_type: "yarn", rope_theta: 1e4, factor: 2 };
    const json = { ...sizes, model_type: "qwen2_5_vl", rope_scaling, partial_rotary_factor: 0.5 };
    const dropped = { ...json, original_max_position_embeddings: 16 };
    const inside = { model_type: "qwen2_5_vl", text_config: { ...sizes, rope_scaling } };
    expect(parseHuggingFaceConfig(dropped, "config.json")).toEqual(
      parseHuggingFaceConfig(inside, "config.json"),
    );
  });

  test("a language model of another type in it is refused by name", () => {
    const text_config = { ...sizes, model_type: "qwen3" };
    expect(() => parseHuggingFaceConfig({ model_type: "mistral3", text_config }, "config.json")).toThrowError(
      /type "qwen3" \(text_config\) is not supported in models of the type "mistral3"; supported are mistral, ministral3/,
    );
  });

  test.each<[string, FamilyName, object, RegExp]>([
    [
      "a factor that transformers drops",
      "lfm3",
      {
        rope_parameters: {
          full_attention: { rope_type: "default", rope_theta: 1e6, partial_rotary_factor: 0.5 },
          sliding_attention: { rope_type: "default", rope_theta: 1e4 },
        },
      },
      /"default" beside partial_rotary_factor 0.5 is ambiguous.* state "proportional"/,
    ],
    ["biases of convolutions", "lfm2", { conv_bias: true }, /conv_bias true is not supported/],
    [
      "windows in LFM2",
      "lfm2",
      { layer_types: Array.from({ length: 6 }, () => "sliding_attention") },
      /layers of the type "sliding_attention"/,
    ],
    [
      "a rope by its older name beside ropes of layers",
      "granite_swa",
      {
        layer_rope_theta: [0, 1e4, 0, 0, 0, 0],
        rope_parameters: { type: "linear", factor: 2, rope_theta: 100 },
      },
      /rope_type "linear" beside layer_rope_theta is not supported/,
    ],
    ["hybrids", "granitemoehybrid", { num_local_experts: 0 }, /hybrids with Mamba are not supported/],
    ["experts", "gemma4_text", { enable_moe_block: true }, /enable_moe_block/],
    [
      "an activation of Qwen 3.5's convolutions",
      "qwen3_5_text",
      { hidden_act: "gelu" },
      /hidden_act "gelu" is not supported in this family/,
    ],
  ])("%s: refused by name", (_, family, fields, message) => {
    expect(() => parse(family, fields)).toThrowError(
      expect.objectContaining({ code: "unsupported", message: expect.stringMatching(message) }),
    );
  });

  test.each<[string, FamilyName, object, RegExp]>([
    ["rope flags", "smollm3", { no_rope_layers: [1, 0] }, /no_rope_layers has 2 entries for 6 layers/],
    ["layer types", "gemma2", { layer_types: ["full_attention"] }, /layer_types has 1 entries for 6/],
    [
      "no window",
      "gemma2",
      { sliding_window: null },
      /some layers are windowed .* but sliding_window is null/,
    ],
    [
      "a window that is off",
      "qwen3",
      { use_sliding_window: false, layer_types: Array.from({ length: 6 }, () => "sliding_attention") },
      /sliding_window is 4096 and use_sliding_window false/,
    ],
    ["a window", "mistral", { sliding_window: 2.5 }, /sliding_window is 2.5/],
    ["very wide heads", "gemma4_text", { global_head_dim: 1e12 }, /heads of 1000000000000 .* at most 4096/],
    [
      "part of a head",
      "gemma4_text",
      { attention_k_eq_v: true, num_global_key_value_heads: 0.5 },
      /that share 0.5/,
    ],
    ["a cap", "gemma2", { attn_logit_softcapping: -1 }, /attn_logit_softcapping is -1/],
    ["a part of a head", "phi3", { partial_rotary_factor: 0.4 }, /is 3; expected an even number from 2 to 8/],
    [
      "heads",
      "qwen3_5_text",
      { linear_num_value_heads: 24 },
      /linear_num_value_heads 24 is not a multiple of linear_num_key_heads 16/,
    ],
    ["a kernel", "qwen3_5_text", { linear_conv_kernel_dim: 1 }, /linear_conv_kernel_dim is 1; expected/],
    ["types", "qwen3_5_text", { layer_types: ["linear_attention"] }, /layer_types has 1 entries for 6/],
    ["a factor", "granite", { residual_multiplier: 0 }, /residual_multiplier is 0/],
    [
      "factors of longrope",
      "phi3",
      {
        original_max_position_embeddings: 256,
        rope_scaling: { type: "longrope", short_factor: [1, 1], long_factor: [1, 2, 3, 4] },
      },
      /rope_scaling.short_factor has 2 values; heads with .* need 4/,
    ],
  ])("%s that cannot be is refused", (_, family, fields, message) => {
    expect(() => parse(family, fields)).toThrowError(
      expect.objectContaining({ code: "bad_model", message: expect.stringMatching(message) }),
    );
  });
});

/** Of the configuration classes of transformers 5: positions, epsilon, tied head, base of the (global) rope. */
const DEFAULTS: Partial<Record<FamilyName, readonly [number, number, boolean, number]>> = {
  llama: [2048, 1e-6, false, 1e4],
  mistral: [131072, 1e-6, false, 1e4],
  qwen2: [32768, 1e-6, false, 1e4],
  qwen3: [32768, 1e-6, false, 1e4],
  qwen3_5_text: [32768, 1e-6, false, 1e4],
  smollm3: [32768, 1e-6, true, 2e6],
  gemma2: [8192, 1e-6, true, 1e4],
  gemma3_text: [131072, 1e-6, true, 1e6],
  phi3: [4096, 1e-5, false, 1e4],
  olmo2: [2048, 1e-5, false, 1e4],
  olmo3: [2048, 1e-5, false, 5e5],
  granite: [2048, 1e-6, false, 1e4],
  lfm2: [128000, 1e-5, true, 1e6],
};
test.each(Object.entries(DEFAULTS))(
  "%s takes what a file leaves out as transformers does",
  (name, expected) => {
    const { maxPositions, normEpsilon, tiedHead, rope } = parse(name as FamilyName, {
      max_position_embeddings: undefined,
    });
    expect([maxPositions, normEpsilon, tiedHead, rope.theta]).toEqual(expected);
  },
);

describe("weights", () => {
  test("Phi-3's files keep q, k and v as one, and gate and up", () => {
    const config = parse("phi3");
    const stored = storedShapes(config);
    expect(stored.get("model.layers.5.self_attn.qkv_proj.weight")).toEqual([32 + 16 + 16, 32]);
    expect(stored.get("model.layers.5.mlp.gate_up_proj.weight")).toEqual([96, 32]);
    expect(storedPlace(config, "model.layers.5.self_attn.v_proj.weight")).toEqual({
      name: "model.layers.5.self_attn.qkv_proj.weight",
      row: 48,
    });
    expect(storedPlace(config, "model.layers.5.self_attn.o_proj.weight").row).toBe(0);
  });

  test("a family that fuses nothing keeps every weight under its own name", () => {
    for (const name of FAMILY_NAMES)
      if (!("modules" in FAMILIES[name]))
        expect(storedShapes(parse(name))).toEqual(weightShapes(parse(name)));
  });

  test("norms stand where the family has them", () => {
    const norms = (family: FamilyName): readonly string[] =>
      [...weightShapes(parse(family)).keys()]
        .filter((name) => name.includes("layers.0.") && name.includes("norm"))
        .map((name) => name.replace("model.layers.0.", "").replace(".weight", ""));
    expect(norms("llama")).toEqual(["input_layernorm", "post_attention_layernorm"]);
    expect(norms("olmo2")).toEqual([
      ...["self_attn.q_norm", "self_attn.k_norm"],
      ...["post_attention_layernorm", "post_feedforward_layernorm"],
    ]);
    expect(norms("gemma3_text")).toEqual([
      ...["input_layernorm", "self_attn.q_norm", "self_attn.k_norm", "post_attention_layernorm"],
      ...["pre_feedforward_layernorm", "post_feedforward_layernorm"],
    ]);
  });
});
