import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { tinyModel } from "../../test/tiny-model.ts";
import type { AdapterLease } from "./adapters/manager.ts";
import type { ModelRunner } from "./model-runner.ts";
import { Placement, planPrefixes, type SlotContent } from "./placement.ts";
import type { Sequence } from "./sequence.ts";
import { AdapterSlots, KVCache } from "./slots.ts";

const makeTokens = (length: number, first = 0): readonly number[] =>
  Array.from({ length }, (_, i) => (i === 0 ? first : i));

const prefilling = (slot: number, computed: number, over: Partial<SlotContent> = {}): SlotContent => {
  const tokens = over.tokens ?? makeTokens(200);
  return {
    slot,
    owner: "a",
    tokens,
    computed,
    reader: { order: slot, firstLogits: tokens.length - 1 },
    ...over,
  };
};

describe("prompts with a common prefix", () => {
  test("wait for the oldest request to compute it", () => {
    const { copies, waiting } = planPrefixes([prefilling(0, 0), prefilling(1, 0), prefilling(2, 0)]);
    expect(copies).toEqual([]);
    expect([...waiting]).toEqual([1, 2]);
  });

  test("are not waited for where their slot will keep none of them", () => {
    const [first, second] = [prefilling(0, 0, { coming: () => 0 }), prefilling(1, 0)];
    expect([...planPrefixes([first, second]).waiting]).toEqual([]);
  });

  test("copy what is computed, and wait for the rest", () => {
    const { copies, waiting } = planPrefixes([prefilling(0, 100), prefilling(1, 0)]);
    expect(copies).toEqual([{ from: 0, to: 1, length: 100 }]);
    expect([...waiting]).toEqual([1]);
  });

  test("compute their own tokens from where they diverge", () => {
    const other = [...makeTokens(90), ...Array(110).fill(7)];
    const { copies, waiting } = planPrefixes([prefilling(0, 100), prefilling(1, 0, { tokens: other })]);
    expect(copies).toEqual([{ from: 0, to: 1, length: 90 }]);
    expect([...waiting]).toEqual([]);
  });

  test("copy from the slot of a finished request", () => {
    const left: SlotContent = { slot: 3, owner: "a", tokens: makeTokens(150), computed: 150 };
    const { copies, waiting } = planPrefixes([left, prefilling(1, 0)]);
    expect(copies).toEqual([{ from: 3, to: 1, length: 150 }]);
    expect(waiting.size).toBe(0);
  });

  test("are not shared between owners", () => {
    const { copies, waiting } = planPrefixes([prefilling(0, 199), prefilling(1, 0, { owner: "b" })]);
    expect(copies).toEqual([]);
    expect(waiting.size).toBe(0);
  });

  test("are not shared where the prefix is short", () => {
    const short = [...makeTokens(20), ...Array(180).fill(7)];
    const { copies, waiting } = planPrefixes([prefilling(0, 199), prefilling(1, 0, { tokens: short })]);
    expect(copies).toEqual([]);
    expect(waiting.size).toBe(0);
  });
});

test("one slot always computes; only equal prefixes of the same owner are copied, and none whose logits are needed", () => {
  const arbitrarySlot = fc.record({
    owner: fc.constantFrom("a", "b"),
    parts: fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 5 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    reads: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(arbitrarySlot, { minLength: 1, maxLength: 6 }), (drawn) => {
      const slots = drawn.map(({ owner, parts, share, reads }, slot): SlotContent => {
        const tokens = parts.flatMap((part) => Array<number>(40).fill(part));
        const firstLogits = tokens.length - 1;
        const content = { slot, owner, tokens, computed: Math.floor(share * firstLogits) };
        return reads ? { ...content, reader: { order: drawn.length - slot, firstLogits } } : content;
      });
      const { copies, waiting } = planPrefixes(slots);
      const computed = slots.map((one) => one.computed);
      for (const { from, to, length } of copies) {
        const [source, target] = [slots[from], slots[to]] as [SlotContent, SlotContent];
        expect(source.owner).toBe(target.owner);
        expect(length).toBeLessThanOrEqual(computed[from] as number);
        expect(length).toBeLessThanOrEqual(target.reader?.firstLogits ?? 0);
        expect(source.tokens.slice(0, length)).toEqual(target.tokens.slice(0, length));
        computed[to] = length;
      }
      const readers = slots.filter(({ reader }) => reader !== undefined);
      if (readers.length > 0) expect(waiting.size).toBeLessThan(readers.length);
    }),
  );
});

test("when the last adapter of a shared format has ended, slots get factors of their own only where they have room", () => {
  const { config } = tinyModel();
  const [cache, slots] = [new KVCache(config), new AdapterSlots(config)];
  const runner = { config, cache, slots, sharesFactors: true } as unknown as ModelRunner;
  const slotMemory = 8 * slots.bytesPerRank;
  const placement = new Placement(runner, { maxBatch: 8, cacheMemory: 1e9, slotMemory });
  const expand = () => new Map();
  const lease = { digest: "xs", rank: 4, expand, shared: { key: "key", expand } } as unknown as AdapterLease;
  const sequence = (own?: AdapterLease): Sequence => {
    const request = { tenant: "", prompt: [1, 2], maxTokens: 5 };
    return {
      tokens: [1, 2],
      firstLogits: 1,
      digest: own?.digest ?? null,
      lease: own,
      request,
    } as unknown as Sequence;
  };
  for (const own of [lease, ...Array.from({ length: 5 }, () => undefined)]) {
    expect(placement.fits(sequence(own))).toBe(true);
    placement.place(sequence(own));
  }
  placement.release(0);
  for (const left of [5, 4, 3]) {
    placement.trim();
    expect([placement.count, slots.bytes <= slotMemory]).toEqual([left, true]);
    expect(slots.shared).toBe(left > 4 ? "key" : undefined);
    placement.release(placement.entries()[0]![0]);
  }
});
