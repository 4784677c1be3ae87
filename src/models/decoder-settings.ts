// Settings of a decoder as plain data, in one form for all kinds of files. Adapters keep them, so
// that bases of equal weights and other windows, caps, scales or ropes do not take each other's.
import {
  layerRope,
  type ModelShape,
  type RopeConfig,
  ropeFrequencies,
  rotatedWidth,
  scoreScale,
} from "./geometry.ts";

/** Settings by name. Numbers are rounded: files state some in float32. */
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
export function decoderSettings(config: ModelShape): DecoderSettings {
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
