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
const turn = fc.record({
  prefillChunk: fc.integer({ min: 1, max: 16 }),
  more: fc.nat({ max: 30 }),
  scoringChunk: fc.integer({ min: 1, max: 16 }),
});

describe("planStep", () => {
  test("decodes every slot with one pending token and prefills the oldest prompts within the chunk limits", () => {
    fc.assert(
      fc.property(slotStates, turn, (slots, { prefillChunk, more, scoringChunk }) => {
        const lonePrefillChunk = prefillChunk + more;
        const { prefill, decode } = planStep(slots, { prefillChunk, lonePrefillChunk, scoringChunk });
        const of = (slot: number): SlotState => slots[slot] as SlotState;
        // exactly the slots with one pending token decode
        expect(decode).toEqual(
          slots.filter(({ pending, allLogits }) => pending === 1 && !allLogits).map(({ slot }) => slot),
        );
        for (const { slot, tokens } of prefill) {
          expect(decode).not.toContain(slot);
          expect(tokens).toBeGreaterThan(0);
          expect(tokens).toBeLessThanOrEqual(of(slot).allLogits ? scoringChunk : lonePrefillChunk);
          expect(tokens).toBeLessThanOrEqual(of(slot).pending);
        }
        const total = prefill.reduce((sum, { tokens }) => sum + tokens, 0);
        expect(total).toBeLessThanOrEqual(decode.length > 0 ? prefillChunk : lonePrefillChunk);
        // prompts are prefilled in order of arrival, beginning with the oldest
        const orders = prefill.map(({ slot }) => of(slot).order);
        expect(orders).toEqual([...orders].sort((a, b) => a - b));
        const prefilling = slots.filter(({ pending, allLogits }) => pending > 1 || allLogits);
        if (prefilling.length > 0) {
          expect(prefill.length).toBeGreaterThan(0);
          expect(orders[0]).toBe(Math.min(...prefilling.map(({ order }) => order)));
        }
      }),
    );
  });

  test("prefills in small chunks while other slots decode, and in large ones otherwise", () => {
    const prefilling = { slot: 0, order: 1, pending: 100, allLogits: false };
    const decoding = { slot: 1, order: 0, pending: 1, allLogits: false };
    const options = { prefillChunk: 8, lonePrefillChunk: 64, scoringChunk: 4 };
    expect(planStep([prefilling, decoding], options)).toEqual({
      prefill: [{ slot: 0, tokens: 8 }],
      decode: [1],
    });
    expect(planStep([prefilling], options)).toEqual({ prefill: [{ slot: 0, tokens: 64 }], decode: [] });
    expect(planStep([{ ...prefilling, allLogits: true }], options)).toEqual({
      prefill: [{ slot: 0, tokens: 4 }],
      decode: [],
    });
  });
});

test("planMoves fills the lowest slots and leaves no gap", () => {
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
