// R rows of the step · S new tokens of each · G query heads of a key head · V vocabulary
import type { LlamaConfig } from "#models";
import type { HostTensor } from "#runtime";
import type { KVCache, SlotRange } from "./kv-cache.ts";

/** Some rows of a cache, and what each of them reads in a step. */
export interface Step extends SlotRange {
  /** New tokens of each row of the range; none for a row that only lies between others. */
  readonly tokens: readonly (readonly number[])[];
  /** Logits behind every token, rather than behind the last of each row. */
  readonly allLogits?: boolean;
}

/** Ids, positions and masks of a step; rows shorter than S are filled up with tokens nobody looks at. */
export function stepFeeds(
  { from, count, tokens, allLogits = false }: Step,
  cache: KVCache,
  { heads, keyValueHeads }: LlamaConfig,
): Record<string, HostTensor> {
  const S = Math.max(...tokens.map((row) => row.length));
  const groups = heads / keyValueHeads;
  const grid = [count, S];
  const ids = new Int32Array(count * S);
  const positions = new Int32Array(ids.length);
  const wanted: number[] = [];
  tokens.forEach((row, i) => {
    ids.set(row, i * S);
    const start = cache.lengths[from + i] ?? 0;
    // a filler stays at a position that the tables have
    for (let s = 0; s < S; s++)
      positions[i * S + s] = row.length === 0 ? 0 : start + Math.min(s, row.length - 1);
    for (let s = allLogits ? 0 : Math.max(0, row.length - 1); s < row.length; s++) wanted.push(i * S + s);
  });
  return {
    ids: { shape: grid, data: ids },
    positions: { shape: grid, data: positions },
    new_mask: { shape: [1, 1, groups * S, S], data: causalMask(S, groups) },
    key_counts: { shape: [2], data: Int32Array.of(cache.capacity, S) },
    wanted: { shape: [wanted.length], data: Int32Array.from(wanted) },
  };
}

/** 0 up to a query's own place, −10³⁰ behind it: [G · S, S] */
function causalMask(S: number, groups: number): Float32Array {
  const mask = new Float32Array(groups * S * S);
  for (let q = 0; q < groups * S; q++) mask.fill(-1e30, q * S + (q % S) + 1, (q + 1) * S);
  return mask;
}

/** Views [V] of the logits that a step wanted, row by row. */
export function cutLogits(
  logits: Float32Array,
  { tokens, allLogits = false }: Step,
  vocabularySize: number,
): readonly (readonly Float32Array[])[] {
  let next = 0;
  return tokens.map(({ length }) =>
    Array.from({ length: allLogits ? length : Math.min(1, length) }, () => {
      next++;
      return logits.subarray((next - 1) * vocabularySize, next * vocabularySize);
    }),
  );
}
