// Properties of a model that an adapter has to fit: the widths of its linear layers, and the settings of its decoder as plain
// data, the same for all kinds of files. Adapters keep the settings, so that bases of equal weights and other windows,
// caps, scales or ropes do not take each other's.

import type { ModelConfig } from "./config.ts";
import {
  layerRope,
  type ModelShape,
  type RopeConfig,
  ropeFrequencies,
  rotatedWidth,
  scoreScale,
} from "./geometry.ts";
import { LINEAR_NAMES, type LinearName, modulePath } from "./linear-layers.ts";
import { weightShapes } from "./weights.ts";

/** Windows, caps, scales and rotary frequencies of a model, by name. Numbers are rounded: files state some in float32. */
export type DecoderSettings = Readonly<Record<string, string | number | null | readonly number[]>>;

const rounded = (value: number): number => Number(value.toPrecision(7));

/** A rotation by its frequencies, since files state one in several ways. */
function ropeSettings(
  rope: RopeConfig,
  { name, rotaryDim }: { readonly name: string; readonly rotaryDim: number },
) {
  const at = (positions: number): readonly number[] =>
    ropeFrequencies({ rope, rotaryDim, positions }).map(rounded);
  const changesAt =
    rope.kind === "longrope" || rope.kind === "dynamic" ? rope.originalMaxPositions : undefined;
  return {
    [`${name}_frequencies`]: at(1),
    [`${name}_attention_factor`]: rounded("attentionFactor" in rope ? rope.attentionFactor : 1),
    ...(changesAt === undefined
      ? {}
      : { [`${name}_original_positions`]: changesAt, [`${name}_long_frequencies`]: at(2 * changesAt) }),
  };
}

/** The settings of a model's decoder. Which norms and biases it has shows in its weights. */
function decoderSettings(config: ModelShape): DecoderSettings {
  const { activation = "silu", embeddingScale = 1, residualScale = 1, logitScale = 1, window } = config;
  const layers = Array.from({ length: config.layers }, (_, layer) => layer);
  const windowed = layers.filter((layer) => window?.layers[layer] === true);
  const rotaryDim = rotatedWidth(config);
  const { rope, localRope = rope } = config;
  return {
    activation,
    norm_epsilon: rounded(config.normEpsilon),
    attention_scale: rounded(scoreScale(config)),
    attention_soft_cap: config.attentionSoftCap ?? null,
    logit_soft_cap: config.logitSoftCap ?? null,
    embedding_scale: rounded(embeddingScale),
    residual_scale: rounded(residualScale),
    logit_scale: rounded(logitScale),
    sliding_window: window?.size ?? null,
    windowed_layers: windowed,
    layers_without_rope: layers.filter((layer) => layerRope(config, layer) === undefined),
    ...ropeSettings(rope, { name: "rope", rotaryDim }),
    ...(windowed.length === 0 ? {} : ropeSettings(localRope, { name: "local_rope", rotaryDim })),
  };
}

/** The number of layers, d_in and d_out of their linear layers, and the decoder's settings: an adapter has to fit them. */
export function toLayerShapes(config: ModelConfig): {
  readonly layers: number;
  readonly widths: Readonly<Record<LinearName, { readonly in: number; readonly out: number }>>;
  readonly decoder: DecoderSettings;
} {
  const shapes = weightShapes(config);
  const linearWidths = (linear: LinearName) => {
    const [out = 0, width = 0] = shapes.get(`${modulePath({ layer: 0, linear })}.weight`) ?? [];
    return { in: width, out };
  };
  const widths = Object.fromEntries(LINEAR_NAMES.map((name) => [name, linearWidths(name)]));
  return {
    layers: config.layers,
    widths: widths as Record<LinearName, { in: number; out: number }>,
    decoder: decoderSettings(config),
  };
}
