// Attention of a step over the cache: the cache as a graph reads it, the two attention hooks, and their masks.
// R slots of the step · S new tokens of each · M positions of the cache · L layers
// H query heads · K key heads · G = H / K · D head width
import {
  add,
  concat,
  fromCache,
  groupedAttention,
  type HostTensor,
  type JoinedHeads,
  leaf,
  matmul,
  mul,
  reshape,
  rotateJoined,
  rowsAt,
  scalar,
  slice,
  softCap,
  softmax,
  split,
  splitDynamic,
  toCache,
  type Value,
  windowMask,
} from "mixture-of-shards-graph";
import type { Dim } from "#common";
import {
  type AttentionHook,
  type CachedTensor,
  cachedTensors,
  layerHeads,
  layerKind,
  layerRope,
  layerWindow,
  type ModelConfig,
  rotatedWidth,
  scoreScale,
} from "#models";
import { type CacheDtype, pastName, writtenName } from "./slots.ts";

/** The layers of attention. */
export const attentionLayers = (config: ModelConfig): readonly number[] =>
  Array.from({ length: config.layers }, (_, layer) => layer).filter(
    (layer) => layerKind(config, layer) === "attention",
  );

/**
 * Tests whether the fused attention rotates queries and keys itself, which spares four operators of a layer: where they are only
 * rotated, all layers alike, in heads as it takes them, without sinks, and the cache keeps what it rotated.
 */
function canJoinHeads(config: ModelConfig, dtype: CacheDtype): boolean {
  const first = layerRope(config, 0);
  const isWhole = config.headDim % 16 === 0 && rotatedWidth(config) === config.headDim;
  const { queryKeyNorm, queryScale, layerKinds, sinks } = config;
  const choices = [queryKeyNorm, queryScale, layerKinds, sinks];
  const isPlain = isWhole && dtype === "float32" && choices.every((choice) => choice === undefined);
  const layers = Array.from({ length: config.layers }, (_, layer) => layerRope(config, layer));
  return isPlain && first !== undefined && layers.every((rope) => rope === first);
}

/** A cached tensor of a layer. */
type CachedSite = Pick<CachedTensor, "layer" | "name">;

/** The cache as a graph reads it, and what is new of all layers, collected while it is built. */
export class GraphCache {
  /** True where `exchangeJoined` takes the place of `exchange`. */
  readonly isJoined: boolean;
  readonly #config: ModelConfig;
  readonly #dtype: CacheDtype;
  readonly #tensors: readonly CachedTensor[];
  /** New positions by the names of the tensors. */
  readonly #added = new Map<string, Value>();
  /** Joined heads of all layers, not rotated. */
  readonly #joined: JoinedHeads[] = [];

  constructor(config: ModelConfig, dtype: CacheDtype = "float32") {
    this.#config = config;
    this.#dtype = dtype;
    this.#tensors = cachedTensors(config);
    this.isJoined = canJoinHeads(config, dtype);
  }

  /** Takes what is new of a tensor. */
  add(x: Value, site: CachedSite): void {
    this.#added.set(pastName(site), x);
  }

  /** Takes a layer's new keys and values, and gives the earlier ones, [R, K, M, D] each. */
  exchange({ k, v, layer, keyLayer }: Parameters<AttentionHook["attend"]>[0]) {
    if (layer === keyLayer) {
      this.add(k, { layer, name: "k" });
      this.add(v, { layer, name: "v" });
    }
    return { pastKeys: this.past(keyLayer, "k"), pastValues: this.past(keyLayer, "v") };
  }

  /** The same with queries beside them, where keys are not yet rotated. */
  exchangeJoined(joined: JoinedHeads, layer: number) {
    this.#joined.push(joined);
    return { pastKeys: this.past(layer, "k"), pastValues: this.past(layer, "v") };
  }

  /** What is cached of a tensor: [R, H, M, W]. */
  past(layer: number, name: CachedTensor["name"]): Value {
    const found = this.#tensors.find((tensor) => tensor.layer === layer && tensor.name === name);
    const { heads = 0, width = 0 } = found ?? {};
    return fromCache(leaf(pastName({ layer, name }), ["slots", heads, "cached", width], this.#dtype));
  }

  /** New positions as later steps read them. */
  stored(x: Value): Value {
    return fromCache(toCache(x, this.#dtype));
  }

  /** The heads of the tensors that an output of `written` holds. */
  heads(output: string): { readonly width: number; readonly count: number } {
    const own = this.#tensors.filter(({ width }) => writtenName(width) === output);
    return { width: own[0]?.width ?? 0, count: own.reduce((sum, { heads }) => sum + heads, 0) };
  }

  /** What is new of all tensors, those of each width joined along an axis. */
  written(axis: number): Readonly<Record<string, Value>> {
    const outputs = new Map<string, Value[]>();
    for (const tensor of this.#tensors) {
      const name = writtenName(tensor.width);
      const added = this.#added.get(pastName(tensor)) as Value;
      outputs.set(name, [...(outputs.get(name) ?? []), added]);
    }
    return Object.fromEntries(
      [...outputs].map(([name, parts]) => [name, toCache(concat(parts, axis), this.#dtype)]),
    );
  }

  /** The same of joined heads [N, 1, (H + 2 K) · D] at `positions` [N, 1], where one operator rotates the keys of all layers. */
  writtenJoined(positions: Value): Readonly<Record<string, Value>> {
    const { layers: L, heads: H, keyValueHeads: K, headDim: D } = this.#config;
    const all = this.#joined.map(({ qkv }) => qkv);
    const layers = reshape(concat(all, 2), [...positions.shape, L, (H + 2 * K) * D]);
    const [, ...parts] = split(layers, { axis: 3, sizes: [H * D, K * D, K * D] });
    const [k, v] = parts.map((part) => reshape(part, [...positions.shape, L * K * D])) as [Value, Value];
    const [{ tables }] = this.#joined as [JoinedHeads];
    return { [writtenName(D)]: concat([rotateJoined(k, positions, { ...tables, heads: L * K }), v], 2) };
  }
}

/**
 * The plain implementation: attention over the cache and over the new tokens, whose scores meet only in the softmax. The cache is
 * read where it lies and never copied.
 */
export function cachedAttention(config: ModelConfig, cache: GraphCache, maxLength: number): AttentionHook {
  const { attentionSoftCap } = config;
  const alpha = scoreScale(config);
  const layerMasks = attentionMasks(config, maxLength);
  const counts = leaf("key_counts", [config.sinks ? 3 : 2], "int64");
  return {
    heads: "split",
    attend(heads) {
      const { q, k, v, layer } = heads;
      const { heads: H, keyValueHeads: K, headDim: D } = layerHeads(config, layer);
      const { pastKeys, pastValues } = cache.exchange(heads);
      const grouped = reshape(q, ["slots", K, groupedName(H / K), D]); // [R, K, G·S, D]
      const scores = (keys: Value, mask: Value): Value => {
        const plain = matmul(grouped, keys, { transposeB: true, alpha });
        return add(attentionSoftCap === undefined ? plain : softCap(plain, attentionSoftCap), mask);
      };
      const { cached, added } = layerMasks(layer);
      const all = [scores(pastKeys, cached), scores(k, added)];
      const sink = heads.sinks && sinkScores(heads.sinks, grouped);
      const p = softmax(concat(sink ? [...all, sink] : all, 3)); // [R, K, G·S, M + S]
      const names = ["cached", "tokens", ...(sink ? ["sink"] : [])];
      const [onCache, onNew] = splitDynamic(p, counts, { names }) as readonly [Value, Value];
      const seen = add(matmul(onCache, pastValues), matmul(onNew, v));
      return reshape(seen, ["slots", H, "tokens", D]);
    },
  };
}

/** The scores of the heads' sinks [H] for the queries [R, K, G·S, D]: [R, K, G·S, 1] */
function sinkScores(sinks: Value, queries: Value): Value {
  const [slots, K, rows] = queries.shape as readonly [Dim, number, Dim, number];
  const groups = (sinks.shape[0] as number) / K;
  // zeros in the shape of the queries, whose number each run decides
  const none = mul(slice(queries, { axis: 3, from: 0, to: 1 }), scalar(0));
  const apart = reshape(none, [slots, K, groups, "tokens", 1]);
  return reshape(add(apart, reshape(sinks, [K, groups, 1, 1])), [slots, K, rows, 1]);
}

/**
 * The same in one operator, for which the runtime copies the cache. One token alone is computed by other kernels than several,
 * so that a padding token behind it makes its result independent of how many there are.
 */
export function fusedAttention(
  config: ModelConfig,
  {
    cache,
    maxLength,
    grouped,
    apart,
  }: {
    readonly cache: GraphCache;
    readonly maxLength: number;
    readonly grouped: Value;
    readonly apart: Value;
  },
): AttentionHook {
  const lengths = leaf("lengths", ["slots"], "int32");
  const total = leaf("total", [], "int32");
  const padded = (x: Value): Value => rowsAt(x, grouped);
  return {
    heads: "joined",
    rotates: cache.isJoined,
    attend(given) {
      const { q, k, v, layer, tables } = given;
      const joined = tables && { qkv: concat([q, k, v], 2), tables };
      const heads: Parameters<typeof groupedAttention>[0] = joined
        ? { qkv: padded(joined.qkv), tables: joined.tables }
        : [padded(q), padded(cache.stored(k)), padded(cache.stored(v))];
      const seen = groupedAttention(heads, {
        ...(joined ? cache.exchangeJoined(joined, layer) : cache.exchange(given)),
        lengths,
        total,
        ...layerHeads(config, layer),
        scale: scoreScale(config),
        softCap: config.attentionSoftCap,
        sinks: given.sinks,
        window: layerWindow(config, layer, maxLength),
      });
      return rowsAt(seen, apart);
    },
  };
}

/** Layers that see alike: their window, and the queries that share a key head. */
interface MaskKind {
  readonly window: number | undefined;
  readonly groups: number;
  /** The end of its masks' names. */
  readonly suffix: string;
}

/** The kind of a layer of attention. */
function maskKind(config: ModelConfig, layer: number, maxLength: number): MaskKind {
  const { heads, keyValueHeads } = layerHeads(config, layer);
  const window = layerWindow(config, layer, maxLength);
  const own = keyValueHeads === config.keyValueHeads ? [] : [`full${keyValueHeads}`];
  const suffix = [...own, ...(window === undefined ? [] : [window])].map((part) => `.${part}`).join("");
  return { window, groups: heads / keyValueHeads, suffix };
}

const maskName = (mask: string, { suffix }: MaskKind): string => `${mask}${suffix}`;

/** The dimension of the queries that share a key head: "grouped2" are twice the tokens. */
const groupedName = (groups: number): string => `grouped${groups}`;

/**
 * Masks that are added to attention scores: `cached` on tokens of the cache, [R, 1, 1, M] or with a window [R, 1, G · S, M], and
 * `added` on new tokens, [1, 1, G · S, S].
 */
function makeMasks(kind: MaskKind) {
  const grouped = groupedName(kind.groups);
  const cached = leaf("past_mask", ["slots", 1, 1, "cached"]);
  const added = leaf(maskName("new_mask", kind), [1, 1, grouped, "tokens"]);
  if (kind.window === undefined) return { cached, added };
  const positions = leaf("cached_positions", ["cached"], "int32");
  const first = leaf(maskName("first_seen", kind), ["slots", 1, grouped, 1], "int32");
  return { cached: windowMask(cached, positions, first), added };
}

/** The masks of each layer of a graph, in which no sequence is longer than `maxLength`. Layers of a kind share them. */
function attentionMasks(config: ModelConfig, maxLength: number) {
  const made = new Map<string, ReturnType<typeof makeMasks>>();
  return (layer: number) => {
    const kind = maskKind(config, layer, maxLength);
    const masks = made.get(kind.suffix) ?? makeMasks(kind);
    made.set(kind.suffix, masks);
    return masks;
  };
}

/** The masks of new tokens at `positions` [count, S], as a graph for sequences up to `maxLength` takes them. */
export function maskFeeds(
  config: ModelConfig,
  positions: Int32Array,
  { count, maxLength }: { readonly count: number; readonly maxLength: number },
): Record<string, HostTensor> {
  const S = positions.length / count;
  const feeds: Record<string, HostTensor> = {};
  for (const layer of attentionLayers(config)) {
    const kind = maskKind(config, layer, maxLength);
    const name = maskName("new_mask", kind);
    if (name in feeds) continue;
    const { window, groups } = kind;
    const data = causalMask(S, groups, window);
    feeds[name] = { shape: [1, 1, groups * S, S], data };
    if (window === undefined) continue;
    const first = Int32Array.from({ length: count * groups * S }, (_, i) => {
      const [slot, token] = [Math.floor(i / (groups * S)), i % S];
      return (positions[slot * S + token] as number) - window + 1;
    });
    feeds[maskName("first_seen", kind)] = { shape: [count, 1, groups * S, 1], data: first };
  }
  return feeds;
}

/** 0 for the last `window` tokens up to a query's own, −10³⁰ for all others: [G · S, S] */
function causalMask(S: number, groups: number, window = S): Float32Array {
  const mask = new Float32Array(groups * S * S);
  for (let row = 0; row < groups * S; row++) {
    const query = row % S;
    mask.fill(-1e30, row * S, row * S + Math.max(0, query - window + 1));
    mask.fill(-1e30, row * S + query + 1, (row + 1) * S);
  }
  return mask;
}
