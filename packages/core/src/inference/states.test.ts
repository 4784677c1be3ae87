import { expect, test } from "vitest";
import { TINY_FAMILIES } from "../../test/tiny-families.ts";
import { tinyModel } from "../../test/tiny-model.ts";
import { KVCache } from "./slots.ts";
import { isSnapshotDue, lastSnapshotWithin, nextName, stateName, tokensToSnapshot } from "./states.ts";

const { config } = tinyModel({ overrides: TINY_FAMILIES["qwen3_5"]! });

/** Adds tokens to slot 0, behind which all numbers of its state are this one. */
function add(cache: KVCache, tokens: number, state: number): void {
  const widths = cache.widths.map(
    (width) => [width, new Float32Array(cache.headsOf(width) * tokens * width)] as const,
  );
  cache.append(new Map(widths), [tokens], { from: 0, tokens });
  const filled = cache.states.view(0, 1).map(([, { data }]) => new Float32Array(data.length).fill(state));
  cache.states.replace(0, filled);
}

/** The number that all of a slot's state has. */
function stateOf(cache: KVCache, slot: number): number {
  const numbers = cache.states.view(slot, 1).flatMap(([, { data }]) => [...data]);
  expect(new Set(numbers).size).toBe(1);
  return numbers[0]!;
}

function filledCache(): KVCache {
  const cache = new KVCache(config);
  cache.resize(3, 64);
  add(cache, 5, 1);
  cache.states.keep(0, 5);
  add(cache, 4, 2);
  cache.states.keep(0, 9);
  add(cache, 3, 3);
  return cache;
}

test("each layer of linear attention has a state, under a name that inputs and outputs do not share", () => {
  const names = new KVCache(config).states.tensors.map(stateName);
  expect(names).toEqual(["state.0.earlier", "state.0.memory", "state.2.earlier", "state.2.memory"]);
  expect(nextName({ layer: 0, name: "memory" })).not.toBe(stateName({ layer: 0, name: "memory" }));
});

test("a slot keeps as many tokens as the last snapshot allows", () => {
  const cache = filledCache();
  expect([12, 11, 9, 8, 5, 4].map((length) => cache.kept(0, length))).toEqual([12, 9, 9, 5, 5, 0]);
  cache.truncate(0, 12);
  expect([cache.lengths[0], stateOf(cache, 0)]).toEqual([12, 3]);
  cache.truncate(0, 8);
  expect([cache.lengths[0], stateOf(cache, 0)]).toEqual([5, 1]);
  // what was behind it is gone
  add(cache, 5, 4);
  expect(cache.kept(0, 9)).toBe(5);
  cache.truncate(0, 3);
  expect([cache.lengths[0], stateOf(cache, 0)]).toEqual([0, 0]);
});

test("a state that no token has made is wiped before the next sequence", () => {
  const cache = new KVCache(config);
  cache.resize(1, 64);
  add(cache, 0, Number.NaN); // a step beside which the slot had no tokens, and a broken adapter
  cache.truncate(0, 0);
  expect(stateOf(cache, 0)).toBe(0);
});

test("a copy has the state behind its own tokens, and its snapshots", () => {
  const cache = filledCache();
  cache.move(0, 1, 10);
  expect([cache.lengths[1], stateOf(cache, 1)]).toEqual([9, 2]);
  expect(cache.kept(1, 8)).toBe(5);
  cache.move(0, 2);
  expect([cache.lengths[2], stateOf(cache, 2)]).toEqual([12, 3]);
  cache.truncate(0, 0);
  expect([stateOf(cache, 1), stateOf(cache, 2)]).toEqual([2, 3]);
});

test("slots keep their states when there are more of them", () => {
  const cache = filledCache();
  cache.resize(4, 128);
  expect([stateOf(cache, 0), stateOf(cache, 3)]).toEqual([3, 0]);
  expect(cache.kept(0, 11)).toBe(9);
  expect(cache.bytes).toBe(4 * (128 * cache.bytesPerPosition + cache.states.bytesPerSlot));
});

test("the shortest snapshots go first where there is no room", () => {
  const cache = filledCache();
  cache.states.limitSnapshots(2 * cache.states.bytesPerSlot);
  cache.states.keep(0, 12);
  expect([12, 11, 8].map((length) => cache.kept(0, length))).toEqual([12, 9, 0]);
});

test("a step ends where a message ends, but for short ones, and at multiples of 512", () => {
  const tokens = Array.from({ length: 1200 }, (_, i) => ([10, 50, 60, 700].includes(i) ? 2 : 3));
  const stops: number[] = [];
  // in parts of 20 tokens, which end where nothing is kept
  for (let [computed, kept] = [0, 0]; computed < 1200; ) {
    const left = tokensToSnapshot(tokens, { computed, kept, endTokens: [2] });
    computed += Math.min(20, left);
    if (left > 20) continue;
    stops.push(computed);
    kept = computed;
  }
  expect(stops).toEqual([51, 512, 701, 1024]);
  const within = [50, 51, 600, 1200].map((length) => lastSnapshotWithin(tokens, { length, endTokens: [2] }));
  expect(within).toEqual([0, 51, 512, 1024]);
  const isDue = (length: number) => isSnapshotDue(tokens[length - 1], { length, endTokens: [2] });
  expect([51, 512, 701, 52, 513].map(isDue)).toEqual([true, true, true, false, false]);
});

test("without states every number of tokens can be kept", () => {
  const cache = new KVCache(tinyModel().config);
  cache.resize(1, 64);
  cache.lengths[0] = 20;
  expect([21, 20, 7].map((length) => cache.kept(0, length))).toEqual([20, 20, 7]);
  expect(cache.states.bytesPerSlot).toBe(0);
});
