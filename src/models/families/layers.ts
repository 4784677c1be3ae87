// Which layers have something: windows, by the fields of config.json, or a choice by the layer's index.
import { MosError } from "#core";
import type { DecoderChoices, ModelGeometry } from "../geometry.ts";
import { unsupported } from "./family.ts";
import type { RawConfig } from "./raw-config.ts";

type Layers = readonly boolean[];

/** A choice for each layer by its index. Headers are not checked yet; none of so many layers gets an array. */
export const eachLayer = (layers: number, choose: (layer: number) => boolean): Layers =>
  Array.from({ length: layers <= 1024 ? layers : 0 }, (_, layer) => choose(layer));

/** The window of these layers. One that no sequence of the model exceeds is none. */
export const windowOn = (
  size: number | undefined,
  { layers, maxPositions }: { readonly layers: Layers; readonly maxPositions: number },
): Pick<DecoderChoices, "window"> =>
  size === undefined || size >= maxPositions || !layers.includes(true) ? {} : { window: { size, layers } };

/**
 * Which layers are windowed, by `layer_types` or, where config.json has none, by `otherwise`.
 *
 * @throws MosError "unsupported" for a type of layer that cannot be run, "bad_model" where their number is wrong.
 */
export function windowedLayers(
  { layer_types: types, num_hidden_layers: layers }: RawConfig,
  where: string,
  otherwise: (layer: number) => boolean,
): Layers {
  if (!types) return eachLayer(layers, otherwise);
  const unknown = types.find((type) => type !== "full_attention" && type !== "sliding_attention");
  if (unknown !== undefined)
    throw unsupported(where, `layers of the type "${unknown}" (layer_types) cannot be run`);
  if (types.length !== layers)
    throw new MosError(
      "bad_model",
      `${where}: layer_types has ${types.length} entries for ${layers} layers (num_hidden_layers)`,
    );
  return types.map((type) => type === "sliding_attention");
}

/** `layer_types` of a config, as transformers writes it. */
export const layerTypes = ({ window, layers }: ModelGeometry): readonly string[] =>
  eachLayer(layers, (layer) => window?.layers[layer] === true).map((isWindowed) =>
    isWindowed ? "sliding_attention" : "full_attention",
  );
