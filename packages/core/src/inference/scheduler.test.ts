import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planMoves } from "./placement.ts";
import { joinParts, type PrefillPart, planStep, type SlotState, WaitingQueue } from "./scheduler.ts";

const state = fc.record({
  pending: fc.integer({ min: 0, max: 40 }),
  allLogits: fc.boolean(),
  embeds: fc.boolean(),
});
const slotStates = fc.array(state, { maxLength: 8 }).chain((states) =>
  fc.shuffledSubarray([...states.keys()], { minLength: states.length }).map((orders): readonly SlotState[] =>
    states.map(({ pending, allLogits, embeds }, slot) => ({
      slot,
      order: orders[slot] as number,
      pending,
      allLogits: allLogits && pending > 0,
      embeds: embeds && pending > 0,
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
        const isPrefilled = ({ pending, allLogits, embeds }: SlotState) => pending > 1 || allLogits || embeds;
        // exactly the slots with one pending token decode, where logits of that token are all that is needed
        expect(decode).toEqual(
          slots.filter((one) => one.pending === 1 && !isPrefilled(one)).map(({ slot }) => slot),
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
        const prefilling = slots.filter(isPrefilled);
        if (prefilling.length > 0) {
          expect(prefill.length).toBeGreaterThan(0);
          expect(orders[0]).toBe(Math.min(...prefilling.map(({ order }) => order)));
        }
      }),
    );
  });

  test("prefills in small chunks while other slots decode, and in large ones otherwise", () => {
    const prefilling = { slot: 0, order: 1, pending: 100, allLogits: false, embeds: false };
    const decoding = { slot: 1, order: 0, pending: 1, allLogits: false, embeds: false };
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
    expect(planStep([{ ...decoding, embeds: true }], options)).toEqual({
      prefill: [{ slot: 1, tokens: 1 }],
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

describe("joinParts", () => {
  const part = (slot: number, tokens: number): PrefillPart => ({ slot, tokens });
  const join = (parts: readonly PrefillPart[], { only = -1, limit = 100 } = {}) =>
    joinParts(parts, { canJoin: (slot) => slot !== only, limit }).map((own) => own.map(({ slot }) => slot));

  test("joins neighbours of similar lengths, without much padding", () => {
    expect(join([part(0, 30), part(1, 28), part(2, 31)])).toEqual([[0, 1, 2]]);
    expect(join([part(0, 30), part(1, 10), part(2, 9)])).toEqual([[0], [1, 2]]);
    expect(join([part(0, 10), part(2, 10), part(1, 10)])).toEqual([[0], [2], [1]]);
  });

  test("keeps apart what cannot be joined, or is more than the limit", () => {
    const parts = [part(0, 30), part(1, 30), part(2, 30), part(3, 30)];
    expect(join(parts, { only: 1 })).toEqual([[0], [1], [2, 3]]);
    expect(join(parts)).toEqual([[0, 1, 2], [3]]);
    expect(join(parts, { limit: 20 })).toEqual([[0], [1], [2], [3]]);
  });
});

const makeQueue = (...items: readonly string[]): WaitingQueue<string> => {
  const queue = new WaitingQueue<string>();
  for (const item of items) queue.push(item[0] as string, item);
  return queue;
};

/** Serves the first item and charges its tenant. */
function serve(queue: WaitingQueue<string>, tokens: number): string {
  const [item = ""] = queue.first(1);
  queue.remove(item[0] as string, item);
  queue.charge(item[0] as string, tokens);
  return item;
}

describe("tenants", () => {
  test("alternate, and each tenant's requests keep their order", () => {
    const queue = makeQueue("a1", "a2", "a3", "b1", "c1", "b2");
    expect(queue.first(10)).toEqual(["a1", "b1", "c1", "a2", "b2", "a3"]);
    expect(queue.first(2)).toEqual(["a1", "b1"]);
    expect([...queue]).toHaveLength(6);
    expect([...queue]).toHaveLength(6);
  });

  test("with fewer tokens served come first", () => {
    const queue = makeQueue("a1", "a2", "b1", "b2");
    queue.charge("a", 5);
    expect(queue.first(10)).toEqual(["b1", "a1", "b2", "a2"]);
    queue.charge("b", 6);
    expect(queue.first(1)).toEqual(["a1"]);
  });

  test("accumulate no credit while idle", () => {
    const queue = makeQueue("a1", "a2");
    queue.charge("a", 1000);
    queue.push("b", "b1");
    queue.charge("b", 10);
    // b's counter starts at a's rather than 1,000 tokens below it
    expect(queue.first(1)).toEqual(["a1"]);
  });

  test("that arrive at an empty queue start at the counter of the last tenant that left it", () => {
    const queue = makeQueue("a1");
    queue.charge("a", 1000);
    queue.remove("a", "a1");
    queue.push("b", "b1");
    queue.push("b", "b2");
    queue.push("a", "a2");
    queue.charge("b", 10);
    expect(queue.first(1)).toEqual(["a2"]);
  });

  test("find a preempted request at the front of their queue", () => {
    const queue = makeQueue("a1", "a2");
    queue.remove("a", "a1");
    queue.pushFirst("a", "a1");
    expect(queue.first(2)).toEqual(["a1", "a2"]);
    queue.remove("a", "unknown");
    queue.remove("z", "unknown");
    expect([...queue]).toHaveLength(2);
  });

  test("without waiting requests are forgotten beyond a limit; the others are kept", () => {
    const queue = makeQueue("a1", "b1", "c1");
    queue.charge("a", 50);
    queue.remove("a", "a1");
    queue.prune(3);
    queue.push("a", "a2");
    expect(queue.first(1)).toEqual(["b1"]);
    queue.remove("a", "a2");
    queue.prune(2);
    queue.push("a", "a3");
    queue.charge("b", 1);
    queue.charge("c", 1);
    expect(queue.first(3)).toEqual(["a3", "b1", "c1"]);
  });
});

test("while two tenants wait, neither is served more than one request ahead of the other", () => {
  const costs = fc.array(fc.integer({ min: 1, max: 100 }), { minLength: 2, maxLength: 40 });
  fc.assert(
    fc.property(costs, fc.integer({ min: 0, max: 500 }), (all, past) => {
      const queue = makeQueue("a0");
      queue.charge("a", past);
      for (const [i] of all.entries())
        for (const tenant of ["a", "b"]) queue.push(tenant, `${tenant}${i + 1}`);
      const served = { a: 0, b: 0 };
      for (const cost of all) {
        const tenant = serve(queue, cost)[0] as "a" | "b";
        served[tenant] += cost;
        expect(Math.abs(served.a - served.b)).toBeLessThanOrEqual(100);
      }
    }),
  );
});
