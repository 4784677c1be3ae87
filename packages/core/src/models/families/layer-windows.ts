// Choices by layer: windows by the fields of config.json, or a choice by the layer's index.
import { MosError } from "#common";
import type { DecoderChoices, ModelShape } from "../geometry.ts";
import { unsupported } from "./family.ts";
import type { RawConfig } from "./raw-config.ts";

type Layers = readonly boolean[];

/** A choice for each layer by its index. Headers are not checked yet; so no array of a claimed length is allocated. */
export const eachLayer = <T>(layers: number, choose: (layer: number) => T): readonly T[] =>
  Array.from({ length: layers <= 1024 ? layers : 0 }, (_, layer) => choose(layer));

/** The window of these layers. */
export const windowOn = (size: number | undefined, layers: Layers): Pick<DecoderChoices, "window"> =>
  size === undefined || !layers.includes(true) ? {} : { window: { size, layers } };

/** The window of all layers. */
export const windowOnAll = (size: number | undefined, layers: number): Pick<DecoderChoices, "window"> =>
  windowOn(
    size,
    eachLayer(layers, () => true),
  );

/** Removes a window that no sequence of the model exceeds, unless its layers have another rope. */
export function withoutIdleWindow<T extends ModelShape>(config: T): T {
  const { window, ...rest } = config;
  const isIdle = window !== undefined && window.size >= config.maxPositions && config.localRope === undefined;
  return isIdle ? (rest as T) : config;
}

interface WindowFields {
  readonly where: string;
  readonly size: number | undefined;
  /** The layers that are windowed where config.json does not list their types. */
  readonly otherwise: (layer: number) => boolean;
}

/**
 * The window of the layers that `layer_types` lists or, where config.json has none, of `otherwise`.
 *
 * @throws MosError as `windowedLayers` does, and "bad_model" for windowed layers without a window.
 */
export function windowByTypes(
  raw: RawConfig,
  { where, size, otherwise }: WindowFields,
): Pick<DecoderChoices, "window"> {
  const layers = windowedLayers(raw, where, otherwise);
  if (size === undefined && layers.includes(true)) {
    const { sliding_window = null, use_sliding_window: use } = raw;
    throw new MosError(
      "bad_model",
      `${where}: some layers are windowed (layer_types, or by the model's type), but sliding_window is ${sliding_window}${use === undefined ? "" : ` and use_sliding_window ${use}`}; state a window, or full_attention for all layers`,
    );
  }
  return windowOn(size, layers);
}

/**
 * The windowed layers, by `layer_types` or, if config.json has none, by `otherwise`.
 *
 * @throws MosError "unsupported" for a type of layer that cannot be run, "bad_model" where their number is wrong.
 */
function windowedLayers(
  { layer_types: types, num_hidden_layers: layers }: RawConfig,
  where: string,
  otherwise: (layer: number) => boolean,
): Layers {
  if (!types) return eachLayer(layers, otherwise);
  const unknown = types.find((type) => type !== "full_attention" && type !== "sliding_attention");
  if (unknown !== undefined)
    throw unsupported(where, `layers of the type "${unknown}" (layer_types) are not supported`);
  checkTypeCount(types, layers, where);
  return types.map((type) => type === "sliding_attention");
}

/** Throws "bad_model" where `layer_types` has not one entry for each layer. */
export function checkTypeCount(types: readonly string[], layers: number, where: string): void {
  if (types.length !== layers)
    throw new MosError(
      "bad_model",
      `${where}: layer_types has ${types.length} entries for ${layers} layers (num_hidden_layers)`,
    );
}

/** `layer_types` of a config, as transformers writes it. */
export const layerTypes = ({ window, layers }: ModelShape): readonly string[] =>
  eachLayer(layers, (layer) => window?.layers[layer] === true).map((isWindowed) =>
    isWindowed ? "sliding_attention" : "full_attention",
  );
