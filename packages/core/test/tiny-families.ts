// A tiny model of each family, with every choice that it makes.
import type { TinyModelOptions } from "./tiny-model.ts";

const LONGROPE = {
  original_max_position_embeddings: 16,
  rope_scaling: { type: "longrope", short_factor: [1, 1.25], long_factor: [1, 3] },
};

const of = (model_type: string, name: string, fields: object = {}): TinyModelOptions["overrides"] => ({
  model_type,
  architectures: [`${name}ForCausalLM`],
  num_hidden_layers: 3,
  ...fields,
});

const GEMMA = { hidden_act: null, tie_word_embeddings: true, query_pre_attn_scalar: 6, sliding_window: 5 };

/** What replaces fields of `tinyConfigJson`, by a name for the model. */
export const TINY_FAMILIES: Readonly<Record<string, TinyModelOptions["overrides"]>> = {
  llama: of("llama", "Llama"),
  mistral: of("mistral", "Mistral", { sliding_window: 5 }),
  qwen2: of("qwen2", "Qwen2", { use_sliding_window: true, sliding_window: 5, max_window_layers: 1 }),
  qwen3: of("qwen3", "Qwen3", { head_dim: 8, tie_word_embeddings: true }),
  smollm3: of("smollm3", "SmolLM3", { no_rope_layers: [1, 0, 1], attention_bias: true }),
  gemma2: of("gemma2", "Gemma2", { ...GEMMA, attn_logit_softcapping: 2, final_logit_softcapping: 3 }),
  gemma3: of("gemma3_text", "Gemma3", {
    ...GEMMA,
    head_dim: 8,
    layer_types: ["sliding_attention", "full_attention", "sliding_attention"],
    rope_scaling: { rope_type: "linear", factor: 8 },
  }),
  gemma4: of("gemma4_text", "Gemma4", {
    hidden_act: null,
    num_hidden_layers: 6,
    layer_types: Array.from({ length: 6 }, (_, i) => (i % 2 === 1 ? "full_attention" : "sliding_attention")),
    global_head_dim: 8,
    sliding_window: 5,
    final_logit_softcapping: 3,
    num_kv_shared_layers: 2,
    use_double_wide_mlp: true,
    hidden_size_per_layer_input: 4,
    vocab_size_per_layer_input: 48,
    tie_word_embeddings: true,
  }),
  "gemma4 with values of keys": of("gemma4_text", "Gemma4", {
    hidden_act: null,
    num_hidden_layers: 4,
    layer_types: ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
    global_head_dim: 8,
    num_global_key_value_heads: 1,
    attention_k_eq_v: true,
    sliding_window: 5,
    hidden_size_per_layer_input: 0,
    tie_word_embeddings: true,
  }),
  phi3: of("phi3", "Phi3", { head_dim: 8, partial_rotary_factor: 0.5, sliding_window: 5 }),
  "phi3 with longrope": of("phi3", "Phi3", LONGROPE),
  olmo2: of("olmo2", "Olmo2", { attention_bias: true }),
  granite: of("granite", "Granite", {
    embedding_multiplier: 3,
    attention_multiplier: 0.3,
    residual_multiplier: 0.5,
    logits_scaling: 2,
    mlp_bias: true,
  }),
  granitemoehybrid: of("granitemoehybrid", "GraniteMoeHybrid", {
    shared_intermediate_size: 40,
    num_local_experts: 0,
    layer_types: ["attention", "attention", "attention"],
    position_embedding_type: "rope",
    residual_multiplier: 0.5,
  }),
  granite_swa: of("granite_swa", "GraniteSWA", {
    sliding_window: 5,
    num_hidden_layers: 4,
    layer_rope_theta: [10000, 0, 500, 500],
    attention_multiplier: 0.3,
  }),
  ministral3: of("ministral3", "Ministral3", {
    rope_theta: undefined,
    rope_parameters: {
      rope_type: "yarn",
      rope_theta: 10000,
      factor: 8,
      original_max_position_embeddings: 16,
      mscale: 1,
      mscale_all_dim: 1,
      llama_4_scaling_beta: 0.5,
    },
  }),
  olmo3: of("olmo3", "Olmo3", {
    sliding_window: 5,
    layer_types: ["sliding_attention", "full_attention", "sliding_attention"],
    rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32 },
  }),
  qwen3_5: of("qwen3_5_text", "Qwen3_5", {
    num_hidden_layers: 4,
    head_dim: 8,
    layer_types: ["linear_attention", "full_attention", "linear_attention", "full_attention"],
    partial_rotary_factor: 0.5,
    linear_num_key_heads: 2,
    linear_num_value_heads: 4,
    linear_key_head_dim: 8,
    linear_value_head_dim: 8,
  }),
  lfm2: of("lfm2", "Lfm2", {
    num_hidden_layers: 4,
    layer_types: ["conv", "full_attention", "full_attention", "conv"],
    block_auto_adjust_ff_dim: false,
    tie_word_embeddings: true,
  }),
  lfm3: of("lfm3", "Lfm3", {
    num_hidden_layers: 4,
    layer_types: ["conv", "sliding_attention", "conv", "full_attention"],
    conv_L_cache: 5,
    sliding_window: 5,
    tie_word_embeddings: true,
  }),
};
