// The gated delta rule in chunks, forward and backward, against the recurrence in double precision.
import { expect, test } from "vitest";
import { grad } from "../grad.ts";
import { randomStream } from "../random.ts";
import { compile } from "../runtime/program.ts";
import { constant, leaf } from "../value.ts";
import { gatedDeltaRule } from "./delta.ts";
import { mul } from "./elementwise.ts";
import { sum } from "./reduce.ts";

// key heads · value heads · key width · value width
const [K, H, D, E] = [2, 4, 8, 5];
const G = H / K;

/** Inputs of a row, and the gradient of the result. */
interface Row {
  readonly q: Float32Array;
  readonly k: Float32Array;
  readonly v: Float32Array;
  readonly decay: Float32Array;
  readonly beta: Float32Array;
  readonly dy: Float32Array;
}

/** Numbers of each token. */
const WIDTHS = { q: K * D, k: K * D, v: H * E, decay: H, beta: H, dy: H * E } as const;

interface Choices {
  /** The largest share of a logarithm that a token loses. */
  readonly decay: number;
  /** Length of what keys differ by, beside 1. */
  readonly noise: number;
  readonly beta?: number;
}

function drawRow(length: number, { decay, noise, beta }: Choices): Row {
  const random = randomStream(length, `delta ${decay} ${noise}`);
  const draw = (width: number, next: (i: number) => number) =>
    Float32Array.from({ length: length * width }, (_, i) => next(i));
  const normal = () => random.normal();
  const common = Float64Array.from({ length: K * D }, normal);
  const unit = (x: Float32Array): Float32Array => {
    for (let from = 0; from < x.length; from += D) {
      const head = x.subarray(from, from + D);
      head.set(head.map((value) => value / Math.hypot(...head)));
    }
    return x;
  };
  return {
    q: unit(draw(K * D, normal)),
    k: unit(draw(K * D, (i) => (noise < 1 ? common[i % (K * D)]! : 0) + noise * random.normal())),
    v: draw(H * E, normal),
    // some tokens keep nearly all, among others that keep little
    decay: draw(H, () => -decay * random.uniform() ** 3),
    beta: draw(H, () => beta ?? random.uniform()),
    dy: draw(H * E, normal),
  };
}

type Tokens = Record<keyof Row | "y", Float64Array>;

/** The recurrence of one head over tokens from … to − 1, and its gradients, which are added to `out`. */
function recur(row: Row, { head, from, to }: { head: number; from: number; to: number }, out: Tokens): void {
  const key = Math.floor(head / G);
  const at = (name: "q" | "k" | "v" | "dy", t: number): readonly [number, number] =>
    name === "q" || name === "k" ? [(t * K + key) * D, D] : [(t * H + head) * E, E];
  const vector = (name: "q" | "k" | "v" | "dy", t: number): readonly number[] => {
    const [begin, width] = at(name, t);
    return [...row[name].subarray(begin, begin + width)];
  };
  const plus = (name: "q" | "k" | "v" | "dy" | "y", t: number, value: (i: number) => number): void => {
    const [begin, width] = at(name === "y" ? "v" : name, t);
    for (let i = 0; i < width; i++) out[name][begin + i]! += value(i);
  };
  const scale = D ** -0.5;
  const dot = (a: readonly number[], b: readonly number[]) => a.reduce((total, x, i) => total + x * b[i]!, 0);
  const change = (state: number[][], by: (value: number, d: number, e: number) => number): void => {
    for (const [d, values] of state.entries()) state[d] = values.map((value, e) => by(value, d, e));
  };
  const column = (state: readonly number[][], e: number) => state.map((values) => values[e]!);
  let state = Array.from({ length: D }, () => Array<number>(E).fill(0));
  const kept: { decayed: number[][]; state: number[][]; error: number[]; delta: number[] }[] = [];
  for (let t = from; t < to; t++) {
    const [k, v, q] = [vector("k", t), vector("v", t), vector("q", t)];
    const left = Math.exp(row.decay[t * H + head]!);
    const decayed = state.map((values) => values.map((value) => value * left));
    const error = v.map((value, e) => value - dot(column(decayed, e), k));
    const delta = error.map((value) => value * row.beta[t * H + head]!);
    state = decayed.map((values, d) => values.map((value, e) => value + k[d]! * delta[e]!));
    const read = state;
    plus("y", t, (e) => scale * dot(column(read, e), q));
    kept.push({ decayed, state, error, delta });
  }
  const dState = Array.from({ length: D }, () => Array<number>(E).fill(0));
  for (let t = to - 1; t >= from; t--) {
    const { decayed, state: after, error, delta } = kept[t - from]!;
    const [k, q, dy] = [vector("k", t), vector("q", t), vector("dy", t)];
    const beta = row.beta[t * H + head]!;
    change(dState, (value, d, e) => value + scale * q[d]! * dy[e]!);
    plus("q", t, (d) => scale * dot(after[d]!, dy));
    const dDelta = Array.from({ length: E }, (_, e) => dot(column(dState, e), k));
    plus("k", t, (d) => dot(dState[d]!, delta) - beta * dot(decayed[d]!, dDelta));
    out.beta[t * H + head]! += dot(dDelta, error);
    plus("v", t, (e) => beta * dDelta[e]!);
    change(dState, (value, d, e) => value - beta * dDelta[e]! * k[d]!);
    out.decay[t * H + head]! += decayed.reduce((total, values, d) => total + dot(values, dState[d]!), 0);
    const left = Math.exp(row.decay[t * H + head]!);
    change(dState, (value) => value * left);
  }
}

function recurrence(row: Row, lengths: readonly number[]): Tokens {
  const total = lengths.reduce((a, b) => a + b, 0);
  const empty = (width: number) => new Float64Array(total * width);
  const out: Tokens = {
    ...{ q: empty(WIDTHS.q), k: empty(WIDTHS.k), v: empty(WIDTHS.v), dy: empty(0), y: empty(WIDTHS.v) },
    ...{ decay: empty(H), beta: empty(H) },
  };
  for (let head = 0; head < H; head++) {
    let from = 0;
    for (const length of lengths) {
      recur(row, { head, from, to: from + length }, out);
      from += length;
    }
  }
  return out;
}

/** Examples of these lengths in one row: the largest difference of each result, relative to its largest number. */
async function expectRecurrence(lengths: readonly number[], choices: Choices): Promise<void> {
  const S = lengths.reduce((a, b) => a + b, 0);
  const row = drawRow(S, choices);
  const shapes = { q: [1, S, K, D], k: [1, S, K, D], v: [1, S, H, E], decay: [1, S, H], beta: [1, S, H] };
  const leaves = {
    q: leaf("q", shapes.q),
    k: leaf("k", shapes.k),
    v: leaf("v", shapes.v),
    decay: leaf("decay", shapes.decay),
    beta: leaf("beta", shapes.beta),
  };
  const { q, k, v, decay, beta } = leaves;
  const ids = Int32Array.from(lengths.flatMap((n, i) => Array<number>(n).fill(i + 1)));
  const y = gatedDeltaRule(q, k, { v, decay, beta, segments: constant(ids, [1, S]) });
  const gradients = grad(sum(mul(y, constant(row.dy, y.shape))), [q, k, v, decay, beta]);
  const names = Object.keys(leaves) as (keyof typeof leaves)[];
  const outputs = Object.fromEntries(names.map((name, i) => [`d${name}`, gradients[i]!]));
  await using program = await compile({ y, ...outputs });
  const feeds = Object.fromEntries(names.map((name) => [name, { shape: shapes[name], data: row[name] }]));
  const found = await program.run(feeds);
  const expected = recurrence(row, lengths);
  for (const name of ["y", ...names] as const) {
    const numbers = found[name === "y" ? name : `d${name}`]!.data;
    expect(numbers.length).toBe(expected[name].length);
    const largest = expected[name].reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    const off = expected[name].reduce((most, value, i) => Math.max(most, Math.abs(value - numbers[i]!)), 0);
    // where a token overwrites all there is, the gradient of its decay is 0, in double precision but for rounding
    expect(off / (largest < 1e-6 ? 1 : largest), `${name}, up to ${largest}`).toBeLessThan(1e-5);
  }
}

const CHOICES = {
  "weak decay": { decay: 0.01, noise: 1 },
  "strong decay": { decay: 30, noise: 1 },
  "similar keys": { decay: 0.05, noise: 0.05 },
  "equal keys, β = 1": { decay: 0, noise: 0, beta: 1 },
} as const;

test.each(
  Object.entries(CHOICES).flatMap(([name, choices]) =>
    [1, 63, 64, 65, 200].map((length) => [length, name, choices] as const),
  ),
)("%i tokens of %s: as the recurrence", async (length, _, choices) => {
  await expectRecurrence([length], choices);
});

test.each(Object.entries(CHOICES))("examples side by side begin anew: %s", async (_, choices) => {
  await expectRecurrence([1, 70, 57, 2, 64, 3], choices);
});

test("segments of unknown shape are refused", () => {
  const [q, v, g] = [leaf("q", [1, 4, K, D]), leaf("v", [1, 4, H, E]), leaf("g", [1, 4, H])];
  const segments = leaf("segments", ["rows", 4], "int32");
  expect(() => gatedDeltaRule(q, q, { v, decay: g, beta: g, segments })).toThrowError(
    expect.objectContaining({ message: "gatedDeltaRule needs segments of known shape, not [rows, 4]" }),
  );
});
