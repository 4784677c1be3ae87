// Attention of one layer: projections, norms and rotation of queries and keys, and what its heads see.
// B batch · S tokens · N = B · S · H query heads · K key heads · D head width
import {
  constant,
  mul,
  type RotationTables,
  reshape,
  rmsNorm,
  rotate,
  rotateJoined,
  sigmoid,
  split,
  transpose,
  type Value,
} from "mixture-of-shards-graph";
import type { Dim } from "#common";
import type { ModelConfig } from "../config.ts";
import { isWindowed, keyLayer, layerHeads } from "../geometry.ts";
import {
  type Heads,
  linearShapes,
  type Mixer,
  type MixerOptions,
  type NamedShapes,
  requireWeight,
} from "./mixer.ts";
import { layerTables } from "./rotation.ts";

export const attention: Mixer = {
  weights(config, layer) {
    const { hiddenSize: hidden, attentionBias, queryKeyNorm } = config;
    const { heads, keyValueHeads, headDim } = layerHeads(config, layer);
    const [queries, keys] = [heads * headDim, keyValueHeads * headDim];
    const projected = config.gatedQueries ? 2 * queries : queries;
    const headNorm = (name: string, width: number): NamedShapes =>
      queryKeyNorm === undefined
        ? []
        : [[`self_attn.${name}.weight`, [queryKeyNorm === "all" ? width : headDim]]];
    const hasBias = attentionBias !== false;
    const isOwn = keyLayer(config, layer) === layer;
    const hasValues = config.valuesAreKeys === undefined || isWindowed(config, layer);
    return [
      ...linearShapes("self_attn.q_proj", [projected, hidden], hasBias),
      ...(isOwn ? linearShapes("self_attn.k_proj", [keys, hidden], hasBias) : []),
      ...(isOwn && hasValues ? linearShapes("self_attn.v_proj", [keys, hidden], hasBias) : []),
      ...(config.attentionGate ? linearShapes("self_attn.g_proj", [heads, hidden]) : []),
      ...(config.sinks ? ([["self_attn.sinks", [heads]]] as const) : []),
      ...headNorm("q_norm", queries),
      ...(isOwn ? headNorm("k_norm", keys) : []),
      ...linearShapes("self_attn.o_proj", [hidden, queries], attentionBias === true),
    ];
  },
  cached(config, layer) {
    if (keyLayer(config, layer) !== layer) return [];
    const { keyValueHeads: heads, headDim: width } = layerHeads(config, layer);
    return [
      { name: "k", heads, width },
      { name: "v", heads, width },
    ];
  },
  forward(config, options) {
    const attend = attendWith(config, options);
    return (x, { layer, project }) => {
      const { q_proj, k_proj: k, v_proj: v = k, g_proj } = project(x, "qkv");
      const { q, gate } = config.gatedQueries
        ? splitGate(q_proj as Value, layerHeads(config, layer).heads)
        : { q: q_proj as Value, gate: g_proj };
      const seen = attend({ q, k, v, layer });
      return project(gate === undefined ? seen : gated(seen, gate), "o").o_proj as Value;
    };
  },
};

/** Queries and gates of all heads, [..., H · D] each, of a projection with both of each head side by side. */
function splitGate(projected: Value, heads: number): { readonly q: Value; readonly gate: Value } {
  const rows = projected.shape.slice(0, -1);
  const width = (projected.shape.at(-1) as number) / heads / 2;
  const apart = reshape(projected, [...rows, heads, 2 * width]);
  const parts = split(apart, { axis: rows.length + 1, sizes: [width, width] });
  const [q, gate] = parts.map((part) => reshape(part, [...rows, heads * width])) as [Value, Value];
  return { q, gate };
}

/** The result of each head [..., H · D] times σ of its gate, [..., H] or one for each number. */
function gated(seen: Value, gate: Value): Value {
  if (gate.shape.at(-1) === seen.shape.at(-1)) return mul(reshape(seen, gate.shape), sigmoid(gate));
  const rows = seen.shape.slice(0, -1);
  const heads = gate.shape.at(-1) as number;
  const apart = reshape(seen, [...rows, heads, (seen.shape.at(-1) as number) / heads]);
  return reshape(mul(apart, reshape(sigmoid(gate), [...rows, heads, 1])), seen.shape);
}

/** What a layer's linear layers give; keys and values are missing where it uses those of an earlier layer. */
interface Projected {
  readonly q: Value;
  readonly k: Value | undefined;
  readonly v: Value | undefined;
  readonly layer: number;
}

/** Normalises and rotates q and k in the layout of the attention hook, and gives the hook's result as [N, H · D]. */
function attendWith(config: ModelConfig, options: MixerOptions): (projected: Projected) => Value {
  const { ids, layout = ids.shape, attention: hook } = options;
  const shape = hook.heads === "joined" ? joinedHeads(config, options) : splitHeads(config, options);
  const made = new Map<number, Pick<Heads, "k" | "v">>();
  return ({ q, k, v, layer }) => {
    const { heads, keyValueHeads, headDim: width } = layerHeads(config, layer);
    const [queries, keys] = [
      { layer, side: "q", heads, width },
      { layer, side: "k", heads: keyValueHeads, width },
    ] as const;
    if (k !== undefined && v !== undefined)
      made.set(layer, { k: shape.turned(k, keys), v: shape.values(v, keys) });
    const source = keyLayer(config, layer);
    const seen = hook.attend({
      q: shape.turned(q, queries),
      ...(made.get(source) as Pick<Heads, "k" | "v">),
      layer,
      keyLayer: source,
      ...(config.sinks
        ? { sinks: requireWeight(options.weights, `model.layers.${layer}.self_attn.sinks`) }
        : {}),
      ...(hook.rotates ? { tables: shape.tables(layer) } : {}),
    });
    return hook.heads === "joined"
      ? seen
      : reshape(transpose(seen, [0, 2, 1, 3]), [...layout, heads * width]);
  };
}

/** How projections become heads. */
interface HeadLayout {
  /** Queries or keys, normed and rotated. */
  readonly turned: (x: Value, site: HeadSite) => Value;
  readonly values: (x: Value, site: HeadSite) => Value;
  /** The rotation that is left to the hook. */
  readonly tables: (layer: number) => RotationTables | undefined;
}

function joinedHeads(config: ModelConfig, options: MixerOptions): HeadLayout {
  const { ids, positions, attention: hook } = options;
  const [batch, length] = ids.shape as readonly [Dim, Dim];
  const norms = headNorms(config, options);
  const tables = layerTables(config, options);
  const joined = (x: Value, { heads, width }: HeadSite): Value => reshape(x, [batch, length, heads * width]);
  return {
    turned(x, site) {
      const normed = config.queryKeyNorm ? joined(norms.queryKey(x, site), site) : x;
      const own = hook.rotates ? undefined : tables(site.layer)?.[site.side];
      return own ? rotateJoined(normed, positions, { ...own, heads: site.heads }) : normed;
    },
    values: (v, site) => (config.valueNorm ? joined(norms.value(v, site), site) : v),
    tables: (layer) => tables(layer)?.k,
  };
}

function splitHeads(config: ModelConfig, options: MixerOptions): HeadLayout {
  const { ids, positions } = options;
  const [batch, length] = ids.shape as readonly [Dim, Dim];
  const norms = headNorms(config, options);
  const tables = layerTables(config, options);
  const apart = (x: Value, { heads, width }: HeadSite): Value =>
    transpose(reshape(x, [batch, length, heads, width]), [0, 2, 1, 3]); // [B, H, S, D]
  return {
    turned(x, site) {
      const heads = apart(norms.queryKey(x, site), site);
      const own = tables(site.layer)?.[site.side];
      return own ? rotate(heads, positions, own) : heads;
    },
    values: (v, site) => apart(config.valueNorm ? norms.value(v, site) : v, site),
    tables: () => undefined,
  };
}

/** A layer's queries or keys. */
interface HeadSite {
  readonly layer: number;
  readonly side: "q" | "k";
  readonly heads: number;
  /** D */
  readonly width: number;
}

/**
 * Norms of queries and keys: of each head, which gives [B, S, heads, D], or of all together, where the shape stays; and of each
 * head's values, without gains.
 */
function headNorms(
  { queryKeyNorm, normEpsilon: epsilon }: ModelConfig,
  { ids, weights }: MixerOptions,
): { readonly queryKey: NormHeads; readonly value: NormHeads } {
  const [batch, length] = ids.shape as readonly [Dim, Dim];
  const ofHeads = (x: Value, { heads, width }: HeadSite): Value => reshape(x, [batch, length, heads, width]);
  return {
    queryKey(x, site) {
      if (queryKeyNorm === undefined) return x;
      const gain = requireWeight(weights, `model.layers.${site.layer}.self_attn.${site.side}_norm.weight`);
      return rmsNorm(queryKeyNorm === "all" ? x : ofHeads(x, site), gain, { epsilon });
    },
    value: (x, site) =>
      rmsNorm(ofHeads(x, site), constant(new Float32Array(site.width).fill(1)), { epsilon }),
  };
}

type NormHeads = (x: Value, site: HeadSite) => Value;
