// LlamaConfig → config.json, for models that come without one.

import { MosError } from "#core";
import type { LlamaConfig, RopeConfig } from "./config.ts";
import { ropeFrequencies } from "./rope-frequencies.ts";

/** What Meta's Llama 3.1 and later were trained with; only `factor` differs among them. */
const LLAMA3_SCALING = { lowFrequencyFactor: 1, highFrequencyFactor: 4, originalMaxPositions: 8192 } as const;

/** Relative; GGUF keeps its factors in float32. */
const CLOSE_ENOUGH = 1e-4;

/**
 * A GGUF file lists what each frequency is divided by. Hugging Face knows no such list, so it is told as Llama 3's rule
 * where it is one, and as a linear scaling where all are equal.
 */
function namedRope(config: Pick<LlamaConfig, "rope" | "headDim">, where: string): RopeConfig {
  const { rope, headDim } = config;
  if (rope.kind !== "factors") return rope;
  const { theta } = rope;
  const factor = rope.factor * Math.max(...rope.factors);
  const short = Number(factor.toPrecision(6));
  const wanted = ropeFrequencies(config);
  const candidates: readonly RopeConfig[] = [
    short === 1 ? { kind: "default", theta } : { kind: "linear", theta, factor: short },
    { kind: "llama3", theta, factor: short, ...LLAMA3_SCALING },
  ];
  const found = candidates.find((candidate) =>
    ropeFrequencies({ rope: candidate, headDim }).every(
      (frequency, i) => Math.abs(frequency / (wanted[i] ?? 0) - 1) < CLOSE_ENOUGH,
    ),
  );
  if (found !== undefined) return found;
  throw new MosError(
    "unsupported",
    `${where}: its rotary factors (rope_freqs.weight) are not those of Llama 3 with any factor, so config.json cannot state them; use the model's Hugging Face folder`,
  );
}

function ropeFields(rope: RopeConfig): Readonly<Record<string, unknown>> {
  switch (rope.kind) {
    case "linear":
      return { rope_scaling: { rope_type: "linear", factor: rope.factor } };
    case "llama3":
      return {
        rope_scaling: {
          rope_type: "llama3",
          factor: rope.factor,
          low_freq_factor: rope.lowFrequencyFactor,
          high_freq_factor: rope.highFrequencyFactor,
          original_max_position_embeddings: rope.originalMaxPositions,
        },
      };
    default:
      return {};
  }
}

const CLASSES = { llama: "LlamaForCausalLM", mistral: "MistralForCausalLM" } as const;

/**
 * The content of a config.json that transformers opens, and that `parseHuggingFaceConfig` reads back as it was. `where`
 * names the model's file in messages.
 *
 * @throws MosError "unsupported" for rotary factors that config.json cannot state.
 */
export function huggingFaceConfig(config: LlamaConfig, where: string): Readonly<Record<string, unknown>> {
  const rope = namedRope(config, where);
  const [first, ...more] = config.eosTokens;
  return {
    architectures: [CLASSES[config.architecture]],
    model_type: config.architecture,
    vocab_size: config.vocabularySize,
    hidden_size: config.hiddenSize,
    intermediate_size: config.intermediateSize,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.keyValueHeads,
    head_dim: config.headDim,
    hidden_act: "silu",
    max_position_embeddings: config.maxPositions,
    rms_norm_eps: config.normEpsilon,
    rope_theta: rope.theta,
    ...ropeFields(rope),
    tie_word_embeddings: config.tiedHead,
    attention_bias: config.attentionBias,
    mlp_bias: config.mlpBias,
    ...(config.architecture === "mistral" ? { sliding_window: null } : {}),
    bos_token_id: config.bosToken ?? null,
    eos_token_id: first === undefined ? null : more.length === 0 ? first : config.eosTokens,
    pad_token_id: config.padToken ?? null,
  };
}
