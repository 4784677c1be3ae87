// Properties of a model that an adapter has to fit: the widths of its linear layers, and the settings of its decoder as plain
// data, the same for all kinds of files. Adapters keep the settings, so that bases of equal weights and other windows,
// caps, scales or ropes do not take each other's.

import type { ModelConfig } from "./config.ts";
import {
  layerKind,
  layerRope,
  type ModelShape,
  type RopeConfig,
  ropeFrequencies,
  rotatedWidth,
  scoreScale,
} from "./geometry.ts";
import { LINEAR_NAMES, type LinearName, type TargetModule } from "./linear-layers.ts";
import type { SingularFactors } from "./singular-factors.ts";
import { listLayerGroups } from "./weights.ts";

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
  const convolutions = layers.filter((layer) => layerKind(config, layer) === "conv");
  const rotaryDim = rotatedWidth(config);
  const { rope, localRope = rope, linearAttention: linear } = config;
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
    ...(windowed.length === 0
      ? {}
      : ropeSettings(localRope, { name: "local_rope", rotaryDim: rotatedWidth(config, true) })),
    ...(config.queryScale === undefined ? {} : { query_scale: Object.values(config.queryScale) }),
    ...(config.sharingLayers === undefined ? {} : { sharing_layers: config.sharingLayers }),
    ...(convolutions.length === 0 ? {} : { convolution_layers: convolutions }),
    ...(linear === undefined
      ? {}
      : { linear_attention: [linear.keyHeads, linear.valueHeads, linear.kernel] }),
  };
}

/** A linear layer as an adapter sees it: those of equal widths, in all layers that have it, share a pool. */
export type PoolName = LinearName | `${LinearName}@${number}x${number}`;

/** A pool for a person: "q_proj", or "q_proj 2560 → 4096" where the linear layer has several widths. */
export const describePool = (name: PoolName): string => name.replace("@", " ").replace("x", " → ");

/** d_in and d_out of linear layers. */
export interface Widths {
  readonly in: number;
  readonly out: number;
  /** The decoder layers that have it, in ascending order; all where it is left out. */
  readonly layers?: readonly number[];
}

/** The linear layers that a model has, by their widths. An adapter has to fit them, and the decoder's settings. @inline */
export interface LayerShapes {
  /** L */
  readonly layers: number;
  /** By name, or by name and widths where they differ between layers: "q_proj@2560x4096". */
  readonly widths: Readonly<Partial<Record<PoolName, Widths>>>;
  /** Settings of the model's decoder; undefined if only its shapes are known. */
  readonly decoder?: DecoderSettings | undefined;
  /** Factors of its weights; undefined if only its shapes are known. */
  readonly singular?: SingularFactors | undefined;
}

/** Linear layers of one name and widths, in some decoder layers. */
export interface Pool {
  readonly name: PoolName;
  readonly linear: LinearName;
  readonly in: number;
  readonly out: number;
  readonly layers: readonly number[];
}

const allLayers = (count: number): readonly number[] => Array.from({ length: count }, (_, layer) => layer);

/** The pools of a model, or of one of its linear layers, in the order of the linear layers. */
export const listPools = (
  { layers: count, widths }: LayerShapes,
  linears: readonly LinearName[] = LINEAR_NAMES,
): readonly Pool[] =>
  linears.flatMap((linear) =>
    Object.entries(widths).flatMap(([name, found]) => {
      if (found === undefined || name.split("@")[0] !== linear) return [];
      const { layers = allLayers(count), ...width } = found;
      return [{ ...width, name: name as PoolName, linear, layers }];
    }),
  );

/** The target modules of a model, by linear layer, then by decoder layer. */
export const listTargets = (
  shapes: LayerShapes,
  linears?: readonly LinearName[],
): readonly TargetModule[] => {
  const found = listPools(shapes, linears).flatMap(({ linear, layers }) =>
    layers.map((layer) => ({ linear, layer })),
  );
  const order = (linear: LinearName): number => (linears ?? LINEAR_NAMES).indexOf(linear);
  return found.sort((a, b) => order(a.linear) - order(b.linear) || a.layer - b.layer);
};

/** What an adapter has to fit: the linear layers of a model, and its decoder's settings. */
export function toLayerShapes(config: ModelConfig): LayerShapes {
  const pools = new Map<
    string,
    { readonly linear: LinearName; readonly size: string; readonly layers: number[] }
  >();
  for (const { layer, linears, in: width, outs } of listLayerGroups(config))
    for (const [i, linear] of linears.entries()) {
      const size = `${width}x${outs[i]}`;
      const pool = pools.get(`${linear}@${size}`) ?? { linear, size, layers: [] };
      pools.set(`${linear}@${size}`, pool);
      pool.layers.push(layer);
    }
  const widths: Partial<Record<PoolName, Widths>> = {};
  for (const linear of LINEAR_NAMES) {
    const own = [...pools.values()].filter((pool) => pool.linear === linear);
    for (const { size, layers } of own) {
      const [width = 0, out = 0] = size.split("x").map(Number);
      const name = (own.length === 1 ? linear : `${linear}@${size}`) as PoolName;
      widths[name] = { in: width, out, ...(layers.length === config.layers ? {} : { layers }) };
    }
  }
  return { layers: config.layers, widths, decoder: decoderSettings(config) };
}
