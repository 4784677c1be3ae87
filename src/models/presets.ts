// Published models by short names, for budgets without their files.
import { MosError } from "#core";
import type { ModelConfig } from "./config.ts";
import { parseHuggingFaceConfig } from "./config-json.ts";

const llama2 = {
  model_type: "llama",
  vocab_size: 32000,
  rms_norm_eps: 1e-5,
  bos_token_id: 1,
  eos_token_id: 2,
};

const llama32 = {
  model_type: "llama",
  vocab_size: 128256,
  intermediate_size: 8192,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-5,
  max_position_embeddings: 131072,
  rope_theta: 500000,
  rope_scaling: {
    rope_type: "llama3",
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  },
  tie_word_embeddings: true,
  bos_token_id: 128000,
  eos_token_id: 128001,
};

const smollm2 = {
  model_type: "llama",
  vocab_size: 49152,
  rms_norm_eps: 1e-5,
  max_position_embeddings: 8192,
  tie_word_embeddings: true,
  bos_token_id: 1,
  eos_token_id: 2,
  pad_token_id: 2,
};

const mistral = {
  model_type: "mistral",
  intermediate_size: 14336,
  num_attention_heads: 32,
  rms_norm_eps: 1e-5,
  bos_token_id: 1,
  eos_token_id: 2,
};

const qwen25 = {
  model_type: "qwen2",
  rope_theta: 1e6,
  bos_token_id: 151643,
  eos_token_id: [151643, 151645],
};

const qwen3 = {
  model_type: "qwen3",
  vocab_size: 151936,
  num_key_value_heads: 8,
  max_position_embeddings: 40960,
  rope_theta: 1e6,
  bos_token_id: 151643,
  eos_token_id: [151643, 151645],
};

const gemma2 = {
  model_type: "gemma2",
  vocab_size: 256000,
  bos_token_id: 2,
  eos_token_id: 1,
  pad_token_id: 0,
};

const gemma3 = {
  model_type: "gemma3_text",
  vocab_size: 262144,
  num_attention_heads: 4,
  num_key_value_heads: 1,
  max_position_embeddings: 32768,
  sliding_window: 512,
  bos_token_id: 2,
  eos_token_id: 1,
  pad_token_id: 0,
};

/** From 4B on, with images: more tokens, and a rotation that is stretched for longer contexts. */
const gemma3Large = {
  model_type: "gemma3_text",
  rope_scaling: { rope_type: "linear", factor: 8 },
  sliding_window: 1024,
  bos_token_id: 2,
  eos_token_id: 1,
  pad_token_id: 0,
};

const phi3 = {
  model_type: "phi3",
  vocab_size: 32064,
  hidden_size: 3072,
  intermediate_size: 8192,
  num_hidden_layers: 32,
  num_attention_heads: 32,
  bos_token_id: 1,
  eos_token_id: [32000, 32001, 32007],
  pad_token_id: 32000,
};

const olmo2 = {
  model_type: "olmo2",
  vocab_size: 100352,
  rms_norm_eps: 1e-6,
  max_position_embeddings: 4096,
  rope_theta: 500000,
  eos_token_id: 100257,
  pad_token_id: 100277,
};

const granite33 = {
  model_type: "granite",
  vocab_size: 49159,
  num_hidden_layers: 40,
  num_attention_heads: 32,
  num_key_value_heads: 8,
  rms_norm_eps: 1e-5,
  max_position_embeddings: 131072,
  rope_theta: 1e7,
  tie_word_embeddings: true,
  embedding_multiplier: 12,
  residual_multiplier: 0.22,
  bos_token_id: 0,
  eos_token_id: 0,
  pad_token_id: 0,
};

/** Published models by short names: what their config.json and generation_config.json on the hub state beyond their family's defaults. */
const presets = {
  "llama2-7b": {
    ...llama2,
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    max_position_embeddings: 4096,
  },
  "llama2-13b": {
    ...llama2,
    hidden_size: 5120,
    intermediate_size: 13824,
    num_hidden_layers: 40,
    num_attention_heads: 40,
    max_position_embeddings: 4096,
  },
  "llama3-8b": {
    model_type: "llama",
    vocab_size: 128256,
    hidden_size: 4096,
    intermediate_size: 14336,
    num_hidden_layers: 32,
    num_attention_heads: 32,
    num_key_value_heads: 8,
    rms_norm_eps: 1e-5,
    max_position_embeddings: 8192,
    rope_theta: 500000,
    bos_token_id: 128000,
    eos_token_id: 128001,
  },
  "llama3.2-1b": {
    ...llama32,
    hidden_size: 2048,
    num_hidden_layers: 16,
    num_attention_heads: 32,
  },
  "llama3.2-3b": {
    ...llama32,
    hidden_size: 3072,
    num_hidden_layers: 28,
    num_attention_heads: 24,
  },
  tinyllama: {
    ...llama2,
    hidden_size: 2048,
    intermediate_size: 5632,
    num_hidden_layers: 22,
    num_attention_heads: 32,
    num_key_value_heads: 4,
  },
  "smollm2-135m": {
    ...smollm2,
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    rope_theta: 100000,
  },
  "smollm2-360m": {
    ...smollm2,
    hidden_size: 960,
    intermediate_size: 2560,
    num_hidden_layers: 32,
    num_attention_heads: 15,
    num_key_value_heads: 5,
    rope_theta: 100000,
  },
  "smollm2-1.7b": {
    ...smollm2,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 24,
    num_attention_heads: 32,
    rope_theta: 130000,
  },
  "smollm3-3b": {
    model_type: "smollm3",
    vocab_size: 128256,
    hidden_size: 2048,
    intermediate_size: 11008,
    num_hidden_layers: 36,
    num_attention_heads: 16,
    max_position_embeddings: 65536,
    rope_theta: 5e6,
    bos_token_id: 128000,
    eos_token_id: 128012,
    pad_token_id: 128004,
  },
  "mistral-7b": {
    ...mistral,
    vocab_size: 32768,
    hidden_size: 4096,
    num_hidden_layers: 32,
    max_position_embeddings: 32768,
    rope_theta: 1e6,
    sliding_window: null,
  },
  "mistral-7b-v0.1": {
    ...mistral,
    vocab_size: 32000,
    hidden_size: 4096,
    num_hidden_layers: 32,
    max_position_embeddings: 32768,
  },
  "mistral-nemo": {
    ...mistral,
    vocab_size: 131072,
    hidden_size: 5120,
    num_hidden_layers: 40,
    head_dim: 128,
    rope_theta: 1e6,
    sliding_window: null,
  },
  "qwen2.5-0.5b": {
    ...qwen25,
    vocab_size: 151936,
    hidden_size: 896,
    intermediate_size: 4864,
    num_hidden_layers: 24,
    num_attention_heads: 14,
    num_key_value_heads: 2,
    tie_word_embeddings: true,
  },
  "qwen2.5-1.5b": {
    ...qwen25,
    vocab_size: 151936,
    hidden_size: 1536,
    intermediate_size: 8960,
    num_hidden_layers: 28,
    num_attention_heads: 12,
    num_key_value_heads: 2,
    tie_word_embeddings: true,
  },
  "qwen2.5-3b": {
    ...qwen25,
    vocab_size: 151936,
    hidden_size: 2048,
    intermediate_size: 11008,
    num_hidden_layers: 36,
    num_attention_heads: 16,
    num_key_value_heads: 2,
    tie_word_embeddings: true,
  },
  "qwen2.5-7b": {
    ...qwen25,
    vocab_size: 152064,
    hidden_size: 3584,
    intermediate_size: 18944,
    num_hidden_layers: 28,
    num_attention_heads: 28,
    num_key_value_heads: 4,
  },
  "qwen2.5-14b": {
    ...qwen25,
    vocab_size: 152064,
    hidden_size: 5120,
    intermediate_size: 13824,
    num_hidden_layers: 48,
    num_attention_heads: 40,
    num_key_value_heads: 8,
  },
  "qwen2.5-32b": {
    ...qwen25,
    vocab_size: 152064,
    hidden_size: 5120,
    intermediate_size: 27648,
    num_hidden_layers: 64,
    num_attention_heads: 40,
    num_key_value_heads: 8,
  },
  "qwen3-0.6b": {
    ...qwen3,
    hidden_size: 1024,
    intermediate_size: 3072,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    tie_word_embeddings: true,
  },
  "qwen3-1.7b": {
    ...qwen3,
    hidden_size: 2048,
    intermediate_size: 6144,
    num_hidden_layers: 28,
    num_attention_heads: 16,
    tie_word_embeddings: true,
  },
  "qwen3-4b": {
    ...qwen3,
    hidden_size: 2560,
    intermediate_size: 9728,
    num_hidden_layers: 36,
    num_attention_heads: 32,
    tie_word_embeddings: true,
  },
  "qwen3-8b": {
    ...qwen3,
    hidden_size: 4096,
    intermediate_size: 12288,
    num_hidden_layers: 36,
    num_attention_heads: 32,
  },
  "qwen3-14b": {
    ...qwen3,
    hidden_size: 5120,
    intermediate_size: 17408,
    num_hidden_layers: 40,
    num_attention_heads: 40,
  },
  "qwen3-32b": {
    ...qwen3,
    hidden_size: 5120,
    intermediate_size: 25600,
    num_hidden_layers: 64,
    num_attention_heads: 64,
  },
  "gemma2-2b": {
    ...gemma2,
    hidden_size: 2304,
    intermediate_size: 9216,
    num_hidden_layers: 26,
    num_attention_heads: 8,
  },
  "gemma2-9b": {
    ...gemma2,
    hidden_size: 3584,
    intermediate_size: 14336,
    num_hidden_layers: 42,
    num_attention_heads: 16,
    num_key_value_heads: 8,
  },
  "gemma2-27b": {
    ...gemma2,
    hidden_size: 4608,
    intermediate_size: 36864,
    num_hidden_layers: 46,
    num_attention_heads: 32,
    num_key_value_heads: 16,
    head_dim: 128,
    query_pre_attn_scalar: 144,
  },
  "gemma3-270m": {
    ...gemma3,
    hidden_size: 640,
    intermediate_size: 2048,
    num_hidden_layers: 18,
  },
  "gemma3-1b": {
    ...gemma3,
    hidden_size: 1152,
    intermediate_size: 6912,
    num_hidden_layers: 26,
  },
  "gemma3-4b": {
    ...gemma3Large,
    hidden_size: 2560,
    intermediate_size: 10240,
    num_hidden_layers: 34,
  },
  "gemma3-12b": {
    ...gemma3Large,
    hidden_size: 3840,
    intermediate_size: 15360,
    num_hidden_layers: 48,
    num_attention_heads: 16,
    num_key_value_heads: 8,
  },
  "gemma3-27b": {
    ...gemma3Large,
    hidden_size: 5376,
    intermediate_size: 21504,
    num_hidden_layers: 62,
    num_attention_heads: 32,
    num_key_value_heads: 16,
    head_dim: 128,
    query_pre_attn_scalar: 168,
  },
  "phi3-mini-4k": {
    ...phi3,
    sliding_window: 2047,
  },
  "phi3.5-mini": {
    ...phi3,
    max_position_embeddings: 131072,
    rope_scaling: {
      rope_type: "longrope",
      original_max_position_embeddings: 4096,
      short_factor: [
        1, 1.0199999809265137, 1.0299999713897705, 1.0299999713897705, 1.0499999523162842, 1.0499999523162842,
        1.0499999523162842, 1.0499999523162842, 1.0499999523162842, 1.0699999332427979, 1.0999999046325684,
        1.1099998950958252, 1.1599998474121094, 1.1599998474121094, 1.1699998378753662, 1.2899998426437378,
        1.339999794960022, 1.679999828338623, 1.7899998426437378, 1.8199998140335083, 1.8499997854232788,
        1.8799997568130493, 1.9099997282028198, 1.9399996995925903, 1.9899996519088745, 2.0199997425079346,
        2.0199997425079346, 2.0199997425079346, 2.0199997425079346, 2.0199997425079346, 2.0199997425079346,
        2.0299997329711914, 2.0299997329711914, 2.0299997329711914, 2.0299997329711914, 2.0299997329711914,
        2.0299997329711914, 2.0299997329711914, 2.0299997329711914, 2.0299997329711914, 2.0799996852874756,
        2.0899996757507324, 2.189999580383301, 2.2199995517730713, 2.5899994373321533, 2.729999542236328,
        2.749999523162842, 2.8399994373321533,
      ],
      long_factor: [
        1.0800000429153442, 1.1100000143051147, 1.1399999856948853, 1.340000033378601, 1.5899999141693115,
        1.600000023841858, 1.6200000047683716, 2.620000123977661, 3.2300000190734863, 3.2300000190734863,
        4.789999961853027, 7.400000095367432, 7.700000286102295, 9.09000015258789, 12.199999809265137,
        17.670000076293945, 24.46000099182129, 28.57000160217285, 30.420001983642578, 30.840002059936523,
        32.590003967285156, 32.93000411987305, 42.320003509521484, 44.96000289916992, 50.340003967285156,
        50.45000457763672, 57.55000305175781, 57.93000411987305, 58.21000289916992, 60.1400032043457,
        62.61000442504883, 62.62000274658203, 62.71000289916992, 63.1400032043457, 63.1400032043457,
        63.77000427246094, 63.93000411987305, 63.96000289916992, 63.970001220703125, 64.02999877929688,
        64.06999969482422, 64.08000183105469, 64.12000274658203, 64.41000366210938, 64.4800033569336,
        64.51000213623047, 64.52999877929688, 64.83999633789062,
      ],
    },
  },
  "phi4-mini": {
    model_type: "phi3",
    vocab_size: 200064,
    hidden_size: 3072,
    intermediate_size: 8192,
    num_hidden_layers: 32,
    num_attention_heads: 24,
    num_key_value_heads: 8,
    max_position_embeddings: 131072,
    rope_scaling: {
      rope_type: "longrope",
      original_max_position_embeddings: 4096,
      short_factor: Array.from({ length: 48 }, () => 1),
      long_factor: [
        1, 1.118320672, 1.250641126, 1.398617824, 1.564103225, 1.74916897, 1.956131817, 2.187582649,
        2.446418898, 2.735880826, 3.059592084, 3.421605075, 3.826451687, 4.279200023, 4.785517845,
        5.351743533, 5.984965424, 6.693110555, 7.485043894, 8.370679318, 9.36110372, 10.4687158, 11.70738129,
        13.09260651, 14.64173252, 16.37415215, 18.31155283, 20.47818807, 22.90118105, 25.61086418,
        28.64115884, 32.03, 32.1, 32.13, 32.23, 32.6, 32.61, 32.64, 32.66, 32.7, 32.71, 32.93, 32.97, 33.28,
        33.49, 33.5, 44.16, 47.77,
      ],
    },
    partial_rotary_factor: 0.75,
    tie_word_embeddings: true,
    bos_token_id: 199999,
    eos_token_id: [199999, 200020],
    pad_token_id: 199999,
  },
  phi4: {
    model_type: "phi3",
    vocab_size: 100352,
    hidden_size: 5120,
    intermediate_size: 17920,
    num_hidden_layers: 40,
    num_attention_heads: 40,
    num_key_value_heads: 10,
    max_position_embeddings: 16384,
    rope_theta: 250000,
    bos_token_id: 100257,
    eos_token_id: [100257, 100265],
  },
  "olmo2-1b": {
    ...olmo2,
    hidden_size: 2048,
    intermediate_size: 8192,
    num_hidden_layers: 16,
    num_attention_heads: 16,
  },
  "olmo2-7b": {
    ...olmo2,
    hidden_size: 4096,
    intermediate_size: 11008,
    num_hidden_layers: 32,
    num_attention_heads: 32,
  },
  "olmo2-13b": {
    ...olmo2,
    hidden_size: 5120,
    intermediate_size: 13824,
    num_hidden_layers: 40,
    num_attention_heads: 40,
  },
  "olmo2-32b": {
    ...olmo2,
    hidden_size: 5120,
    intermediate_size: 27648,
    num_hidden_layers: 64,
    num_attention_heads: 40,
    num_key_value_heads: 8,
  },
  "granite3.3-2b": {
    ...granite33,
    hidden_size: 2048,
    intermediate_size: 8192,
    attention_multiplier: 0.015625,
    logits_scaling: 8,
  },
  "granite3.3-8b": {
    ...granite33,
    hidden_size: 4096,
    intermediate_size: 12800,
    attention_multiplier: 0.0078125,
    logits_scaling: 16,
  },
};

/** A name that `presetConfig` knows. */
export type PresetName = keyof typeof presets;

/** The names of all presets. */
export const PRESET_NAMES = Object.keys(presets) as readonly PresetName[];

/**
 * The config of a published model.
 *
 * @throws MosError "not_found", listing the names.
 */
export function presetConfig(name: string): ModelConfig {
  const config = Object.hasOwn(presets, name) ? presets[name as PresetName] : undefined;
  if (config !== undefined) return parseHuggingFaceConfig(config, name);
  throw new MosError("not_found", `there is no preset "${name}"; known are ${PRESET_NAMES.join(", ")}`);
}
