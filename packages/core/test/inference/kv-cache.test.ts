import fc from "fast-check";
import type { HostTensor } from "mixture-of-shards-graph";
import { describe, expect, test } from "vitest";
import { bytesPerPosition, capacityFor, KVCache } from "#inference";
import { runs } from "../../../../test/runs.ts";
import { tinyModel } from "../tiny-model.ts";

const { config } = tinyModel();
const { layers, keyValueHeads: K, headDim: D } = config;

/** What each slot should hold: one number for each token. */
type Model = number[][];

/** The number that head h (keys of all layers, then values) has of a token. */
const numberAt = (token: number, head: number, d: number): number => token + head / 100 + d / 1000;

/** New keys and values of some slots in the form that a step gives them: [count, 2·L·K, S, D]. */
function makeNewKeysValues(rows: readonly (readonly number[])[], S: number): Float32Array {
  const made = new Float32Array(rows.length * 2 * layers * K * S * D).fill(-99);
  rows.forEach((tokens, i) => {
    for (let head = 0; head < 2 * layers * K; head++)
      tokens.forEach((token, s) => {
        for (let d = 0; d < D; d++)
          made[((i * 2 * layers * K + head) * S + s) * D + d] = numberAt(token, head, d);
      });
  });
  return made;
}

/** Compares elements directly: the matcher takes seconds for this many numbers. */
const isSame = (found: HostTensor | undefined, shape: readonly number[], data: Float32Array): boolean =>
  found !== undefined &&
  String(found.shape) === String(shape) &&
  found.data.length === data.length &&
  data.every((x, i) => x === found.data[i]);

/** Checks every number and mask of the cache; positions without a token must be empty. */
function expectHolds(cache: KVCache, model: Model): void {
  expect(cache.lengths).toEqual(model.map((row) => row.length));
  expect(cache.bytes).toBe(cache.slots * cache.capacity * bytesPerPosition(config));
  const M = cache.capacity;
  for (const [slot, tokens] of model.entries()) {
    const view = cache.view({ from: slot, count: 1 });
    const mask = new Float32Array(M).fill(-1e30).fill(0, 0, tokens.length);
    expect(isSame(view["past_mask"], [1, 1, 1, M], mask), `mask of slot ${slot}`).toBe(true);
    for (let layer = 0; layer < layers; layer++)
      for (const [kind, first] of [
        ["k", 0],
        ["v", layers * K],
      ] as const) {
        const expected = new Float32Array(K * M * D);
        for (let head = 0; head < K; head++)
          tokens.forEach((token, m) => {
            for (let d = 0; d < D; d++)
              expected[(head * M + m) * D + d] = numberAt(token, first + layer * K + head, d);
          });
        const found = view[`past.${layer}.${kind}`];
        expect(isSame(found, [1, K, M, D], expected), `${kind} of slot ${slot}`).toBe(true);
      }
  }
}

const slot = fc.nat({ max: 3 });
const action = fc.oneof(
  fc.record({
    type: fc.constant("append" as const),
    slot,
    counts: fc.array(fc.nat({ max: 4 }), { minLength: 1, maxLength: 3 }),
  }),
  fc.record({ type: fc.constant("move" as const), slot, to: slot }),
  fc.record({
    type: fc.constant("truncate" as const),
    slot,
    share: fc.double({ min: 0, max: 1, noNaN: true }),
  }),
  fc.record({
    type: fc.constant("resize" as const),
    slots: fc.nat({ max: 4 }),
    capacity: fc.integer({ min: 1, max: 16 }),
  }),
);
type Action = typeof action extends fc.Arbitrary<infer T> ? T : never;

/** Applies an action to the cache and to its model; actions that an engine would not take are skipped. */
function act(cache: KVCache, model: Model, one: Action, next: () => number): void {
  if (one.type === "resize") {
    const longest = Math.max(0, ...model.slice(0, one.slots).map((held) => held.length));
    cache.resize(one.slots, Math.max(longest, one.capacity));
    model.length = Math.min(model.length, one.slots);
    while (model.length < one.slots) model.push([]);
  } else if (one.slot >= model.length) return;
  else if (one.type === "append") {
    const rows = one.counts
      .slice(0, model.length - one.slot)
      .map((count, i) => Math.min(count, cache.capacity - (model[one.slot + i]?.length ?? 0)))
      .map((count) => Array.from({ length: count }, next));
    const S = Math.max(...rows.map((tokens) => tokens.length));
    cache.append(
      new Map([[D, makeNewKeysValues(rows, S)]]),
      rows.map((tokens) => tokens.length),
      { from: one.slot, tokens: S },
    );
    rows.forEach((tokens, i) => {
      model[one.slot + i]?.push(...tokens);
    });
  } else if (one.type === "truncate") {
    const length = Math.round(one.share * (model[one.slot]?.length ?? 0));
    cache.truncate(one.slot, length);
    model[one.slot]?.splice(length);
  } else if (one.to < model.length && one.to !== one.slot) {
    cache.move(one.slot, one.to);
    model[one.to] = [...(model[one.slot] ?? [])];
  }
}

test("slots hold exactly what was appended, moved and kept", () => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 25 }), (actions) => {
      const cache = new KVCache(config);
      const model: Model = [[], [], []];
      cache.resize(3, 8);
      let token = 0;
      for (const one of actions) act(cache, model, one, () => ++token);
      expectHolds(cache, model);
    }),
    { numRuns: runs(150) },
  );
});

describe("sizes", () => {
  test("a view is stale once the arrays were replaced, and only then", () => {
    const cache = new KVCache(config);
    cache.resize(2, 64);
    const { version } = cache;
    cache.resize(2, 64);
    cache.truncate(1, 0);
    cache.move(0, 1);
    expect(cache.version).toBe(version);
    const before = cache.view({ from: 0, count: 2 })["past_mask"]?.data;
    cache.append(new Map([[D, makeNewKeysValues([[7]], 1)]]), [1], { from: 1, tokens: 1 });
    expect(before?.[64]).toBe(0);
    cache.resize(2, 128);
    expect(cache.version).toBeGreaterThan(version);
  });

  test("positions come in blocks of 64", () => {
    expect([0, 1, 64, 65, 128, 129].map(capacityFor)).toEqual([64, 64, 64, 128, 128, 192]);
    expect(bytesPerPosition(config)).toBe(2 * layers * K * D * 4);
  });
});
