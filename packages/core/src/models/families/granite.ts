import { omitUndefined } from "#common";
import { type Family, nullToUndefined } from "./family.ts";

/** Granite 3 (dense): Llama with factors on embeddings, attention scores, branches and logits. */
export const granite: Family = {
  models: "Granite 3 (dense)",
  className: "GraniteForCausalLM",
  biases: ["attention_bias", "mlp_bias"],
  defaults: {
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-6,
    tie_word_embeddings: false,
    attention_multiplier: 1,
  },
  decoder: {},
  fromJson: (raw) =>
    omitUndefined({
      embeddingScale: nullToUndefined(raw.embedding_multiplier),
      attentionScale: nullToUndefined(raw.attention_multiplier),
      residualScale: nullToUndefined(raw.residual_multiplier),
      logitScale: raw.logits_scaling ? 1 / raw.logits_scaling : undefined,
    }),
  toJson: ({ embeddingScale = 1, attentionScale = 1, residualScale = 1, logitScale = 1 }) => ({
    embedding_multiplier: embeddingScale,
    attention_multiplier: attentionScale,
    residual_multiplier: residualScale,
    logits_scaling: 1 / logitScale,
  }),
  gguf: {
    architecture: "granite",
    interleaved: true,
    read(header) {
      const logits = header.at("logit_scale");
      return omitUndefined({
        embeddingScale: header.at("embedding_scale"),
        attentionScale: header.at("attention.scale"),
        residualScale: header.at("residual_scale"),
        logitScale: logits ? 1 / logits : undefined,
      });
    },
  },
};
