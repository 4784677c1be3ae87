import { MosError } from "#common";
import type { RopeConfig } from "../geometry.ts";
import { type Family, type FamilyChoices, type GgufHeader, nullToUndefined } from "./family.ts";
import { ggufWindow } from "./gguf-fields.ts";
import { windowOnAll } from "./layer-windows.ts";

/** Factors for short and long sequences, which GGUF keeps as tensors. */
function ggufRope(header: GgufHeader): Pick<FamilyChoices, "rope"> {
  const { path, factors, at, need } = header;
  const [short, long] = [factors.get("rope_factors_short.weight"), factors.get("rope_factors_long.weight")];
  if (short === undefined && long === undefined) return {};
  if (short === undefined || long === undefined)
    throw new MosError(
      "bad_model",
      `${path}: rope_factors_long.weight and rope_factors_short.weight belong together; one is missing`,
    );
  const rope: RopeConfig = {
    kind: "longrope",
    theta: at("rope.freq_base") ?? 10000,
    shortFactors: short,
    longFactors: long,
    originalMaxPositions: need("rope.scaling.original_context_length"),
    attentionFactor: at("rope.scaling.attn_factor") ?? 1,
  };
  return { rope };
}

/** Phi-3, 3.5 and 4 mini: Llama with fused projections, and longrope and partly rotated heads in some. */
export const phi3: Family = {
  models: "Phi-3, Phi-3.5-mini, Phi-4 and Phi-4-mini",
  className: "Phi3ForCausalLM",
  biases: [],
  rotatesParts: true,
  // longrope was called "su" first, and "yarn" for a while
  ropeTypes: { default: "default", longrope: "longrope", su: "longrope", yarn: "longrope" },
  originalMaxPositions: 4096,
  defaults: { max_position_embeddings: 4096, rms_norm_eps: 1e-5, tie_word_embeddings: false },
  modules: {
    "self_attn.qkv_proj": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    "mlp.gate_up_proj": ["mlp.gate_proj", "mlp.up_proj"],
  },
  decoder: {},
  fromJson: (raw) => windowOnAll(nullToUndefined(raw.sliding_window), raw.num_hidden_layers),
  toJson: ({ window, rope }) => ({
    sliding_window: window?.size ?? null,
    ...(rope.kind === "longrope" ? { original_max_position_embeddings: rope.originalMaxPositions } : {}),
  }),
  gguf: {
    architecture: "phi3",
    isFused: true,
    read: (header) => ({
      ...ggufRope(header),
      ...windowOnAll(ggufWindow(header), header.layers),
    }),
  },
};
