import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { planSharing, type RowContent } from "./share-beginnings.ts";

const tokensOf = (length: number, first = 0): readonly number[] =>
  Array.from({ length }, (_, i) => (i === 0 ? first : i));

const reading = (row: number, computed: number, over: Partial<RowContent> = {}): RowContent => {
  const tokens = over.tokens ?? tokensOf(200);
  return {
    row,
    owner: "a",
    tokens,
    computed,
    reader: { order: row, firstWanted: tokens.length - 1 },
    ...over,
  };
};

describe("prompts that begin alike", () => {
  test("wait for the one that came first", () => {
    const { copies, waiting } = planSharing([reading(0, 0), reading(1, 0), reading(2, 0)]);
    expect(copies).toEqual([]);
    expect([...waiting]).toEqual([1, 2]);
  });

  test("copy what it has read, and wait for the rest", () => {
    const { copies, waiting } = planSharing([reading(0, 100), reading(1, 0)]);
    expect(copies).toEqual([{ from: 0, to: 1, length: 100 }]);
    expect([...waiting]).toEqual([1]);
  });

  test("go on by themselves from where they part", () => {
    const other = [...tokensOf(90), ...Array(110).fill(7)];
    const { copies, waiting } = planSharing([reading(0, 100), reading(1, 0, { tokens: other })]);
    expect(copies).toEqual([{ from: 0, to: 1, length: 90 }]);
    expect([...waiting]).toEqual([]);
  });

  test("copy from what an earlier request has left", () => {
    const left: RowContent = { row: 3, owner: "a", tokens: tokensOf(150), computed: 150 };
    const { copies, waiting } = planSharing([left, reading(1, 0)]);
    expect(copies).toEqual([{ from: 3, to: 1, length: 150 }]);
    expect(waiting.size).toBe(0);
  });

  test("of another owner have nothing to do with it", () => {
    const { copies, waiting } = planSharing([reading(0, 199), reading(1, 0, { owner: "b" })]);
    expect(copies).toEqual([]);
    expect(waiting.size).toBe(0);
  });

  test("in a few tokens only are read as they are", () => {
    const short = [...tokensOf(20), ...Array(180).fill(7)];
    const { copies, waiting } = planSharing([reading(0, 199), reading(1, 0, { tokens: short })]);
    expect(copies).toEqual([]);
    expect(waiting.size).toBe(0);
  });
});

test("somebody always reads, and nothing is copied that differs or is wanted", () => {
  const rowOf = fc.record({
    owner: fc.constantFrom("a", "b"),
    parts: fc.array(fc.integer({ min: 0, max: 1 }), { minLength: 1, maxLength: 5 }),
    share: fc.double({ min: 0, max: 1, noNaN: true }),
    reads: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(rowOf, { minLength: 1, maxLength: 6 }), (drawn) => {
      const rows = drawn.map(({ owner, parts, share, reads }, row): RowContent => {
        const tokens = parts.flatMap((part) => Array<number>(40).fill(part));
        const firstWanted = tokens.length - 1;
        const content = { row, owner, tokens, computed: Math.floor(share * firstWanted) };
        return reads ? { ...content, reader: { order: drawn.length - row, firstWanted } } : content;
      });
      const { copies, waiting } = planSharing(rows);
      const computed = rows.map((row) => row.computed);
      for (const { from, to, length } of copies) {
        const [source, target] = [rows[from], rows[to]] as [RowContent, RowContent];
        expect(source.owner).toBe(target.owner);
        expect(length).toBeLessThanOrEqual(computed[from] as number);
        expect(length).toBeLessThanOrEqual(target.reader?.firstWanted ?? 0);
        expect(source.tokens.slice(0, length)).toEqual(target.tokens.slice(0, length));
        computed[to] = length;
      }
      const readers = rows.filter(({ reader }) => reader !== undefined);
      if (readers.length > 0) expect(waiting.size).toBeLessThan(readers.length);
    }),
  );
});
