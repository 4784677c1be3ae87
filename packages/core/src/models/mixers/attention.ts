// Attention of one layer: projections, norms and rotation of queries and keys, and what its heads see.
// B batch · S tokens · N = B · S · H query heads · K key heads · D head width
import {
  mul,
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
import { layerHeads } from "../geometry.ts";
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
    return [
      ...linearShapes("self_attn.q_proj", [projected, hidden], hasBias),
      ...linearShapes("self_attn.k_proj", [keys, hidden], hasBias),
      ...linearShapes("self_attn.v_proj", [keys, hidden], hasBias),
      ...(config.attentionGate ? linearShapes("self_attn.g_proj", [heads, hidden]) : []),
      ...headNorm("q_norm", queries),
      ...headNorm("k_norm", keys),
      ...linearShapes("self_attn.o_proj", [hidden, queries], attentionBias === true),
    ];
  },
  cached(config, layer) {
    const { keyValueHeads: heads, headDim: width } = layerHeads(config, layer);
    return [
      { name: "k", heads, width },
      { name: "v", heads, width },
    ];
  },
  forward(config, options) {
    const attend = attendWith(config, options);
    return (x, { layer, project }) => {
      const { q_proj, k_proj: k, v_proj: v, g_proj } = project(x, "qkv");
      const { q, gate } = config.gatedQueries
        ? splitGate(q_proj as Value, layerHeads(config, layer).heads)
        : { q: q_proj as Value, gate: g_proj };
      const seen = attend({ q, k: k as Value, v: v as Value, layer });
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

/** Normalises and rotates q and k in the layout of the attention hook, and gives the hook's result as [N, H · D]. */
function attendWith(config: ModelConfig, options: MixerOptions): (projected: Heads) => Value {
  const { ids, positions, layout = ids.shape, attention: hook } = options;
  const [batch, length] = ids.shape as readonly [Dim, Dim];
  const norm = headNorms(config, options);
  const tablesForLayer = layerTables(config, options);
  /** What the queries and keys of a layer are turned by. */
  const sites = (layer: number) => {
    const { heads, keyValueHeads, headDim: width } = layerHeads(config, layer);
    return {
      q: { layer, side: "q", heads, width },
      k: { layer, side: "k", heads: keyValueHeads, width },
    } as const;
  };
  if (hook.heads === "joined") {
    const turn = (x: Value, site: HeadSite): Value => {
      const { layer, heads, width } = site;
      const normed = config.queryKeyNorm ? reshape(norm(x, site), [batch, length, heads * width]) : x;
      const tables = hook.rotates ? undefined : tablesForLayer(layer)?.[site.side];
      return tables ? rotateJoined(normed, positions, { ...tables, heads }) : normed;
    };
    return ({ q, k, v, layer }) =>
      hook.attend({
        q: turn(q, sites(layer).q),
        k: turn(k, sites(layer).k),
        v,
        layer,
        ...(hook.rotates ? { tables: tablesForLayer(layer)?.k } : {}),
      });
  }
  const splitHeads = (x: Value, { heads, width }: HeadSite): Value =>
    transpose(reshape(x, [batch, length, heads, width]), [0, 2, 1, 3]); // [B, H, S, D]
  const turn = (x: Value, site: HeadSite): Value => {
    const apart = splitHeads(norm(x, site), site);
    const tables = tablesForLayer(site.layer)?.[site.side];
    return tables ? rotate(apart, positions, tables) : apart;
  };
  return ({ q, k, v, layer }) => {
    const site = sites(layer);
    const seen = hook.attend({ q: turn(q, site.q), k: turn(k, site.k), v: splitHeads(v, site.k), layer });
    return reshape(transpose(seen, [0, 2, 1, 3]), [...layout, site.q.heads * site.q.width]);
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

/** Norms of queries and keys: of each head, which gives [B, S, heads, D], or of all together, where the shape stays. */
function headNorms(
  { queryKeyNorm, normEpsilon: epsilon }: ModelConfig,
  { ids, weights }: MixerOptions,
): (x: Value, site: HeadSite) => Value {
  const [batch, length] = ids.shape as readonly [Dim, Dim];
  return (x, { layer, side, heads, width }) => {
    if (queryKeyNorm === undefined) return x;
    const rows = queryKeyNorm === "all" ? x : reshape(x, [batch, length, heads, width]);
    return rmsNorm(rows, requireWeight(weights, `model.layers.${layer}.self_attn.${side}_norm.weight`), {
      epsilon,
    });
  };
}
