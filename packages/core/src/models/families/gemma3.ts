import type { ModelShape } from "../geometry.ts";
import { type Family, type GgufHeader, nullToUndefined, unsupported } from "./family.ts";
import { GEMMA, GEMMA_DEFAULTS, gemmaGgufScales, gemmaJson, gemmaScales } from "./gemma2.ts";
import { ggufWindow } from "./gguf-fields.ts";
import { eachLayer, windowByTypes, windowOn } from "./layer-windows.ts";
import type { RawConfig } from "./raw-config.ts";
import { ropeParameters } from "./rope-json.ts";

/** A full layer after five windowed ones, where a file does not say. */
const PATTERN = 6;

const isWindowed =
  (pattern: number) =>
  (layer: number): boolean =>
    (layer + 1) % pattern !== 0;

/** The windowed layers: a list, or all but every n-th. */
function ggufLayers({ metadata, at, need }: GgufHeader): readonly boolean[] {
  const stated = metadata["gemma3.attention.sliding_window_pattern"];
  if (Array.isArray(stated)) return stated.map(Boolean);
  return eachLayer(need("block_count"), isWindowed(at("attention.sliding_window_pattern") ?? PATTERN));
}

/**
 * Every how many-th layer is full. transformers writes `_sliding_window_pattern` beside `layer_types` and does not read it.
 *
 * @throws MosError "unsupported" where it stands alone and says otherwise.
 */
function readPattern(raw: RawConfig, where: string): number {
  const { sliding_window_pattern: stated, _sliding_window_pattern: unread, layer_types } = raw;
  const pattern = nullToUndefined(stated) ?? PATTERN;
  if (!layer_types && (unread ?? pattern) !== pattern)
    throw unsupported(
      where,
      `_sliding_window_pattern ${unread} would be ignored and ${pattern} used instead; rename it sliding_window_pattern, or list layer_types`,
    );
  return pattern;
}

/** The rope of windowed layers. Only transformers 5 can state one that is scaled. */
function localRopeJson({ rope, localRope = rope }: ModelShape): Readonly<Record<string, unknown>> {
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
  ropesByLayerType: true,
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
    return {
      ...gemmaScales(raw, where),
      ...windowByTypes(raw, {
        where,
        size: nullToUndefined(raw.sliding_window),
        otherwise: isWindowed(readPattern(raw, where)),
      }),
    };
  },
  toJson: (config) => ({ ...gemmaJson(config), ...localRopeJson(config) }),
  gguf: {
    architecture: "gemma3",
    interleaved: false,
    read(header) {
      return {
        ...gemmaGgufScales(header, { layers: 62 }),
        ...windowOn(ggufWindow(header), ggufLayers(header)),
        localRope: { kind: "default", theta: header.at("rope.freq_base_swa") ?? 1e4 },
      };
    },
  },
};
