import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planMoves } from "./placement.ts";
import { planStep, type SlotState } from "./scheduler.ts";

const state = fc.record({
  pending: fc.integer({ min: 0, max: 40 }),
  allLogits: fc.boolean(),
});
const slotStates = fc.array(state, { maxLength: 8 }).chain((states) =>
  fc.shuffledSubarray([...states.keys()], { minLength: states.length }).map((orders): readonly SlotState[] =>
    states.map(({ pending, allLogits }, slot) => ({
      slot,
      order: orders[slot] as number,
      pending,
      allLogits: allLogits && pending > 0,
    })),
  ),
);
const turn = fc.record({ prefillChunk: fc.integer({ min: 1, max: 16 }), more: fc.nat({ max: 30 }) });

describe("a step", () => {
  test("keeps the laws of its chunks", () => {
    fc.assert(
      fc.property(slotStates, turn, (slots, { prefillChunk, more }) => {
        const lonePrefillChunk = prefillChunk + more;
        const { prefill, decode } = planStep(slots, { prefillChunk, lonePrefillChunk });
        const of = (slot: number): SlotState => slots[slot] as SlotState;
        // those that write one token are those with one left, and none is left out
        expect(decode).toEqual(
          slots.filter(({ pending, allLogits }) => pending === 1 && !allLogits).map(({ slot }) => slot),
        );
        for (const { slot, tokens } of prefill) {
          expect(decode).not.toContain(slot);
          expect(tokens).toBeGreaterThan(0);
          expect(tokens).toBeLessThanOrEqual(of(slot).allLogits ? prefillChunk : lonePrefillChunk);
          expect(tokens).toBeLessThanOrEqual(of(slot).pending);
        }
        const total = prefill.reduce((sum, { tokens }) => sum + tokens, 0);
        expect(total).toBeLessThanOrEqual(decode.length > 0 ? prefillChunk : lonePrefillChunk);
        // whoever came first reads first, and nobody reads while an earlier one could have gone on
        const orders = prefill.map(({ slot }) => of(slot).order);
        expect(orders).toEqual([...orders].sort((a, b) => a - b));
        const readers = slots.filter(({ pending, allLogits }) => pending > 1 || allLogits);
        if (readers.length > 0) {
          expect(prefill.length).toBeGreaterThan(0);
          expect(orders[0]).toBe(Math.min(...readers.map(({ order }) => order)));
        }
      }),
    );
  });

  test("reads a prompt in chunks while others write, and at a stretch where nobody does", () => {
    const reads = { slot: 0, order: 1, pending: 100, allLogits: false };
    const writes = { slot: 1, order: 0, pending: 1, allLogits: false };
    const options = { prefillChunk: 8, lonePrefillChunk: 64 };
    expect(planStep([reads, writes], options)).toEqual({ prefill: [{ slot: 0, tokens: 8 }], decode: [1] });
    expect(planStep([reads], options)).toEqual({ prefill: [{ slot: 0, tokens: 64 }], decode: [] });
    expect(planStep([{ ...reads, allLogits: true }], options)).toEqual({
      prefill: [{ slot: 0, tokens: 8 }],
      decode: [],
    });
  });
});

test("moves fill the lowest slots and leave no gap", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: 15 })), (taken) => {
      const slots = new Set(taken);
      for (const { from, to } of planMoves(taken)) {
        expect(slots.has(from)).toBe(true);
        expect(slots.has(to)).toBe(false);
        slots.delete(from);
        slots.add(to);
      }
      expect([...slots].sort((a, b) => a - b)).toEqual(taken.map((_, i) => i));
      expect(planMoves([...slots])).toEqual([]);
    }),
  );
});
