import * as ops from "../src/graph/ops/index.ts";
import { constant, type Value } from "../src/graph/value.ts";

type Differentiable =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "neg"
  | "exp"
  | "log"
  | "sigmoid"
  | "silu"
  | "swiglu"
  | "matmul"
  | "linear"
  | "lowRankLinear"
  | "sum"
  | "mean"
  | "sumAll"
  | "reshape"
  | "transpose"
  | "slice"
  | "padAxis"
  | "concat"
  | "split"
  | "gatherRows"
  | "embed"
  | "rmsNorm"
  | "rotate"
  | "softmax"
  | "attention"
  | "crossEntropy";

/** Functions of the door that have no gradient of their own. */
type Plain =
  | "addRmsNorm"
  | "after"
  | "broadcast"
  | "fromCache"
  | "groupedAttention"
  | "packedBlocks"
  | "inverseIndex"
  | "packedLinear"
  | "quantizedLinear"
  | "rotateJoined"
  | "scatterRows"
  | "splitDynamic"
  | "toCache"
  | "zeros";

/** Every op must be here or in Plain: a new export without a row does not compile. */
export type Cases = Readonly<Record<Exclude<keyof typeof ops, Plain>, readonly Case[]>> &
  Readonly<Record<Differentiable, readonly Case[]>>;

/** Input shapes, and a function of leaves of these shapes. Inputs are drawn from [0.5, 1.5] or, if signed, [−1, 1]. */
export interface Case {
  readonly shapes: readonly (readonly number[])[];
  readonly signed?: boolean;
  readonly build: (...inputs: Value[]) => Value | readonly Value[];
}

const ids = (...xs: number[]) => constant(Int32Array.from(xs));
const angles = (positions: number, half: number, f: (x: number) => number) =>
  constant(
    Float32Array.from({ length: positions * half }, (_, i) =>
      f(Math.floor(i / half) / 10 ** ((i % half) / half)),
    ),
    [positions, half],
  );
const segments = constant(Int32Array.of(1, 1, 1, 2, 2, 2, 0, 1, 1, 2, 2, 2, 3, 3), [2, 7]);
const mask2 = constant(Float32Array.of(2, 0, 2, 2, 0, 2), [2, 3]);

export const cases: Cases = {
  add: [{ shapes: [[2, 3], [3]], build: (a, b) => ops.add(a!, b!) }],
  sub: [
    {
      shapes: [
        [2, 1, 3],
        [4, 1],
      ],
      build: (a, b) => ops.sub(a!, b!),
    },
  ],
  mul: [
    {
      shapes: [
        [2, 3],
        [2, 1],
      ],
      build: (a, b) => ops.mul(a!, b!),
    },
    { shapes: [[3]], build: (a) => ops.mul(a!, a!) },
  ],
  div: [{ shapes: [[2, 3], [3]], build: (a, b) => ops.div(a!, b!) }],
  neg: [{ shapes: [[4]], build: (a) => ops.neg(a!) }],
  exp: [{ shapes: [[4]], signed: true, build: (a) => ops.exp(a!) }],
  log: [{ shapes: [[4]], build: (a) => ops.log(a!) }],
  sigmoid: [{ shapes: [[5]], signed: true, build: (a) => ops.sigmoid(a!) }],
  silu: [{ shapes: [[5]], signed: true, build: (a) => ops.silu(a!) }],
  swiglu: [
    {
      shapes: [
        [2, 3],
        [2, 3],
      ],
      signed: true,
      build: (a, b) => ops.swiglu(a!, b!),
    },
  ],
  matmul: [
    {
      shapes: [
        [2, 3],
        [3, 4],
      ],
      signed: true,
      build: (a, b) => ops.matmul(a!, b!),
    },
    {
      shapes: [
        [3, 2],
        [4, 3],
      ],
      signed: true,
      build: (a, b) => ops.matmul(a!, b!, { transposeA: true, transposeB: true, alpha: 0.5 }),
    },
    {
      shapes: [
        [2, 3, 4],
        [2, 5, 4],
      ],
      signed: true,
      build: (a, b) => ops.matmul(a!, b!, { transposeB: true, alpha: 2 }),
    },
    {
      shapes: [
        [2, 3, 4],
        [4, 2],
      ],
      signed: true,
      build: (a, b) => ops.matmul(a!, b!),
    },
    {
      shapes: [
        [2, 4, 3],
        [2, 4, 2],
      ],
      signed: true,
      build: (a, b) => ops.matmul(a!, b!, { transposeA: true }),
    },
  ],
  linear: [
    {
      shapes: [
        [2, 3],
        [4, 3],
      ],
      signed: true,
      build: (x, w) => ops.linear(x!, w!),
    },
  ],
  lowRankLinear: [
    {
      shapes: [
        [2, 3],
        [2, 3],
        [2, 2],
      ],
      signed: true,
      build: (x, a, b) =>
        ops.lowRankLinear(x!, constant(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]), {
          a: a!,
          b: b!,
          scale: 2,
        }),
    },
    {
      shapes: [
        [2, 3],
        [2, 3],
        [2, 2],
      ],
      signed: true,
      build: (x, a, b) =>
        ops.lowRankLinear(x!, constant(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]), {
          a: a!,
          b: b!,
          scale: 2,
          merge: true,
        }),
    },
    {
      shapes: [
        [2, 3],
        [2, 3],
        [2, 3],
        [2, 2],
      ],
      signed: true,
      build: (x, w, a, b) => ops.lowRankLinear(x!, w!, { a: a!, b: b!, scale: 2, dropoutMask: mask2 }),
    },
  ],
  sum: [{ shapes: [[2, 3, 2]], build: (a) => ops.sum(a!, [0, 2]) }],
  mean: [{ shapes: [[2, 3]], build: (a) => ops.mean(a!, [1]) }],
  sumAll: [{ shapes: [[2, 3]], build: (a) => ops.sumAll(a!) }],
  reshape: [{ shapes: [[2, 6]], build: (a) => ops.reshape(a!, [3, 4]) }],
  transpose: [{ shapes: [[2, 3, 4]], build: (a) => ops.transpose(a!, [2, 0, 1]) }],
  slice: [{ shapes: [[2, 5]], build: (a) => ops.slice(a!, { axis: 1, from: 1, to: 4 }) }],
  padAxis: [{ shapes: [[2, 3]], build: (a) => ops.padAxis(a!, { axis: 0, before: 1, after: 2 }) }],
  concat: [
    {
      shapes: [
        [2, 3],
        [1, 3],
      ],
      build: (a, b) => ops.concat([a!, b!], 0),
    },
  ],
  split: [
    { shapes: [[2, 5]], build: (a) => ops.split(a!, { axis: 1, sizes: [2, 3] }) },
    { shapes: [[2, 5]], build: (a) => [ops.split(a!, { axis: 1, sizes: [2, 3] })[1] as Value] },
  ],
  gatherRows: [{ shapes: [[4, 3]], build: (t) => ops.gatherRows(t!, Int32Array.of(2, 0, 2, 1, 2)) }],
  embed: [{ shapes: [[4, 3]], build: (t) => ops.embed(t!, constant(Int32Array.of(3, 3, 0, 1), [2, 2])) }],
  hadamard: [{ shapes: [[2, 12]], signed: true, build: (x) => ops.hadamard(x!) }],
  rmsNorm: [{ shapes: [[3, 4], [4]], signed: true, build: (x, g) => ops.rmsNorm(x!, g!, { epsilon: 1e-5 }) }],
  rotate: [
    {
      shapes: [[1, 2, 3, 4]],
      signed: true,
      build: (x) =>
        ops.rotate(x!, constant(Int32Array.of(0, 1, 0), [1, 3], "int64"), {
          cosine: angles(4, 2, Math.cos),
          sine: angles(4, 2, Math.sin),
        }),
    },
  ],
  softmax: [{ shapes: [[2, 4]], signed: true, build: (x) => ops.softmax(x!) }],
  attention: [3, 7].map((window) => ({
    shapes: [
      [2, 4, 7, 2],
      [2, 2, 7, 2],
      [2, 2, 7, 2],
    ],
    signed: true,
    build: (q, k, v) =>
      ops.attention(q!, k!, {
        v: v!,
        scale: 0.7,
        blocks: ops.packedBlocks(segments, { blockSize: 3, window }),
      }),
  })),
  crossEntropy: [
    {
      shapes: [
        [3, 2],
        [5, 2],
      ],
      signed: true,
      build: (x, e) => ops.crossEntropy(x!, e!, { labels: ids(4, 0, 4), chunk: 8, maxRows: 3 }),
    },
    {
      shapes: [
        [3, 2],
        [5, 2],
      ],
      signed: true,
      build: (x, e) => ops.crossEntropy(x!, e!, { labels: ids(4, 0, 4), chunk: 2, maxRows: 7 }),
    },
  ],
};
