import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planMoves, planTurn, type RowState } from "./plan.ts";

const state = fc.record({
  pending: fc.integer({ min: 0, max: 40 }),
  everyPlace: fc.boolean(),
});
const rowStates = fc.array(state, { maxLength: 8 }).chain((states) =>
  fc.shuffledSubarray([...states.keys()], { minLength: states.length }).map((orders): readonly RowState[] =>
    states.map(({ pending, everyPlace }, row) => ({
      row,
      order: orders[row] as number,
      pending,
      everyPlace: everyPlace && pending > 0,
    })),
  ),
);
const turn = fc.record({ chunk: fc.integer({ min: 1, max: 16 }), more: fc.nat({ max: 30 }) });

describe("a turn", () => {
  test("keeps the laws of its chunks", () => {
    fc.assert(
      fc.property(rowStates, turn, (rows, { chunk, more }) => {
        const loneChunk = chunk + more;
        const { prompts, decode } = planTurn(rows, { chunk, loneChunk });
        const of = (row: number): RowState => rows[row] as RowState;
        // those that write one token are those with one left, and none is left out
        expect(decode).toEqual(
          rows.filter(({ pending, everyPlace }) => pending === 1 && !everyPlace).map(({ row }) => row),
        );
        for (const { row, tokens } of prompts) {
          expect(decode).not.toContain(row);
          expect(tokens).toBeGreaterThan(0);
          expect(tokens).toBeLessThanOrEqual(of(row).everyPlace ? chunk : loneChunk);
          expect(tokens).toBeLessThanOrEqual(of(row).pending);
        }
        const total = prompts.reduce((sum, { tokens }) => sum + tokens, 0);
        expect(total).toBeLessThanOrEqual(decode.length > 0 ? chunk : loneChunk);
        // whoever came first reads first, and nobody reads while an earlier one could have gone on
        const orders = prompts.map(({ row }) => of(row).order);
        expect(orders).toEqual([...orders].sort((a, b) => a - b));
        const readers = rows.filter(({ pending, everyPlace }) => pending > 1 || everyPlace);
        if (readers.length > 0) {
          expect(prompts.length).toBeGreaterThan(0);
          expect(orders[0]).toBe(Math.min(...readers.map(({ order }) => order)));
        }
      }),
    );
  });

  test("reads a prompt in chunks while others write, and at a stretch where nobody does", () => {
    const reads = { row: 0, order: 1, pending: 100, everyPlace: false };
    const writes = { row: 1, order: 0, pending: 1, everyPlace: false };
    const options = { chunk: 8, loneChunk: 64 };
    expect(planTurn([reads, writes], options)).toEqual({ prompts: [{ row: 0, tokens: 8 }], decode: [1] });
    expect(planTurn([reads], options)).toEqual({ prompts: [{ row: 0, tokens: 64 }], decode: [] });
    expect(planTurn([{ ...reads, everyPlace: true }], options)).toEqual({
      prompts: [{ row: 0, tokens: 8 }],
      decode: [],
    });
  });
});

test("moves fill the lowest rows and leave no gap", () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: 15 })), (taken) => {
      const rows = new Set(taken);
      for (const { from, to } of planMoves(taken)) {
        expect(rows.has(from)).toBe(true);
        expect(rows.has(to)).toBe(false);
        rows.delete(from);
        rows.add(to);
      }
      expect([...rows].sort((a, b) => a - b)).toEqual(taken.map((_, i) => i));
      expect(planMoves([...rows])).toEqual([]);
    }),
  );
});
