import fc from "fast-check";
import type { HostTensor } from "mixture-of-shards-graph";
import { expect, test } from "vitest";
import type { FactorMap } from "#adapters";
import { listLayerGroups } from "#models";
import { AdapterSlots, slotNames } from "../../src/inference/slots.ts";
import { tinyModel } from "../tiny-model.ts";

const { config } = tinyModel();
const SCALE = 0.5;

/** Factors whose numbers are all `mark`, for some of the linear layers. */
function makeFactors(mark: number, rank: number, linears: readonly string[]): FactorMap {
  const all = listLayerGroups(config).flatMap(({ layer, linears, in: width, outs }) =>
    linears.map((linear, part) => ({ layer, linear, width, out: outs[part] as number })),
  );
  return new Map(
    all
      .filter(({ linear }) => linears.includes(linear))
      .map(({ layer, linear, width, out }) => [
        `${layer}.${linear}`,
        {
          rank,
          scale: SCALE,
          a: new Float32Array(rank * width).fill(mark),
          b: new Float32Array(rank * out).fill(mark),
        },
      ]),
  );
}

/** Compares elements directly: the matcher takes seconds for this many numbers. */
const isSame = (found: HostTensor | undefined, shape: readonly number[], data: Float32Array): boolean =>
  found !== undefined &&
  String(found.shape) === String(shape) &&
  found.data.length === data.length &&
  data.every((x, i) => x === found.data[i]);

/** What a slot should hold: of each part, its ranks, and zeros behind them. */
function expectSlot(slots: AdapterSlots, slot: number, held: FactorMap | undefined): void {
  const view = slots.view({ from: slot, count: 1 });
  for (const layerGroup of listLayerGroups(config)) {
    const { in: width, outs } = layerGroup;
    const depth = outs.length * slots.rank;
    const names = slotNames(layerGroup);
    const a = new Float32Array(depth * width);
    layerGroup.linears.forEach((linear, part) => {
      const found = held?.get(`${layerGroup.layer}.${linear}`);
      const [rank, out, first] = [found?.rank ?? 0, outs[part]!, part * slots.rank * width];
      a.fill(found?.a[0] ?? 0, first, first + rank * width);
      const b = new Float32Array(slots.rank * out).fill(SCALE * (found?.b[0] ?? 0), 0, rank * out);
      const name = names.b[part]!;
      expect(isSame(view[name], [1, slots.rank, out], b), `${name} of slot ${slot}`).toBe(true);
    });
    expect(isSame(view[names.a], [1, depth, width], a), `${names.a} of slot ${slot}`).toBe(true);
  }
}

const COUNT = 4;
const slot = fc.nat({ max: COUNT - 1 });
const action = fc.oneof(
  fc.record({
    type: fc.constant("fill" as const),
    slot,
    rank: fc.integer({ min: 1, max: 3 }),
    linears: fc.subarray(["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]),
  }),
  fc.record({ type: fc.constant("clear" as const), slot }),
  fc.record({ type: fc.constant("move" as const), slot, to: slot }),
);

test("a slot holds what was written to it last, whatever happens to the others", () => {
  const slots = new AdapterSlots(config);
  fc.assert(
    fc.property(fc.array(action, { maxLength: 12 }), (actions) => {
      slots.resize(COUNT, 3);
      const held: (FactorMap | undefined)[] = Array(COUNT).fill(undefined);
      actions.forEach((one, i) => {
        if (one.type === "fill") {
          held[one.slot] = makeFactors(i + 1, one.rank, one.linears);
          slots.fill(one.slot, held[one.slot] as FactorMap);
        } else if (one.type === "clear") {
          held[one.slot] = undefined;
          slots.clear(one.slot);
        } else {
          held[one.to] = held[one.slot];
          slots.move(one.slot, one.to);
        }
      });
      for (const [at, factors] of held.entries()) expectSlot(slots, at, factors);
    }),
    { numRuns: 40 },
  );
});

test("bytes are those of the arrays; resizing gives a new version with empty slots", () => {
  const slots = new AdapterSlots(config);
  const seen = new Set([slots.version]);
  for (const [count, rank] of [
    [2, 1],
    [3, 4],
    [1, 2],
    [0, 0],
  ] as const) {
    slots.resize(count, rank);
    seen.add(slots.version);
    expect([slots.count, slots.rank]).toEqual([count, rank]);
    expect(slots.bytes).toBe(count * rank * slots.bytesPerRank);
    const arrays = Object.values(slots.view({ from: 0, count }));
    expect(arrays.reduce((sum, { data }) => sum + data.byteLength, 0)).toBe(slots.bytes);
    for (let at = 0; at < count; at++) {
      expectSlot(slots, at, undefined);
      slots.fill(at, makeFactors(1, rank, ["k_proj"]));
    }
  }
  expect(seen.size).toBe(5);
});
