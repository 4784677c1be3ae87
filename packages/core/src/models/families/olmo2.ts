import { type Family, unsupported } from "./family.ts";
import { ggufWindow } from "./gguf-fields.ts";

/** OLMo 2: norms after each half of a layer rather than before, and of all queries and all keys together. */
export const olmo2: Family = {
  models: "OLMo 2",
  className: "Olmo2ForCausalLM",
  biases: ["attention_bias"],
  defaults: { max_position_embeddings: 2048, rms_norm_eps: 1e-5, tie_word_embeddings: false },
  decoder: { norms: "post", queryKeyNorm: "all" },
  fromJson: () => ({}),
  toJson: () => ({}),
  gguf: {
    architecture: "olmo2",
    interleaved: false,
    read(header) {
      // Olmo 3 has the same architecture there
      if (ggufWindow(header) !== undefined)
        throw unsupported(header.path, "Olmo 3 (olmo2 with a sliding window) is not supported; use OLMo 2");
      return {};
    },
  },
};
