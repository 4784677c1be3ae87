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
  const ofAll = <T>(each: readonly T[]): readonly T[] =>
    layers === config.layers ? each : Array.from({ length: layers }, (_, i) => each[i % PERIOD] as T);
  const { window, rotatedLayers, layerKinds, sharingLayers } = config;
  const followsWidth = config.headDim === config.hiddenSize / config.heads && config.rotaryDim === undefined;
  return {
    ...resized,
    headDim:
      sizes.headDim ??
      (followsWidth && config.rope.kind !== "longrope" ? hiddenSize / heads : config.headDim),
    ...(window === undefined ? {} : { window: { ...window, layers: ofAll(window.layers) } }),
    ...(rotatedLayers === undefined ? {} : { rotatedLayers: ofAll(rotatedLayers) }),
    ...(layerKinds === undefined ? {} : { layerKinds: ofAll(layerKinds) }),
    ...(sharingLayers === undefined
      ? {}
      : { sharingLayers: Math.floor((sharingLayers * layers) / config.layers) }),
    ...(config.embeddingScale === Math.sqrt(config.hiddenSize)
      ? { embeddingScale: Math.sqrt(hiddenSize) }
      : {}),
  };
}
