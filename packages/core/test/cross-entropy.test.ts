// The head's weighted loss and its gradients beside a literal softmax in double precision.

import { compile, crossEntropy, grad, leaf, mul, neg, sum } from "mixture-of-shards-graph";
import { describe, expect, test } from "vitest";
import { randomStream } from "#common";

const C = 2;
const LABELS = [5, 0, 3, 5];
const WEIGHTS = [1, -0.5, 0, 2];

const normal = (count: number, name: string): Float32Array => {
  const random = randomStream(0, name);
  return Float32Array.from({ length: count }, () => random.normal());
};

interface Expected {
  loss: number;
  misses: number;
  readonly dx: Float64Array;
  readonly dhead: Float64Array;
}

/** Everything of every logit, one row after the other. */
function literal(x: Float32Array, head: Float32Array, cap = Number.POSITIVE_INFINITY): Expected {
  const V = head.length / C;
  const sums: Expected = {
    loss: 0,
    misses: 0,
    dx: new Float64Array(x.length),
    dhead: new Float64Array(head.length),
  };
  LABELS.forEach((label, n) => {
    const products = Array.from({ length: V }, (_, token) => {
      let z = 0;
      for (let c = 0; c < C; c++) z += (x[n * C + c] as number) * (head[token * C + c] as number);
      return z;
    });
    const logits = products.map((z) => (cap === Number.POSITIVE_INFINITY ? z : cap * Math.tanh(z / cap)));
    const own = logits[label] as number;
    const total = logits.reduce((sum, z) => sum + Math.exp(z), 0);
    const weight = WEIGHTS[n] as number;
    sums.loss += weight * (Math.log(total) - own);
    if (logits.some((z) => z > own)) sums.misses++;
    logits.forEach((z, token) => {
      const slope = 1 - (z / cap) ** 2;
      const dz = weight * (Math.exp(z) / total - (token === label ? 1 : 0)) * slope;
      for (let c = 0; c < C; c++) {
        sums.dx[n * C + c]! += dz * (head[token * C + c] as number);
        sums.dhead[token * C + c]! += dz * (x[n * C + c] as number);
      }
    });
  });
  return sums;
}

function expectClose(found: ArrayLike<number>, expected: Float64Array): void {
  const most = expected.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  const worst = expected.reduce((max, value, i) => Math.max(max, Math.abs(value - (found[i] as number))), 0);
  expect(worst / most).toBeLessThan(1e-5);
}

describe.each([
  ["a small vocabulary", 7, {}],
  ["a small vocabulary, in parts", 7, { partSize: 6 }],
  ["a vocabulary that is taken in parts since it is large", 2 ** 17 + 3, {}],
])("%s", (_, V, sizes) => {
  const [x, head] = [normal(LABELS.length * C, "x").map((value) => 2 * value), normal(V * C, "head")];

  test.each([undefined, 1.5])("capped at %s", async (softCap) => {
    const [states, matrix] = [leaf("x", ["n", C]), leaf("head", [V, C])];
    const labels = leaf("labels", ["n"], "int32");
    const options = { labels, chunk: 3, maxRows: 6, training: true, softCap, ...sizes };
    const { logprobs, misses } = crossEntropy(states, matrix, options);
    const loss = neg(sum(mul(logprobs, leaf("weights", ["n", 1]))));
    const [dx, dhead] = grad(loss, [states, matrix]);
    await using program = await compile({ loss, misses, dx: dx!, dhead: dhead! });
    const found = await program.run({
      x: { shape: [LABELS.length, C], data: x },
      head: { shape: [V, C], data: head },
      labels: { shape: [LABELS.length], data: Int32Array.from(LABELS) },
      weights: { shape: [LABELS.length, 1], data: Float32Array.from(WEIGHTS) },
    });
    const expected = literal(x, head, softCap);
    expect(found["loss"]!.data[0]! as number).toBeCloseTo(expected.loss, 4);
    expect([...(found["misses"]!.data as Float32Array)].reduce((count, one) => count + one)).toBe(
      expected.misses,
    );
    expectClose(found["dx"]!.data as Float32Array, expected.dx);
    expectClose(found["dhead"]!.data as Float32Array, expected.dhead);
  });
});
