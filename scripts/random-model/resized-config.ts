// A published model's config with other sizes.
import type { ModelConfig } from "mixture-of-shards-core/models";

/** Sizes in place of a model's own. */
export type OtherSizes = Partial<
  Pick<
    ModelConfig,
    | "layers"
    | "hiddenSize"
    | "intermediateSize"
    | "heads"
    | "keyValueHeads"
    | "headDim"
    | "vocabularySize"
    | "maxPositions"
  >
>;

/** Which layers are different repeats within so many. */
const PERIOD = 12;

/** The model with these sizes, and with what follows from them: heads' width, layers that differ, Gemma's factor. */
export function resizedConfig(config: ModelConfig, sizes: OtherSizes): ModelConfig {
  const resized = { ...config, ...sizes };
  const { layers, hiddenSize, heads } = resized;
  const ofAll = (flags: readonly boolean[]): readonly boolean[] =>
    Array.from({ length: layers }, (_, layer) => flags[layer % PERIOD] === true);
  const { window, rotatedLayers } = config;
  const followsWidth = config.headDim === config.hiddenSize / config.heads && config.rotaryDim === undefined;
  return {
    ...resized,
    headDim:
      sizes.headDim ??
      (followsWidth && config.rope.kind !== "longrope" ? hiddenSize / heads : config.headDim),
    ...(window === undefined ? {} : { window: { ...window, layers: ofAll(window.layers) } }),
    ...(rotatedLayers === undefined ? {} : { rotatedLayers: ofAll(rotatedLayers) }),
    ...(config.embeddingScale === Math.sqrt(config.hiddenSize)
      ? { embeddingScale: Math.sqrt(hiddenSize) }
      : {}),
  };
}
