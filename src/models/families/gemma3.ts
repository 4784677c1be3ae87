import type { ModelGeometry } from "../geometry.ts";
import { type Family, type GgufHeader, given } from "./family.ts";
import { GEMMA, GEMMA_DEFAULTS, gemmaGgufScales, gemmaJson, gemmaScales } from "./gemma2.ts";
import { ggufWindow } from "./gguf-header.ts";
import { eachLayer, windowedLayers, windowOn } from "./layers.ts";
import { ropeOfWindowed } from "./raw-config.ts";
import { parseRope, ropeParameters } from "./rope-json.ts";

/** A full layer after five windowed ones, where a file does not say. */
const PATTERN = 6;

const isWindowed =
  (pattern: number) =>
  (layer: number): boolean =>
    (layer + 1) % pattern !== 0;

/** Which layers are windowed: a list of them, or every how many-th is not. */
function ggufLayers({ metadata, at, need }: GgufHeader): readonly boolean[] {
  const stated = metadata["gemma3.attention.sliding_window_pattern"];
  if (Array.isArray(stated)) return stated.map(Boolean);
  return eachLayer(need("block_count"), isWindowed(at("attention.sliding_window_pattern") ?? PATTERN));
}

/** The rope of windowed layers. Only transformers 5 can state one that is scaled. */
function localRopeJson({ rope, localRope = rope }: ModelGeometry): Readonly<Record<string, unknown>> {
  if (localRope.kind === "default") return { rope_local_base_freq: localRope.theta };
  return {
    rope_parameters: {
      full_attention: ropeParameters(rope),
      sliding_attention: ropeParameters(localRope),
    },
  };
}

/** Gemma 3 (text): five windowed layers and a full one, each kind with its own rope, and norms of queries and keys. */
export const gemma3: Family = {
  models: "Gemma 3 (text)",
  className: "Gemma3ForCausalLM",
  biases: ["attention_bias"],
  defaults: {
    ...GEMMA_DEFAULTS,
    // released files of the larger models leave these out
    vocab_size: 262208,
    num_attention_heads: 8,
    max_position_embeddings: 131072,
    rope_theta: 1e6,
    rope_local_base_freq: 1e4,
  },
  decoder: { ...GEMMA, queryKeyNorm: "head" },
  fromJson(raw, where) {
    const pattern = given(raw._sliding_window_pattern) ?? given(raw.sliding_window_pattern) ?? PATTERN;
    const local = ropeOfWindowed(raw) ?? { rope_theta: raw.rope_local_base_freq };
    return {
      ...gemmaScales(raw, where),
      ...windowOn(given(raw.sliding_window), {
        layers: windowedLayers(raw, where, isWindowed(pattern)),
        maxPositions: Number.POSITIVE_INFINITY,
      }),
      localRope: parseRope(local, { raw, where }),
    };
  },
  toJson: (config) => ({ ...gemmaJson(config), ...localRopeJson(config) }),
  gguf: {
    architecture: "gemma3",
    interleaved: false,
    read(header) {
      return {
        ...gemmaGgufScales(header, { layers: 62 }),
        ...windowOn(ggufWindow(header), {
          layers: ggufLayers(header),
          // layers with a window have another rope even where no sequence is longer than it
          maxPositions: Number.POSITIVE_INFINITY,
        }),
        localRope: { kind: "default", theta: header.at("rope.freq_base_swa") ?? 1e4 },
      };
    },
  },
};
