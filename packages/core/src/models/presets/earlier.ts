// Models of 2023 to 2025 by short names.
import { line } from "./line.ts";

const APACHE = "Apache 2.0";
const GEMMA = "Gemma";

const LLAMA2 = {
  model_type: "llama",
  vocab_size: 32000,
  rms_norm_eps: 1e-5,
  bos_token_id: 1,
  eos_token_id: 2,
};

const llama2 = line("Llama 2", LLAMA2);

const LLAMA3 = {
  model_type: "llama",
  vocab_size: 128256,
  rms_norm_eps: 1e-5,
  max_position_embeddings: 8192,
  rope_theta: 500000,
  bos_token_id: 128000,
  eos_token_id: 128001,
};

const llama3 = line("Llama 3", LLAMA3);

const llama32 = line("Llama 3.2", {
  ...LLAMA3,
  max_position_embeddings: 131072,
  rope_scaling: {
    rope_type: "llama3",
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  },
  tie_word_embeddings: true,
});

const smollm2 = line(APACHE, {
  model_type: "llama",
  vocab_size: 49152,
  rms_norm_eps: 1e-5,
  max_position_embeddings: 8192,
  tie_word_embeddings: true,
  bos_token_id: 1,
  eos_token_id: 2,
  pad_token_id: 2,
});

const mistral = line(APACHE, {
  model_type: "mistral",
  rms_norm_eps: 1e-5,
  bos_token_id: 1,
  eos_token_id: 2,
});

const QWEN25 = {
  model_type: "qwen2",
  rope_theta: 1e6,
  bos_token_id: 151643,
  eos_token_id: [151643, 151645],
};

const qwen25 = line(APACHE, QWEN25);

const qwen3 = line(APACHE, {
  model_type: "qwen3",
  vocab_size: 151936,
  max_position_embeddings: 40960,
  rope_theta: 1e6,
  bos_token_id: 151643,
  eos_token_id: [151643, 151645],
});

const GEMMA_TOKENS = { bos_token_id: 2, eos_token_id: 1, pad_token_id: 0 };

const gemma2 = line(GEMMA, { ...GEMMA_TOKENS, model_type: "gemma2", vocab_size: 256000 });

const gemma3 = line(GEMMA, {
  ...GEMMA_TOKENS,
  model_type: "gemma3_text",
  vocab_size: 262144,
  max_position_embeddings: 32768,
  sliding_window: 512,
});

/** From 4B on, with images: more tokens, and a rotation that is stretched for longer contexts. */
const gemma3Large = line(GEMMA, {
  ...GEMMA_TOKENS,
  model_type: "gemma3_text",
  rope_scaling: { rope_type: "linear", factor: 8 },
  sliding_window: 1024,
});

const phi3 = line("MIT", {
  model_type: "phi3",
  vocab_size: 32064,
  bos_token_id: 1,
  eos_token_id: [32000, 32001, 32007],
  pad_token_id: 32000,
});

const olmo2 = line(APACHE, {
  model_type: "olmo2",
  vocab_size: 100352,
  rms_norm_eps: 1e-6,
  max_position_embeddings: 4096,
  rope_theta: 500000,
  eos_token_id: 100257,
  pad_token_id: 100277,
});

const granite33 = line(APACHE, {
  model_type: "granite",
  vocab_size: 49159,
  rms_norm_eps: 1e-5,
  max_position_embeddings: 131072,
  rope_theta: 1e7,
  tie_word_embeddings: true,
  embedding_multiplier: 12,
  residual_multiplier: 0.22,
  bos_token_id: 0,
  eos_token_id: 0,
  pad_token_id: 0,
});

/** The factors are float32 numbers. */
const PHI35_ROPE = {
  rope_type: "longrope",
  original_max_position_embeddings: 4096,
  short_factor: [
    1, 1.02, 1.03, 1.03, 1.05, 1.05, 1.05, 1.05, 1.05, 1.0699999, 1.0999999, 1.1099999, 1.1599998, 1.1599998,
    1.1699998, 1.2899998, 1.3399998, 1.6799998, 1.7899998, 1.8199998, 1.8499998, 1.8799998, 1.9099997,
    1.9399997, 1.9899997, 2.0199997, 2.0199997, 2.0199997, 2.0199997, 2.0199997, 2.0199997, 2.0299997,
    2.0299997, 2.0299997, 2.0299997, 2.0299997, 2.0299997, 2.0299997, 2.0299997, 2.0299997, 2.0799997,
    2.0899997, 2.1899996, 2.2199996, 2.5899994, 2.7299995, 2.7499995, 2.8399994,
  ].map(Math.fround),
  long_factor: [
    1.08, 1.11, 1.14, 1.34, 1.5899999, 1.6, 1.62, 2.6200001, 3.23, 3.23, 4.79, 7.4, 7.7000003, 9.09, 12.2,
    17.67, 24.460001, 28.570002, 30.420002, 30.840002, 32.590004, 32.930004, 42.320004, 44.960003, 50.340004,
    50.450005, 57.550003, 57.930004, 58.210003, 60.140003, 62.610004, 62.620003, 62.710003, 63.140003,
    63.140003, 63.770004, 63.930004, 63.960003, 63.97, 64.03, 64.07, 64.08, 64.12, 64.41, 64.48, 64.51, 64.53,
    64.84,
  ].map(Math.fround),
};

export const earlier = {
  "llama2-7b": llama2("meta-llama/Llama-2-7b-chat-hf", [4096, 11008, 32, 32], {
    max_position_embeddings: 4096,
  }),
  "llama2-13b": llama2("meta-llama/Llama-2-13b-chat-hf", [5120, 13824, 40, 40], {
    max_position_embeddings: 4096,
  }),
  "llama3-8b": llama3("meta-llama/Meta-Llama-3-8B-Instruct", [4096, 14336, 32, 32, 8]),
  "llama3.2-1b": llama32("meta-llama/Llama-3.2-1B-Instruct", [2048, 8192, 16, 32, 8]),
  "llama3.2-3b": llama32("meta-llama/Llama-3.2-3B-Instruct", [3072, 8192, 28, 24, 8]),
  tinyllama: line(APACHE, LLAMA2)("TinyLlama/TinyLlama-1.1B-Chat-v1.0", [2048, 5632, 22, 32, 4]),
  "smollm2-135m": smollm2("HuggingFaceTB/SmolLM2-135M-Instruct", [576, 1536, 30, 9, 3], {
    rope_theta: 100000,
  }),
  "smollm2-360m": smollm2("HuggingFaceTB/SmolLM2-360M-Instruct", [960, 2560, 32, 15, 5], {
    rope_theta: 100000,
  }),
  "smollm2-1.7b": smollm2("HuggingFaceTB/SmolLM2-1.7B-Instruct", [2048, 8192, 24, 32], {
    rope_theta: 130000,
  }),
  "smollm3-3b": line(APACHE, {
    model_type: "smollm3",
    vocab_size: 128256,
    max_position_embeddings: 65536,
    rope_theta: 5e6,
    bos_token_id: 128000,
    eos_token_id: 128012,
    pad_token_id: 128004,
  })("HuggingFaceTB/SmolLM3-3B", [2048, 11008, 36, 16]),
  "mistral-7b": mistral("mistralai/Mistral-7B-Instruct-v0.3", [4096, 14336, 32, 32], {
    vocab_size: 32768,
    max_position_embeddings: 32768,
    rope_theta: 1e6,
    sliding_window: null,
  }),
  "mistral-7b-v0.1": mistral("mistralai/Mistral-7B-Instruct-v0.1", [4096, 14336, 32, 32], {
    vocab_size: 32000,
    max_position_embeddings: 32768,
  }),
  "mistral-nemo": mistral("mistralai/Mistral-Nemo-Instruct-2407", [5120, 14336, 40, 32], {
    vocab_size: 131072,
    head_dim: 128,
    rope_theta: 1e6,
    sliding_window: null,
  }),
  "qwen2.5-0.5b": qwen25("Qwen/Qwen2.5-0.5B-Instruct", [896, 4864, 24, 14, 2], {
    vocab_size: 151936,
    tie_word_embeddings: true,
  }),
  "qwen2.5-1.5b": qwen25("Qwen/Qwen2.5-1.5B-Instruct", [1536, 8960, 28, 12, 2], {
    vocab_size: 151936,
    tie_word_embeddings: true,
  }),
  "qwen2.5-3b": line("Qwen Research", QWEN25)("Qwen/Qwen2.5-3B-Instruct", [2048, 11008, 36, 16, 2], {
    vocab_size: 151936,
    tie_word_embeddings: true,
  }),
  "qwen2.5-7b": qwen25("Qwen/Qwen2.5-7B-Instruct", [3584, 18944, 28, 28, 4], { vocab_size: 152064 }),
  "qwen2.5-14b": qwen25("Qwen/Qwen2.5-14B-Instruct", [5120, 13824, 48, 40, 8], { vocab_size: 152064 }),
  "qwen2.5-32b": qwen25("Qwen/Qwen2.5-32B-Instruct", [5120, 27648, 64, 40, 8], { vocab_size: 152064 }),
  "qwen3-0.6b": qwen3("Qwen/Qwen3-0.6B", [1024, 3072, 28, 16, 8], { tie_word_embeddings: true }),
  "qwen3-1.7b": qwen3("Qwen/Qwen3-1.7B", [2048, 6144, 28, 16, 8], { tie_word_embeddings: true }),
  "qwen3-4b": qwen3("Qwen/Qwen3-4B", [2560, 9728, 36, 32, 8], { tie_word_embeddings: true }),
  "qwen3-8b": qwen3("Qwen/Qwen3-8B", [4096, 12288, 36, 32, 8]),
  "qwen3-14b": qwen3("Qwen/Qwen3-14B", [5120, 17408, 40, 40, 8]),
  "qwen3-32b": qwen3("Qwen/Qwen3-32B", [5120, 25600, 64, 64, 8]),
  "gemma2-2b": gemma2("google/gemma-2-2b-it", [2304, 9216, 26, 8]),
  "gemma2-9b": gemma2("google/gemma-2-9b-it", [3584, 14336, 42, 16, 8]),
  "gemma2-27b": gemma2("google/gemma-2-27b-it", [4608, 36864, 46, 32, 16], {
    head_dim: 128,
    query_pre_attn_scalar: 144,
  }),
  "gemma3-270m": gemma3("google/gemma-3-270m-it", [640, 2048, 18, 4, 1]),
  "gemma3-1b": gemma3("google/gemma-3-1b-it", [1152, 6912, 26, 4, 1]),
  "gemma3-4b": gemma3Large("google/gemma-3-4b-it", [2560, 10240, 34, 8]),
  "gemma3-12b": gemma3Large("google/gemma-3-12b-it", [3840, 15360, 48, 16, 8]),
  "gemma3-27b": gemma3Large("google/gemma-3-27b-it", [5376, 21504, 62, 32, 16], {
    head_dim: 128,
    query_pre_attn_scalar: 168,
  }),
  "phi3-mini-4k": phi3("microsoft/Phi-3-mini-4k-instruct", [3072, 8192, 32, 32], { sliding_window: 2047 }),
  "phi3.5-mini": phi3("microsoft/Phi-3.5-mini-instruct", [3072, 8192, 32, 32], {
    max_position_embeddings: 131072,
    rope_scaling: PHI35_ROPE,
  }),
  "phi4-mini": line("MIT", {
    model_type: "phi3",
    vocab_size: 200064,
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
  })("microsoft/Phi-4-mini-instruct", [3072, 8192, 32, 24, 8]),
  phi4: line("MIT", {
    model_type: "phi3",
    vocab_size: 100352,
    max_position_embeddings: 16384,
    rope_theta: 250000,
    bos_token_id: 100257,
    eos_token_id: [100257, 100265],
  })("microsoft/phi-4", [5120, 17920, 40, 40, 10]),
  "olmo2-1b": olmo2("allenai/OLMo-2-0425-1B-Instruct", [2048, 8192, 16, 16]),
  "olmo2-7b": olmo2("allenai/OLMo-2-1124-7B-Instruct", [4096, 11008, 32, 32]),
  "olmo2-13b": olmo2("allenai/OLMo-2-1124-13B-Instruct", [5120, 13824, 40, 40]),
  "olmo2-32b": olmo2("allenai/OLMo-2-0325-32B-Instruct", [5120, 27648, 64, 40, 8]),
  "granite3.3-2b": granite33("ibm-granite/granite-3.3-2b-instruct", [2048, 8192, 40, 32, 8], {
    attention_multiplier: 0.015625,
    logits_scaling: 8,
  }),
  "granite3.3-8b": granite33("ibm-granite/granite-3.3-8b-instruct", [4096, 12800, 40, 32, 8], {
    attention_multiplier: 0.0078125,
    logits_scaling: 16,
  }),
};
