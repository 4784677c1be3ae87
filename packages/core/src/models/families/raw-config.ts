// config.json as files have it, of transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters).
import { z } from "zod";

/** One id or several. */
export const tokenIds = z.union([z.int(), z.array(z.int())]).nullish();

/** Types of layers that can have a rope of their own. */
export const LAYER_TYPES = ["full_attention", "sliding_attention"] as const;

const ropeSchema = z.looseObject({
  rope_type: z.string().optional(),
  type: z.string().optional(),
  rope_theta: z.number().nullish(),
  factor: z.number().nullish(),
  low_freq_factor: z.number().nullish(),
  high_freq_factor: z.number().nullish(),
  original_max_position_embeddings: z.number().nullish(),
  partial_rotary_factor: z.number().nullish(),
  attention_factor: z.number().nullish(),
  beta_fast: z.number().nullish(),
  beta_slow: z.number().nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  truncate: z.boolean().nullish(),
  short_factor: z.array(z.number()).nullish(),
  long_factor: z.array(z.number()).nullish(),
  llama_4_scaling_beta: z.number().nullish(),
});
export type RawRope = z.output<typeof ropeSchema>;

/** transformers 5 states a rope for each type of layers where there are two. */
const ropesSchema = ropeSchema.extend({
  full_attention: ropeSchema.nullish(),
  sliding_attention: ropeSchema.nullish(),
});

const limitedList = <T extends z.ZodType>(item: T) => z.array(item).max(1024);

export const configSchema = z.looseObject({
  vocab_size: z.number(),
  hidden_size: z.number(),
  intermediate_size: z.number(),
  num_hidden_layers: z.number().max(1024),
  num_attention_heads: z.number(),
  num_key_value_heads: z.number().nullish(),
  head_dim: z.number().nullish(),
  max_position_embeddings: z.number(),
  original_max_position_embeddings: z.number().nullish(),
  rms_norm_eps: z.number(),
  hidden_act: z.string().nullish(),
  hidden_activation: z.string().nullish(),
  rope_theta: z.number().nullish(),
  rope_local_base_freq: z.number().positive().nullish(),
  rope_scaling: ropesSchema.nullish(),
  rope_parameters: ropesSchema.nullish(),
  partial_rotary_factor: z.number().nullish(),
  no_rope_layers: limitedList(z.number()).nullish(),
  no_rope_layer_interval: z.int().positive().nullish(),
  tie_word_embeddings: z.boolean(),
  attention_bias: z.boolean().nullish(),
  mlp_bias: z.boolean().nullish(),
  sliding_window: z.number().nullish(),
  use_sliding_window: z.boolean().nullish(),
  max_window_layers: z.number().nullish(),
  sliding_window_pattern: z.int().positive().nullish(),
  _sliding_window_pattern: z.int().positive().nullish(),
  layer_types: limitedList(z.string()).nullish(),
  layer_rope_theta: limitedList(z.number()).nullish(),
  num_local_experts: z.number().nullish(),
  position_embedding_type: z.string().nullish(),
  global_head_dim: z.number().nullish(),
  num_global_key_value_heads: z.number().nullish(),
  per_layer_config: z
    .record(
      z.string(),
      z.looseObject({ head_dim: z.number().nullish(), num_key_value_heads: z.number().nullish() }),
    )
    .nullish(),
  attention_k_eq_v: z.boolean().nullish(),
  num_kv_shared_layers: z.int().nullish(),
  use_double_wide_mlp: z.boolean().nullish(),
  hidden_size_per_layer_input: z.int().nonnegative().nullish(),
  vocab_size_per_layer_input: z.int().positive().nullish(),
  enable_moe_block: z.boolean().nullish(),
  full_attn_idxs: limitedList(z.int()).nullish(),
  conv_L_cache: z.int().nullish(),
  conv_bias: z.boolean().nullish(),
  full_attention_interval: z.int().positive().nullish(),
  linear_conv_kernel_dim: z.number().nullish(),
  linear_key_head_dim: z.number().nullish(),
  linear_value_head_dim: z.number().nullish(),
  linear_num_key_heads: z.number().nullish(),
  linear_num_value_heads: z.number().nullish(),
  use_sandwich_norm: z.boolean().nullish(),
  use_attention_gate: z.boolean().nullish(),
  query_pre_attn_scalar: z.number().positive().nullish(),
  attn_logit_softcapping: z.number().nullish(),
  final_logit_softcapping: z.number().nullish(),
  use_bidirectional_attention: z.union([z.boolean(), z.string()]).nullish(),
  embedding_multiplier: z.number().nullish(),
  attention_multiplier: z.number().nullish(),
  residual_multiplier: z.number().nullish(),
  logits_scaling: z.number().positive().nullish(),
  quantization_config: z.unknown().optional(),
  bos_token_id: tokenIds,
  eos_token_id: tokenIds,
  pad_token_id: tokenIds,
});

/** The fields of config.json that matter, after the family's defaults. */
export type RawConfig = z.output<typeof configSchema>;
