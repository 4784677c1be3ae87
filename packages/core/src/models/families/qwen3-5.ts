import { MosError } from "#common";
import type { LayerKind, ModelShape } from "../geometry.ts";
import { ACTIVATIONS } from "./activations.ts";
import { type Family, type FamilyChoices, type GgufHeader, nullToUndefined, unsupported } from "./family.ts";
import { checkTypeCount, eachLayer } from "./layer-windows.ts";
import type { RawConfig } from "./raw-config.ts";
import { ropeParameters } from "./rope-json.ts";

const KINDS: ReadonlyMap<string, LayerKind> = new Map([
  ["full_attention", "attention"],
  ["linear_attention", "linear_attention"],
]);

/** A layer of attention after three of linear attention, where a file does not say. */
const INTERVAL = 4;

const everyNth = (layers: number, interval: number): readonly LayerKind[] =>
  eachLayer(layers, (layer) => ((layer + 1) % interval === 0 ? "attention" : "linear_attention"));

/** The layers' kinds: a list, or attention in every n-th. */
function layerKinds(raw: RawConfig, where: string): readonly LayerKind[] {
  const { layer_types: types, num_hidden_layers: layers, full_attention_interval } = raw;
  if (!types) return everyNth(layers, nullToUndefined(full_attention_interval) ?? INTERVAL);
  checkTypeCount(types, layers, where);
  return types.map((type) => {
    const kind = KINDS.get(type);
    if (kind === undefined)
      throw unsupported(where, `layers of the type "${type}" (layer_types) are not supported in this family`);
    return kind;
  });
}

function linearHeads(raw: RawConfig, where: string): FamilyChoices {
  const kinds = layerKinds(raw, where);
  if (!kinds.includes("linear_attention")) return {};
  const activation = raw.hidden_act ?? "silu";
  if (ACTIVATIONS.get(activation) !== "silu")
    throw unsupported(
      where,
      `hidden_act "${activation}" is not supported in this family, whose convolutions have it, too; it must be "silu"`,
    );
  return {
    layerKinds: kinds,
    linearAttention: {
      keyHeads: Number(raw.linear_num_key_heads),
      valueHeads: Number(raw.linear_num_value_heads),
      keyDim: Number(raw.linear_key_head_dim),
      valueDim: Number(raw.linear_value_head_dim),
      kernel: Number(raw.linear_conv_kernel_dim),
    },
  };
}

/** The same of a GGUF file. */
function ggufHeads({ path, at, need, list, layers }: GgufHeader): FamilyChoices {
  const kinds =
    list("attention.recurrent_layers")
      ?.slice(0, layers)
      .map((recurs): LayerKind => (recurs ? "linear_attention" : "attention")) ??
    everyNth(layers, at("full_attention_interval") ?? INTERVAL);
  if (kinds.length !== layers)
    throw new MosError("bad_model", `${path}: qwen35.attention.recurrent_layers must have ${layers} entries`);
  if (!kinds.includes("linear_attention")) return {};
  const valueHeads = need("ssm.time_step_rank");
  return {
    layerKinds: kinds,
    linearAttention: {
      keyHeads: need("ssm.group_count"),
      valueHeads,
      keyDim: need("ssm.state_size"),
      valueDim: need("ssm.inner_size") / valueHeads,
      kernel: need("ssm.conv_kernel"),
    },
  };
}

const linearJson = ({ linearAttention: heads, layerKinds: kinds, layers }: ModelShape) => ({
  layer_types: Array.from({ length: layers }, (_, layer) =>
    kinds?.[layer] === "linear_attention" ? "linear_attention" : "full_attention",
  ),
  ...(heads === undefined
    ? {}
    : {
        linear_num_key_heads: heads.keyHeads,
        linear_num_value_heads: heads.valueHeads,
        linear_key_head_dim: heads.keyDim,
        linear_value_head_dim: heads.valueDim,
        linear_conv_kernel_dim: heads.kernel,
      }),
});

/** Qwen 3.5 to 3.8 (dense): linear attention in three layers of four, and attention with a gate in the others. */
export const qwen35: Family = {
  models: "Qwen 3.5, 3.6 and 3.8 (dense)",
  className: "Qwen3_5ForCausalLM",
  biases: ["attention_bias"],
  rotatesParts: true,
  defaults: {
    max_position_embeddings: 32_768,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: false,
    num_key_value_heads: 4,
    head_dim: 256,
    partial_rotary_factor: 0.25,
    linear_num_key_heads: 16,
    linear_num_value_heads: 32,
    linear_key_head_dim: 128,
    linear_value_head_dim: 128,
    linear_conv_kernel_dim: 4,
  },
  decoder: { queryKeyNorm: "head", gainOffset: 1, gatedQueries: true },
  fromJson: linearHeads,
  toJson: (config) => ({
    ...linearJson(config),
    rope_scaling: null,
    rope_parameters: {
      ...ropeParameters(config.rope),
      partial_rotary_factor: (config.rotaryDim ?? config.headDim) / config.headDim,
    },
  }),
  gguf: {
    architecture: "qwen35",
    order: "tiles",
    names: {
      post_attention_layernorm: "post_attention_norm",
      "linear_attn.in_proj_qkv": "attn_qkv",
      "linear_attn.in_proj_z": "attn_gate",
      "linear_attn.in_proj_b": "ssm_beta",
      "linear_attn.in_proj_a": "ssm_alpha",
      "linear_attn.conv1d": "ssm_conv1d",
      "linear_attn.dt_bias": "ssm_dt.bias",
      "linear_attn.A_log": "ssm_a",
      "linear_attn.norm": "ssm_norm",
      "linear_attn.out_proj": "ssm_out",
    },
    values: { "linear_attn.A_log": (rate) => Math.log(-rate) },
    read: ggufHeads,
  },
};
