// Models whose layers are of several kinds, and the others of their years: 2025 and 2026.
import { line, type Preset, type Sizes } from "./line.ts";

const APACHE = "Apache 2.0";
const LFM = "LFM 1.0";

const qwen35 = line(APACHE, {
  model_type: "qwen3_5_text",
  vocab_size: 248320,
  max_position_embeddings: 262144,
  rope_parameters: { rope_type: "default", rope_theta: 1e7, partial_rotary_factor: 0.25 },
  eos_token_id: 248044,
});

const SMALL_QWEN35 = { linear_num_value_heads: 16, tie_word_embeddings: true };

const gemma4 = line(APACHE, {
  model_type: "gemma4_text",
  vocab_size: 262144,
  final_logit_softcapping: 30,
  bos_token_id: 2,
  eos_token_id: [1, 106],
  pad_token_id: 0,
});

const lfm2 = line(LFM, {
  model_type: "lfm2",
  vocab_size: 65536,
  norm_eps: 1e-5,
  bos_token_id: 1,
  eos_token_id: 7,
  pad_token_id: 0,
});

const lfm3 = line(LFM, {
  model_type: "lfm3",
  vocab_size: 128000,
  bos_token_id: 124894,
  eos_token_id: 124900,
  pad_token_id: 124893,
});

/** c for a convolution, a for attention. */
const lfmLayers = (kinds: string) => ({
  layer_types: [...kinds].map((kind) => (kind === "c" ? "conv" : "full_attention")),
});

const LFM2_LAYERS = lfmLayers("ccaccaccacacacac");

const ministral3 = line(APACHE, {
  model_type: "ministral3",
  vocab_size: 131072,
  bos_token_id: 1,
  eos_token_id: 2,
  pad_token_id: 11,
});

const ministralRope = (theta: number) => ({
  rope_parameters: {
    rope_type: "yarn",
    rope_theta: theta,
    factor: 16,
    original_max_position_embeddings: 16384,
    beta_fast: 32,
    beta_slow: 1,
    mscale: 1,
    mscale_all_dim: 1,
    llama_4_scaling_beta: 0.1,
  },
});

const GRANITE4 = {
  model_type: "granite",
  vocab_size: 100352,
  rms_norm_eps: 1e-5,
  max_position_embeddings: 131072,
  rope_theta: 1e7,
  tie_word_embeddings: true,
  embedding_multiplier: 12,
  residual_multiplier: 0.22,
  bos_token_id: 100257,
  eos_token_id: 100257,
  pad_token_id: 100256,
};

const granite41 = line(APACHE, GRANITE4);

/** Dense models under the names of hybrids, which state the width of the MLP and the kinds of the layers otherwise. */
const granite40 = (repository: string, sizes: Sizes, more: object): Preset => {
  const [, inner, layers] = sizes;
  const own = {
    model_type: "granitemoehybrid",
    num_local_experts: 0,
    position_embedding_type: "rope",
    shared_intermediate_size: inner,
    layer_types: Array.from({ length: layers }, () => "attention"),
  };
  return line(APACHE, { ...GRANITE4, ...own })(repository, sizes, more);
};

const olmo3 = line(APACHE, {
  model_type: "olmo3",
  vocab_size: 100278,
  rms_norm_eps: 1e-6,
  max_position_embeddings: 65536,
  rope_theta: 5e5,
  rope_scaling: {
    rope_type: "yarn",
    factor: 8,
    original_max_position_embeddings: 8192,
    beta_fast: 32,
    beta_slow: 1,
  },
  eos_token_id: 100257,
  pad_token_id: 100277,
});

export const recent = {
  "qwen3.5-0.8b": qwen35("Qwen/Qwen3.5-0.8B", [1024, 3584, 24, 8, 2], SMALL_QWEN35),
  "qwen3.5-2b": qwen35("Qwen/Qwen3.5-2B", [2048, 6144, 24, 8, 2], SMALL_QWEN35),
  "qwen3.5-4b": qwen35("Qwen/Qwen3.5-4B", [2560, 9216, 32, 16, 4], { tie_word_embeddings: true }),
  "qwen3.5-9b": qwen35("Qwen/Qwen3.5-9B", [4096, 12288, 32, 16, 4]),
  "qwen3.5-27b": qwen35("Qwen/Qwen3.5-27B", [5120, 17408, 64, 24, 4], { linear_num_value_heads: 48 }),
  "gemma4-e2b": gemma4("google/gemma-4-E2B-it", [1536, 6144, 35, 8, 1], {
    layer_types: Array.from({ length: 35 }, (_, layer) =>
      layer % 5 === 4 ? "full_attention" : "sliding_attention",
    ),
    num_kv_shared_layers: 20,
    use_double_wide_mlp: true,
  }),
  "gemma4-e4b": gemma4("google/gemma-4-E4B-it", [2560, 10240, 42, 8, 2], { num_kv_shared_layers: 18 }),
  "gemma4-31b": gemma4("google/gemma-4-31B-it", [5376, 21504, 60, 32, 16], {
    max_position_embeddings: 262144,
    sliding_window: 1024,
    hidden_size_per_layer_input: 0,
    attention_k_eq_v: true,
    num_global_key_value_heads: 4,
  }),
  "lfm2.5-230m": lfm2("LiquidAI/LFM2.5-230M", [1024, 2560, 14, 16, 8], {
    block_auto_adjust_ff_dim: false,
    ...lfmLayers("ccacacacacacac"),
  }),
  "lfm2.5-350m": lfm2("LiquidAI/LFM2.5-350M", [1024, 6656, 16, 16, 8], LFM2_LAYERS),
  "lfm2-700m": lfm2("LiquidAI/LFM2-700M", [1536, 10240, 16, 24, 8], LFM2_LAYERS),
  "lfm2.5-1.2b": lfm2("LiquidAI/LFM2.5-1.2B-Instruct", [2048, 12288, 16, 32, 8], LFM2_LAYERS),
  "lfm2.5-2.6b": lfm2("LiquidAI/LFM2.5-2.6B", [2048, 10752, 30, 32, 8], {
    vocab_size: 128000,
    rope_theta: 1e7,
    block_auto_adjust_ff_dim: false,
    ...lfmLayers("ccaccacccacccacccacccaccaccacc"),
  }),
  "lfm3-1.7b": lfm3("LiquidAI/LFM3-1.7B", [2048, 7680, 24, 16, 4]),
  "ministral3-3b": ministral3("mistralai/Ministral-3-3B-Instruct-2512-BF16", [3072, 9216, 26, 32, 8], {
    ...ministralRope(1e6),
    tie_word_embeddings: true,
  }),
  "ministral3-8b": ministral3(
    "mistralai/Ministral-3-8B-Instruct-2512-BF16",
    [4096, 14336, 34, 32, 8],
    ministralRope(1e6),
  ),
  "ministral3-14b": ministral3(
    "mistralai/Ministral-3-14B-Instruct-2512-BF16",
    [5120, 16384, 40, 32, 8],
    ministralRope(1e9),
  ),
  "granite4.0-350m": granite40("ibm-granite/granite-4.0-350m", [1024, 2048, 28, 16, 4], {
    max_position_embeddings: 32768,
    residual_multiplier: 0.263,
    attention_multiplier: 0.015625,
    logits_scaling: 4,
  }),
  "granite4.0-1b": granite40("ibm-granite/granite-4.0-1b", [2048, 4096, 40, 16, 4], {
    attention_multiplier: 0.0078125,
    logits_scaling: 8,
  }),
  "granite4.0-micro": granite40("ibm-granite/granite-4.0-micro", [2560, 8192, 40, 40, 8], {
    attention_multiplier: 0.015625,
    logits_scaling: 10,
  }),
  "granite4.1-3b": granite41("ibm-granite/granite-4.1-3b", [2560, 8192, 40, 40, 8], {
    attention_multiplier: 0.015625,
    logits_scaling: 10,
  }),
  "granite4.1-8b": granite41("ibm-granite/granite-4.1-8b", [4096, 12800, 40, 32, 8], {
    attention_multiplier: 0.0078125,
    logits_scaling: 16,
  }),
  "olmo3-7b": olmo3("allenai/Olmo-3-7B-Instruct", [4096, 11008, 32, 32]),
  "olmo3-32b": olmo3("allenai/Olmo-3.1-32B-Instruct", [5120, 27648, 64, 40, 8]),
};
