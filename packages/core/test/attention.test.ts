// Attention of training in packed rows, against its definition.
import fc from "fast-check";
import {
  attention,
  compile,
  constant,
  leaf,
  packedBlocks,
  type RotationTables,
  rotate,
  rotateJoined,
} from "mixture-of-shards-graph";
import { describe, expect, test } from "vitest";
import { randomStream } from "#common";
import { runs } from "../../../test/runs.ts";

// heads · key heads · head width
const [H, K, D] = [4, 2, 3];
const SCALE = 0.8;

interface Choices {
  readonly window?: number;
  readonly softCap?: number;
  readonly maxSegment?: number;
  readonly blockSize: number;
}

/** Vectors of one kind, by head and token. */
type Heads = (head: number, token: number) => readonly number[];

const splitHeads =
  (data: Float32Array, S: number): Heads =>
  (head, token) => [...data.subarray((head * S + token) * D, (head * S + token + 1) * D)];

/** Random q, k and v of a row with examples of these lengths, and what attention gives: [1, heads, S, D] each. */
async function packedAttention(lengths: readonly number[], { softCap, ...options }: Choices) {
  const S = lengths.reduce((a, b) => a + b, 0);
  const random = randomStream(S, "heads");
  const draw = (heads: number) => Float32Array.from({ length: heads * S * D }, () => 2 * random.normal());
  const data = { q: draw(H), k: draw(K), v: draw(K) };
  const ids = Int32Array.from(lengths.flatMap((n, i) => Array<number>(n).fill(i + 1)));
  const heads = (name: string, count: number) => leaf(name, [1, count, S, D]);
  const y = attention(heads("q", H), heads("k", K), {
    v: heads("v", K),
    scale: SCALE,
    softCap,
    blocks: packedBlocks(constant(ids, [1, S]), options),
  });
  await using program = await compile({ y });
  const found = await program.run({
    q: { shape: [1, H, S, D], data: data.q },
    k: { shape: [1, K, S, D], data: data.k },
    v: { shape: [1, K, S, D], data: data.v },
  });
  return {
    q: splitHeads(data.q, S),
    k: splitHeads(data.k, S),
    v: splitHeads(data.v, S),
    y: splitHeads(found["y"]!.data as Float32Array, S),
  };
}

const dot = (a: readonly number[], b: readonly number[]): number => a.reduce((s, x, i) => s + x * b[i]!, 0);

/** The definition: what a token sees whose example begins at `from`. */
function seen(
  { q, k, v }: { readonly q: Heads; readonly k: Heads; readonly v: Heads },
  [head, token, from]: readonly [number, number, number],
  { window = Number.POSITIVE_INFINITY, softCap }: Choices,
): readonly number[] {
  const shared = Math.floor(head / (H / K));
  const first = Math.max(from, token - window + 1);
  const keys = Array.from({ length: token - first + 1 }, (_, i) => first + i);
  const weights = keys.map((key) => {
    const score = SCALE * dot(q(head, token), k(shared, key));
    return Math.exp(softCap === undefined ? score : softCap * Math.tanh(score / softCap));
  });
  const total = weights.reduce((a, b) => a + b, 0);
  return Array.from(
    { length: D },
    (_, d) =>
      dot(
        weights,
        keys.map((key) => v(shared, key)[d]!),
      ) / total,
  );
}

const lengths = fc.array(fc.integer({ min: 1, max: 8 }), { minLength: 1, maxLength: 4 });
const choices = fc.record(
  {
    window: fc.integer({ min: 1, max: 9 }),
    softCap: fc.double({ min: 0.2, max: 3, noNaN: true }),
    maxSegment: fc.constant(8),
    blockSize: fc.integer({ min: 1, max: 6 }),
  },
  { requiredKeys: ["blockSize"] },
);

test("a query sees the last tokens of its own example, whatever else is in its row", async () => {
  await fc.assert(
    fc.asyncProperty(lengths, choices, async (examples, chosen) => {
      const { y, ...heads } = await packedAttention(examples, chosen);
      let from = 0;
      for (const length of examples) {
        for (let at = 0; at < H * length; at++) {
          const [head, token] = [at % H, from + Math.floor(at / H)];
          const expected = seen(heads, [head, token, from], chosen);
          const worst = Math.max(...y(head, token).map((x, d) => Math.abs(x - expected[d]!)));
          expect(worst, `head ${head} of token ${token}`).toBeLessThan(1e-4);
        }
        from += length;
      }
    }),
    { numRuns: runs(60) },
  );
});

describe("rotation of a part of each head", () => {
  const [S, width] = [3, 8];
  const positions = constant(Int32Array.of(5, 0, 2), [1, S], "int64");
  const angle = (position: number, i: number) => position / 7 ** i;
  const tables = (half: number): RotationTables => {
    const of = (f: (x: number) => number) =>
      constant(
        Float32Array.from({ length: 6 * half }, (_, i) => f(angle(Math.floor(i / half), i % half))),
        [6, half],
      );
    return { cosine: of(Math.cos), sine: of(Math.sin) };
  };
  const x = (head: number, s: number, i: number) => Math.sin(1 + head * 31 + s * 7 + i);

  test.each([1, 3, 4])("turns %i pairs and leaves the rest, in both forms of heads", async (half) => {
    await using program = await compile({
      y: rotate(leaf("apart", [1, 2, S, width]), positions, tables(half)),
      yJoined: rotateJoined(leaf("joined", [1, S, 2 * width]), positions, { ...tables(half), heads: 2 }),
    });
    const numbers = (f: (i: number) => number) =>
      Float32Array.from({ length: 2 * S * width }, (_, i) => f(i));
    const splitAt = (i: number) =>
      [Math.floor(i / (S * width)), Math.floor(i / width) % S, i % width] as const;
    const joinedAt = (i: number) =>
      [Math.floor(i / width) % 2, Math.floor(i / (2 * width)), i % width] as const;
    const turned = (head: number, s: number, i: number): number => {
      if (i >= 2 * half) return x(head, s, i);
      const turn = angle([5, 0, 2][s]!, i % half);
      const other = i < half ? -x(head, s, i + half) : x(head, s, i - half);
      return x(head, s, i) * Math.cos(turn) + other * Math.sin(turn);
    };
    const found = await program.run({
      apart: { shape: [1, 2, S, width], data: numbers((i) => x(...splitAt(i))) },
      joined: { shape: [1, S, 2 * width], data: numbers((i) => x(...joinedAt(i))) },
    });
    found["y"]!.data.forEach((y, i) => {
      expect(y).toBeCloseTo(turned(...splitAt(i)), 5);
    });
    found["yJoined"]!.data.forEach((y, i) => {
      expect(y).toBeCloseTo(turned(...joinedAt(i)), 5);
    });
  });
});
