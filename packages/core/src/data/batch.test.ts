import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { randomStream } from "#common";
import {
  type BatchesOptions,
  batches,
  earlierTokens,
  epochOrder,
  makeBatch,
  type PlanOptions,
  packExamples,
  planEpoch,
} from "./batch.ts";
import type { EncodedExample } from "./encode.ts";

/** ids, with the labelled ones negated: [1, 2, -3] trains on 3 only. */
const example = (...tokens: readonly number[]): EncodedExample => ({
  line: 1,
  ids: Int32Array.from(tokens, Math.abs),
  labels: Int32Array.from(tokens, (token) => (token < 0 ? -token : -100)),
  targetTokens: tokens.slice(1).filter((token) => token < 0).length,
  truncated: false,
  truncatedTargets: 0,
});

test("lays two rows out", () => {
  const batch = makeBatch([[example(11, 12, -13), example(-21, -22)], [example(31, -32, 33, -34)]], {
    length: 6,
    padToken: 7,
  });
  expect(batch).toEqual({
    rows: 2,
    length: 6,
    ids: Int32Array.of(11, 12, 13, 21, 22, 7, 31, 32, 33, 34, 7, 7),
    positions: Int32Array.of(0, 1, 2, 0, 1, 0, 0, 1, 2, 3, 0, 0),
    segments: Int32Array.of(1, 1, 1, 2, 2, 0, 1, 1, 1, 1, 0, 0),
    labelIndices: Int32Array.of(1, 3, 6, 8), // the first token of the second example is not predicted
    labelIds: Int32Array.of(13, 22, 32, 34),
    labelSequences: Int32Array.of(0, 1, 2, 2),
    columns: {},
    examples: 3,
    exampleIndices: [0, 1, 2],
    hinted: [],
    rests: [undefined, undefined, undefined],
    sequences: 3,
    tokens: 9,
  });
});

test("lays the sequences of an example out one after another, with the numbers of their targets", () => {
  const pair = {
    ...example(11, -12, 11, -13, -14),
    sequences: [2, 3],
    columns: { reference: Float32Array.of(-1, -2, -3) },
  };
  const weighted = { ...example(21, -22), columns: { weight: Float32Array.of(0.5) } };
  expect(makeBatch([[pair, weighted]], { length: 8, padToken: 7 })).toMatchObject({
    positions: Int32Array.of(0, 1, 0, 1, 2, 0, 1, 0),
    segments: Int32Array.of(1, 1, 2, 2, 2, 3, 3, 0),
    labelIndices: Int32Array.of(0, 2, 3, 5),
    labelIds: Int32Array.of(12, 13, 14, 22),
    labelSequences: Int32Array.of(0, 1, 1, 2),
    columns: { reference: Float32Array.of(-1, -2, -3, 0), weight: Float32Array.of(1, 1, 1, 0.5) },
    examples: 2,
    sequences: 3,
  });
});

test("lays out a prompt once, and the answers to it behind it at the positions that go on from it", () => {
  const pair = { ...example(11, 12, 13, -14, 13, -15, -16), shared: 2, sequences: [2, 3] };
  expect(makeBatch([[example(21, -22), pair]], { length: 10, padToken: 7 })).toMatchObject({
    positions: Int32Array.of(0, 1, 0, 1, 2, 3, 2, 3, 4, 0),
    segments: Int32Array.of(1, 1, 2, 2, 3, 3, 4, 4, 4, 0),
    prompts: Int32Array.of(1, 1, 2, 2, 2, 2, 2, 2, 2, 0),
    labelIndices: Int32Array.of(0, 4, 6, 7),
    labelIds: Int32Array.of(22, 14, 15, 16),
    labelSequences: Int32Array.of(0, 1, 2, 2),
    examples: 2,
    sequences: 3,
    tokens: 9,
  });
});

test("targets among what is shared are those of the first sequence", () => {
  const pair = { ...example(11, -12, -13, -14, 13, -15), shared: 2, sequences: [2, 2] };
  expect(makeBatch([[pair]], { length: 6, padToken: 7 })).toMatchObject({
    labelIndices: Int32Array.of(0, 1, 2, 4),
    labelIds: Int32Array.of(12, 13, 14, 15),
    labelSequences: Int32Array.of(0, 0, 0, 1),
  });
});

test("refuses a row that is too long", () => {
  expect(() =>
    makeBatch([[example(1, 2)], [example(1, -2), example(3)]], { length: 2, padToken: 0 }),
  ).toThrowError("row 1 holds 3 tokens, but the batch is 2 long");
});

const token = fc.integer({ min: 1, max: 999 }).chain((id) => fc.constantFrom(id, -id));
const encoded = fc.array(
  fc.array(token, { minLength: 1, maxLength: 40 }).map((tokens) => example(...tokens)),
  { maxLength: 60 },
);
const options: BatchesOptions = {
  epoch: 0,
  seed: 5,
  batchSize: 3,
  maxLength: 50,
  packing: true,
  padToken: 0,
};

describe("batches", () => {
  test("every label is predicted inside its own example, and none is lost", () => {
    fc.assert(
      fc.property(encoded, fc.boolean(), (examples, packing) => {
        const all = [...batches(examples, { ...options, packing })];
        for (const batch of all) {
          expect(batch.length).toBeLessThanOrEqual(50);
          expect(batch.tokens).toBe(batch.segments.filter((segment) => segment > 0).length);
          for (const [k, index] of batch.labelIndices.entries()) {
            expect(batch.segments[index]).toBeGreaterThan(0);
            expect(batch.segments[index + 1]).toBe(batch.segments[index]);
            expect(batch.positions[index + 1]).toBe(batch.positions[index]! + 1);
            expect(batch.ids[index + 1]).toBe(batch.labelIds[k]);
          }
        }
        const total = (of: (batch: (typeof all)[number]) => number) => all.reduce((sum, b) => sum + of(b), 0);
        expect(total((b) => b.examples)).toBe(examples.length);
        expect(total((b) => b.tokens)).toBe(examples.reduce((sum, { ids }) => sum + ids.length, 0));
        expect(total((b) => b.labelIds.length)).toBe(
          examples.reduce((sum, { targetTokens }) => sum + targetTokens, 0),
        );
      }),
    );
  });

  test("segment ids ascend along a row and end in padding; position ids ascend along a segment", () => {
    const splitRows = (flat: Int32Array, length: number) =>
      Array.from({ length: flat.length / length }, (_, b) => [
        ...flat.subarray(b * length, (b + 1) * length),
      ]);
    fc.assert(
      fc.property(encoded, (examples) => {
        const batched = [...batches(examples, options)];
        const segments = batched.flatMap((batch) => splitRows(batch.segments, batch.length));
        const positions = batched.flatMap((batch) => splitRows(batch.positions, batch.length));
        for (const [b, row] of segments.entries()) {
          const used = row.filter((segment) => segment > 0);
          expect(row.slice(0, used.length)).toEqual(used);
          expect(used).toEqual([...used].sort((x, y) => x - y));
          expect([...new Set(used)]).toEqual(Array.from(new Set(used), (_, k) => k + 1));
          const expected = row.map((segment, s) => (segment === 0 ? 0 : s - row.indexOf(segment)));
          expect(positions[b]).toEqual(expected);
        }
      }),
    );
  });

  test("start resumes an epoch where it was left", () => {
    fc.assert(
      fc.property(encoded, fc.nat(8), fc.nat(3), (examples, start, epoch) => {
        const whole = [...batches(examples, { ...options, epoch })];
        expect([...batches(examples, { ...options, epoch, start })]).toEqual(whole.slice(start));
      }),
      { numRuns: 50 },
    );
  });

  test("a batch is its longest row rounded up, but never longer than a row may be", () => {
    const batchLengths = (lengthMultiple: number) =>
      [
        ...batches([example(...Array(33).fill(1)), example(1, 2), example(3)], {
          ...options,
          packing: false,
          shuffle: false,
          batchSize: 1,
          lengthMultiple,
        }),
      ].map(({ length }) => length);
    expect(batchLengths(32)).toEqual([50, 32, 32]);
    expect(batchLengths(8)).toEqual([40, 8, 8]);
    expect(batchLengths(1)).toEqual([33, 2, 1]);
  });
});

const base: PlanOptions = { epoch: 0, seed: 0, batchSize: 4, maxLength: 64, packing: true };
const upTo = (n: number) => Array.from({ length: n }, (_, i) => i);
const ascending = (items: readonly number[]) => [...items].sort((a, b) => a - b);
const lengthsUpTo64 = fc.array(fc.integer({ min: 1, max: 64 }), { maxLength: 300 });

describe("planEpoch", () => {
  test("visits every example once, in rows that are not too long and batches that are full but the last", () => {
    fc.assert(
      fc.property(
        lengthsUpTo64,
        fc.boolean(),
        fc.boolean(),
        fc.nat(5),
        (lengths, packing, shuffle, epoch) => {
          const plan = planEpoch(lengths, { ...base, packing, shuffle, epoch });
          expect(ascending(plan.flat(2))).toEqual(upTo(lengths.length));
          for (const row of plan.flat()) {
            const used = row.reduce((sum, i) => sum + lengths[i]!, 0);
            expect(used).toBeLessThanOrEqual(64);
            if (!packing) expect(row).toHaveLength(1);
          }
          for (const batch of plan.slice(0, -1)) expect(batch).toHaveLength(4);
        },
      ),
    );
  });

  const lengths = upTo(500).map((i) => 1 + ((i * 37) % 60));

  test.each([true, false])("depends on seed and epoch only (packed %s)", (packing) => {
    const plan = (seed: number, epoch: number) => planEpoch(lengths, { ...base, packing, seed, epoch });
    expect(plan(3, 1)).toEqual(plan(3, 1));
    expect(plan(3, 1)).not.toEqual(plan(3, 2));
    expect(plan(3, 1)).not.toEqual(plan(4, 1));
  });

  test("is a fixed plan for a fixed seed", () => {
    const options = { ...base, batchSize: 2, maxLength: 10 };
    expect(planEpoch([4, 6, 5, 5, 9, 1], { ...options, shuffle: false })).toEqual([
      [
        [4, 5],
        [1, 0],
      ],
      [[2, 3]],
    ]);
    expect(planEpoch([3, 2, 1], { ...options, packing: false, shuffle: false })).toEqual([[[0], [1]], [[2]]]);
  });

  test("rows come in no order of their length", () => {
    const rows = planEpoch(lengths, base).flat();
    const longest = rows.map((row) => Math.max(...row.map((i) => lengths[i]!)));
    const half = Math.floor(rows.length / 2);
    const mean = (part: readonly number[]) => part.reduce((sum, x) => sum + x, 0) / part.length;
    expect(Math.abs(mean(longest.slice(0, half)) - mean(longest.slice(half)))).toBeLessThan(8);
  });

  test("has no batches without examples", () => expect(planEpoch([], base)).toEqual([]));

  test.each([
    [{ batchSize: 0 }, /batchSize is 0; give a whole number of at least 1/],
    [{ maxLength: 1.5 }, /maxLength is 1.5/],
    [{ maxLength: 59 }, /an example has 60 tokens, but a row holds 59/],
    [{ maxLength: 59, packing: false }, /an example has 60 tokens, but a row holds 59/],
    [{ seed: -1 }, /seed -1 is invalid/],
  ])("refuses %j", (options, message) => {
    expect(() => planEpoch(lengths, { ...base, ...options })).toThrowError(message);
  });
});

describe("packExamples", () => {
  test("holds its laws for any window", () => {
    fc.assert(
      fc.property(lengthsUpTo64, fc.integer({ min: 1, max: 50 }), (lengths, window) => {
        const rows = packExamples(lengths, { maxLength: 64, window });
        expect(ascending(rows.flat())).toEqual(upTo(lengths.length));
        for (const row of rows) expect(row.reduce((sum, i) => sum + lengths[i]!, 0)).toBeLessThanOrEqual(64);
      }),
    );
  });

  test("fills more than 95 % where examples are short against a row", () => {
    const random = randomStream(0, "lengths");
    const lengths = upTo(4000).map(() => 60 + random.below(240));
    const rows = packExamples(lengths, { maxLength: 512 });
    const fill = lengths.reduce((sum, length) => sum + length, 0) / (rows.length * 512);
    expect(fill).toBeGreaterThan(0.95);
  });
});

test("epochOrder is a permutation of its own for each epoch", () => {
  const order = (epoch: number) => Array.from(epochOrder(50, { seed: 1, epoch }));
  expect(ascending(order(0))).toEqual(upTo(50));
  expect(order(0)).toEqual(order(0));
  expect(order(0)).not.toEqual(order(1));
});

test("the tokens before each one are those of its sequence, through the prompt that it shares", () => {
  // a prompt of two tokens, two answers of two, padding; and a sequence of its own
  const segments = Int32Array.of(1, 1, 2, 2, 3, 3, 0, 1, 1, 1, 1, 2, 2, 0);
  const prompts = Int32Array.of(1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 2, 2, 0);
  const none = 14;
  expect([...earlierTokens({ rows: 2, length: 7, segments, prompts }, 2)]).toEqual([
    ...[none, none, 0, 1, 0, 1, none, none, none, 7, 8, none, none, none], // two before
    ...[none, 0, 1, 2, 1, 4, none, none, 7, 8, 9, none, 11, none], // one before
  ]);
});
