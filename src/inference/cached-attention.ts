// R rows · S new tokens of each · M places of the cache · H query heads · K key heads · G = H / K · D head width
import { add, concat, type Dim, leaf, matmul, reshape, softmax, splitDynamic, type Value } from "#graph";
import type { AttentionHook, LlamaConfig } from "#models";

/** New keys and values of all layers, collected while a graph is built. */
export interface Fresh {
  readonly keys: Value[];
  readonly values: Value[];
}

/**
 * Attention over the cache and over the new tokens, whose scores meet only in the softmax: the cache is read where it
 * lies and never copied. `rows` is R, or its name where only the run knows it.
 */
export function cachedAttention(
  { heads, keyValueHeads: K, headDim: D }: LlamaConfig,
  { rows, fresh }: { readonly rows: Dim; readonly fresh: Fresh },
): AttentionHook {
  const pastMask = leaf("past_mask", [rows, 1, 1, "past"]);
  const newMask = leaf("new_mask", [1, 1, "grouped", "tokens"]);
  const sizes = leaf("key_counts", [2], "int64");
  return ({ q, k, v, layer }) => {
    fresh.keys.push(k);
    fresh.values.push(v);
    const pastK = leaf(`past.${layer}.k`, [rows, K, "past", D]);
    const pastV = leaf(`past.${layer}.v`, [rows, K, "past", D]);
    const grouped = reshape(q, [rows, K, "grouped", D]); // [R, K, G·S, D]
    const scores = (keys: Value, mask: Value): Value =>
      add(matmul(grouped, keys, { transposeB: true, alpha: 1 / Math.sqrt(D) }), mask);
    const p = softmax(concat([scores(pastK, pastMask), scores(k, newMask)], 3)); // [R, K, G·S, M + S]
    const [onPast, onNew] = splitDynamic(p, sizes, ["past", "tokens"]) as readonly [Value, Value];
    return reshape(add(matmul(onPast, pastV), matmul(onNew, v)), [rows, heads, "tokens", D]);
  };
}
