// The programs of a step: the decoder of #models with the engine's hooks, and beside each what it is fed with.
// R slots of the step · S new tokens of each · M positions of the cache · T logits · V vocabulary · L layers
// H query heads · K key heads · G = H / K · D head width
import {
  add,
  addRmsNorm,
  concat,
  type Device,
  fromCache,
  groupedAttention,
  type HostTensor,
  leaf,
  matmul,
  reshape,
  softCap,
  softmax,
  splitDynamic,
  splitEqual,
  supports,
  toCache,
  type Value,
} from "#graph";
import {
  type AttentionHook,
  decoder,
  layerWindow,
  type ModelConfig,
  type ProjectHook,
  scoreScale,
} from "#models";
import { slotNames } from "./adapter-slots.ts";
import { attentionMasks, maskFeeds } from "./attention-masks.ts";
import type { BaseWeights } from "./base-weights.ts";
import type { CacheDtype, KVCache, SlotRange } from "./kv-cache.ts";

/** Some slots, and the new tokens of each. */
export interface Step extends SlotRange {
  /** For each slot of the range; none for one that only lies between others. */
  readonly tokens: readonly (readonly number[])[];
  /** Logits of every token, rather than of the last one of each slot. */
  readonly allLogits?: boolean;
}

export interface StepGraphOptions {
  /** The longest sequence. */
  readonly maxLength: number;
  /** Allows slots to hold adapters. */
  readonly adapters: boolean;
  /** Type of the cache's numbers. */
  readonly cacheDtype: CacheDtype;
  readonly device: Device;
}

/** A program of a step: its outputs are `logits` [T, V] and `new_keys_values`, of all layers the rotated keys, then the values. */
export interface StepGraph {
  readonly outputs: (base: BaseWeights, options: StepGraphOptions) => Readonly<Record<string, Value>>;
  /** All that changes with each step, of a graph for sequences up to `maxLength`; cache, slots and weights are bound. */
  readonly feeds: (step: Step, cache: KVCache, maxLength: number) => Record<string, HostTensor>;
}

/** Any number of slots, each with any number of tokens: prompts, and decoding of many slots. */
export const generalStep: StepGraph = {
  outputs(base, { maxLength, adapters, cacheDtype }) {
    const grid = ["slots", "tokens"];
    const written: NewKeysValues = { dtype: cacheDtype, keys: [], values: [] };
    const hidden = decoder(base.config, {
      ids: leaf("ids", grid, "int32"),
      positions: leaf("positions", grid, "int64"),
      maxPositions: maxLength,
      logitsIndices: leaf("logits_indices", ["logits"], "int32"),
      weights: base.values,
      project: withSlots(base, adapters),
      attention: cachedAttention(base.config, { written, maxLength }),
    });
    return { logits: base.head(hidden), new_keys_values: joined(written, 1) }; // [T, V], [R, 2·L·K, S, D]
  },
  feeds({ from, count, tokens, allLogits = false }, cache, maxLength) {
    const S = Math.max(...tokens.map(({ length }) => length));
    const ids = new Int32Array(count * S);
    const positions = new Int32Array(count * S);
    const logitsIndices: number[] = [];
    for (const [i, row] of tokens.entries()) {
      ids.set(row, i * S);
      const start = cache.lengths[from + i] ?? 0;
      // padding has a position that the rotary tables have
      for (let s = 0; s < S; s++)
        positions[i * S + s] = row.length === 0 ? 0 : start + Math.min(s, row.length - 1);
      for (let s = allLogits ? 0 : Math.max(0, row.length - 1); s < row.length; s++)
        logitsIndices.push(i * S + s);
    }
    return {
      ids: { shape: [count, S], data: ids },
      positions: { shape: [count, S], data: positions },
      ...maskFeeds(cache.config, { positions, count, maxLength }),
      key_counts: { shape: [2], data: Int32Array.of(cache.capacity, S) },
      logits_indices: { shape: [logitsIndices.length], data: Int32Array.from(logitsIndices) },
    };
  },
};

/** One token of every slot, with all operators fused that the device has. */
export const fusedStep: StepGraph = {
  outputs(base, { maxLength, adapters, cacheDtype, device }) {
    const grid = ["slots", 1];
    const written: NewKeysValues = { dtype: cacheDtype, keys: [], values: [] };
    const hidden = decoder(base.config, {
      ids: leaf("ids", grid, "int32"),
      positions: leaf("positions", grid, "int64"),
      maxPositions: maxLength,
      weights: base.values,
      project: withSlots(base, adapters),
      attention: fusedAttention(base.config, { written, maxLength }),
      ...(supports(device, "addRmsNorm") ? { addNorm: addRmsNorm } : {}),
    });
    return { logits: base.head(hidden), new_keys_values: joined(written, 2) }; // [R, 1, V], [R, 1, 2·L·K·D]
  },
  feeds({ from, count, tokens }, cache) {
    const lengths = Int32Array.from(tokens, (_, i) => cache.lengths[from + i] ?? 0);
    return {
      ids: { shape: [count, 1], data: Int32Array.from(tokens.flat()) },
      positions: { shape: [count, 1], data: lengths },
      lengths: { shape: [count], data: lengths },
      total: { shape: [], data: Int32Array.of(Math.max(...lengths) + 1) },
    };
  },
};

/** The base's layers, and x Aᵀ Bᵀ by the factors of each slot: A [R, parts · r, in] of a group, Bᵀ [R, r, out] of each part. */
const withSlots =
  (base: BaseWeights, adapters: boolean): ProjectHook =>
  (x, layerGroup) => {
    if (!adapters) return base.project(x, layerGroup);
    const { in: width, outs } = base.widths[layerGroup.group];
    const { a, b } = slotNames(layerGroup);
    const ranks = outs.length === 1 ? "rank" : `rank · ${outs.length}`;
    const low = matmul(x, leaf(a, ["slots", ranks, width]), { transposeB: true });
    const parts = splitEqual(low, outs.length, "rank");
    const branches = parts.map((part, i) =>
      matmul(part, leaf(b[i] as string, ["slots", "rank", outs[i] as number])),
    );
    return base.project(x, layerGroup, branches);
  };

/** New keys and values of all layers, collected while a graph is built. */
interface NewKeysValues {
  /** Type of the cache's numbers. */
  readonly dtype: CacheDtype;
  readonly keys: Value[];
  readonly values: Value[];
}

const joined = ({ dtype, keys, values }: NewKeysValues, axis: number): Value =>
  toCache(concat([...keys, ...values], axis), dtype);

interface CachedHookOptions {
  readonly written: NewKeysValues;
  /** The longest sequence. */
  readonly maxLength: number;
}

interface CachedPart {
  readonly layer: number;
  readonly part: "k" | "v";
  readonly dtype: CacheDtype;
}

/** The cache of one layer, [R, K, M, D]. */
const cachedPart = ({ keyValueHeads, headDim }: ModelConfig, { layer, part, dtype }: CachedPart): Value =>
  fromCache(leaf(`past.${layer}.${part}`, ["slots", keyValueHeads, "cached", headDim], dtype));

/**
 * The plain form: attention over the cache and over the new tokens, whose scores meet only in the softmax. The cache is
 * read where it lies and never copied.
 */
function cachedAttention(config: ModelConfig, { written, maxLength }: CachedHookOptions): AttentionHook {
  const { heads: H, keyValueHeads: K, headDim: D, attentionSoftCap } = config;
  const alpha = scoreScale(config);
  const layerMasks = attentionMasks(config, maxLength);
  const counts = leaf("key_counts", [2], "int64");
  return {
    heads: "split",
    attend(heads) {
      const { q, k, v, layer } = heads;
      const past = (part: "k" | "v"): Value => cachedPart(config, { layer, part, dtype: written.dtype });
      written.keys.push(k);
      written.values.push(v);
      const grouped = reshape(q, ["slots", K, "grouped", D]); // [R, K, G·S, D]
      const scores = (keys: Value, mask: Value): Value => {
        const plain = matmul(grouped, keys, { transposeB: true, alpha });
        return add(attentionSoftCap === undefined ? plain : softCap(plain, attentionSoftCap), mask);
      };
      const { cached, added } = layerMasks(layer);
      const p = softmax(concat([scores(past("k"), cached), scores(k, added)], 3)); // [R, K, G·S, M + S]
      const [onCache, onNew] = splitDynamic(p, counts, ["cached", "tokens"]) as readonly [Value, Value];
      const seen = add(matmul(onCache, past("v")), matmul(onNew, v));
      return reshape(seen, ["slots", H, "tokens", D]);
    },
  };
}

/** The same of one token in one operator. The runtime copies the cache for it. */
function fusedAttention(config: ModelConfig, { written, maxLength }: CachedHookOptions): AttentionHook {
  const lengths = leaf("lengths", ["slots"], "int32");
  const total = leaf("total", [], "int32");
  const { heads: H, keyValueHeads, headDim } = config;
  return {
    heads: "joined",
    attend(heads) {
      const { q, k, v, layer } = heads;
      const past = (part: "k" | "v"): Value => cachedPart(config, { layer, part, dtype: written.dtype });
      written.keys.push(k);
      written.values.push(v);
      return groupedAttention(q, [k, v], {
        pastKeys: past("k"),
        pastValues: past("v"),
        lengths,
        total,
        heads: H,
        keyValueHeads,
        headDim,
        scale: scoreScale(config),
        softCap: config.attentionSoftCap,
        window: layerWindow(config, layer, maxLength),
      });
    },
  };
}
