import { constant, scalar, storedWeight, type TensorData, type Value } from "mixture-of-shards-graph";
import { type WeightFormat, weightParts } from "mixture-of-shards-graph/common";
import * as ops from "../../graph/src/ops/index.ts";
import { FORMS, randomWeight } from "./stored-weights.ts";

type Differentiable =
  | "add"
  | "sub"
  | "mul"
  | "div"
  | "neg"
  | "exp"
  | "log"
  | "softplus"
  | "logSigmoid"
  | "log1mexp"
  | "minimum"
  | "clip"
  | "sigmoid"
  | "silu"
  | "tanh"
  | "softCap"
  | "relu"
  | "gelu"
  | "gatedUnit"
  | "matmul"
  | "linear"
  | "lowRankLinear"
  | "sum"
  | "mean"
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
  | "depthwise"
  | "earlierToken"
  | "max"
  | "softmax"
  | "attention"
  | "crossEntropy"
  | "gatedDeltaRule"
  | "divergence";

/** Functions of the entry point that have no gradient of their own. */
type Plain =
  | "addRmsNorm"
  | "after"
  | "broadcast"
  | "convolveSilu"
  | "fromCache"
  | "groupedAttention"
  | "linearAttention"
  | "packedBlocks"
  | "inverseIndex"
  | "packedLinear"
  | "reshapeAs"
  | "rotateJoined"
  | "rowProducts"
  | "rowsAt"
  | "scatterRows"
  | "shifted"
  | "splitDynamic"
  | "splitEqual"
  | "toCache"
  | "windowMask"
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

interface AttentionCase extends Omit<ops.PackedBlocksOptions, "blockSize"> {
  readonly softCap?: number;
  readonly hasSinks?: boolean;
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
/** The second and third segments of the second row follow the first one. */
const shared = {
  prompts: constant(Int32Array.of(1, 1, 1, 2, 2, 2, 0, 1, 1, 1, 1, 1, 1, 1), [2, 7]),
  positions: constant(Int32Array.of(0, 1, 2, 0, 1, 2, 0, 0, 1, 2, 3, 4, 2, 3), [2, 7], "int64"),
  reach: 7,
};
/** Different numbers in [−1, 1]. */
const floats = (rows: number, width: number) =>
  constant(
    Float32Array.from({ length: rows * width }, (_, i) => Math.cos(3 * i)),
    [rows, width],
  );
const mask2 = constant(Float32Array.of(2, 0, 2, 2, 0, 2), [2, 3]);

/** A stored weight [5, 64] as constants. */
function storedConstant(format: WeightFormat): Value {
  const shape = [5, 64];
  const { parts } = randomWeight(format, shape);
  const values = weightParts(format, shape).map(
    ({ part, shape: size, dtype }) => [part, constant(parts[part] as TensorData, size, dtype)] as const,
  );
  return storedWeight(format, shape, Object.fromEntries(values));
}

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
  softplus: [{ shapes: [[5]], signed: true, build: (a) => ops.softplus(a!) }],
  logSigmoid: [{ shapes: [[5]], signed: true, build: (a) => ops.logSigmoid(a!) }],
  log1mexp: [{ shapes: [[5]], build: (a) => ops.log1mexp(ops.neg(a!)) }],
  minimum: [
    { shapes: [[7], [7]], signed: true, build: (a, b) => ops.minimum(a!, b!) },
    { shapes: [[7]], signed: true, build: (a) => ops.minimum(a!, a!) },
  ],
  clip: [{ shapes: [[7]], signed: true, build: (a) => ops.clip(a!, -0.5, 0.25) }],
  sigmoid: [{ shapes: [[5]], signed: true, build: (a) => ops.sigmoid(a!) }],
  silu: [{ shapes: [[5]], signed: true, build: (a) => ops.silu(a!) }],
  tanh: [{ shapes: [[5]], signed: true, build: (a) => ops.tanh(a!) }],
  softCap: [{ shapes: [[2, 3]], signed: true, build: (a) => ops.softCap(a!, 0.5) }],
  relu: [{ shapes: [[7]], signed: true, build: (a) => ops.relu(a!) }],
  gelu: [
    { shapes: [[7]], signed: true, build: (a) => ops.gelu(a!) },
    { shapes: [[7]], signed: true, build: (a) => ops.gelu(a!, "tanh") },
  ],
  gatedUnit: (["silu", "relu", "gelu", "gelu_tanh"] as const).map((kind) => ({
    shapes: [
      [2, 3],
      [2, 3],
    ],
    signed: true,
    build: (a, b) => ops.gatedUnit(a!, b!, kind),
  })),
  depthwise: [
    {
      shapes: [
        [2, 3],
        [2, 3],
        [3, 1, 2],
      ],
      signed: true,
      build: (a, b, kernel) => ops.depthwise([a!, b!], kernel!),
    },
  ],
  earlierToken: [0, 1, 3].map((back) => ({
    shapes: [[2, 7, 3]],
    signed: true,
    build: (x) => ops.earlierToken(x!, back, segments),
  })),
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
    ...Object.values(FORMS).map((format) => ({
      shapes: [[2, 64]],
      signed: true,
      build: (x?: Value) => ops.linear(x!, storedConstant(format)),
    })),
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
    ...(["kept", "again"] as const).map((merge) => ({
      shapes: [
        [2, 3],
        [2, 3],
        [2, 2],
      ],
      signed: true,
      build: (x?: Value, a?: Value, b?: Value) =>
        ops.lowRankLinear(x!, constant(Float32Array.of(1, 2, 3, 4, 5, 6), [2, 3]), {
          a: a!,
          b: b!,
          scale: 2,
          merge,
        }),
    })),
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
    ...Object.values(FORMS).map((format) => ({
      shapes: [
        [2, 64],
        [1, 64],
        [1, 5],
      ],
      signed: true,
      build: (x?: Value, a?: Value, b?: Value) =>
        ops.lowRankLinear(x!, storedConstant(format), { a: a!, b: b!, scale: 0.5 }),
    })),
  ],
  sum: [
    { shapes: [[2, 3, 2]], build: (a) => ops.sum(a!, [0, 2]) },
    { shapes: [[2, 3]], build: (a) => ops.sum(a!) },
  ],
  mean: [{ shapes: [[2, 3]], build: (a) => ops.mean(a!, [1]) }],
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
  // heads of 4 numbers: all of them, and half of them
  rotate: [2, 1].map((half) => ({
    shapes: [[1, 2, 3, 4]],
    signed: true,
    build: (x) =>
      ops.rotate(x!, constant(Int32Array.of(0, 1, 3), [1, 3], "int64"), {
        cosine: angles(4, half, Math.cos),
        sine: angles(4, half, Math.sin),
      }),
  })),
  // so far above the rest that finite differences never change which one is largest
  max: [
    {
      shapes: [[2, 4]],
      signed: true,
      build: (x) => ops.max(ops.add(x!, constant(Float32Array.of(0, 0, 9, 0, 9, 0, 0, 0), [2, 4])), [1]),
    },
  ],
  softmax: [{ shapes: [[2, 4]], signed: true, build: (x) => ops.softmax(x!) }],
  attention: [
    { maxSegment: 3 },
    { maxSegment: 7 },
    { maxSegment: 7, window: 2 },
    { maxSegment: 7, softCap: 0.4 },
    { maxSegment: 7, window: 3, softCap: 0.6 },
    { maxSegment: 6, shared },
    { maxSegment: 6, shared, window: 3 },
    { maxSegment: 7, hasSinks: true },
    { maxSegment: 7, window: 2, softCap: 0.6, hasSinks: true },
  ].map(({ softCap, hasSinks = false, ...options }: AttentionCase) => ({
    shapes: [[2, 4, 7, 2], [2, 2, 7, 2], [2, 2, 7, 2], ...(hasSinks ? [[4]] : [])],
    signed: true,
    build: (q, k, v, sinks) => {
      const blocks = ops.packedBlocks(segments, { blockSize: 3, ...options });
      return ops.attention(q!, k!, { v: v!, scale: 0.7, softCap, sinks, blocks });
    },
  })),
  gatedDeltaRule: [
    {
      shapes: [
        [2, 7, 2, 3],
        [2, 7, 2, 3],
        [2, 7, 4, 2],
        [2, 7, 4],
        [2, 7, 4],
      ],
      build: (q, k, v, decay, beta) =>
        ops.gatedDeltaRule(q!, ops.mul(k!, scalar(0.3)), {
          v: v!,
          decay: ops.neg(decay!),
          beta: beta!,
          segments,
        }),
    },
  ],
  crossEntropy: [
    {
      shapes: [
        [3, 2],
        [5, 2],
      ],
      signed: true,
      build: (x, e) => ops.crossEntropy(x!, e!, { labels: ids(4, 0, 4), chunk: 8, maxRows: 3 }).logprobs,
    },
    {
      shapes: [
        [3, 2],
        [5, 2],
      ],
      signed: true,
      build: (x, e) => ops.crossEntropy(x!, e!, { labels: ids(4, 0, 4), chunk: 2, maxRows: 7 }).logprobs,
    },
    ...[{ chunk: 8 }, { chunk: 2 }, { chunk: 1, partSize: 4 }].map((sizes) => ({
      shapes: [
        [3, 2],
        [5, 2],
      ],
      signed: true,
      build: (x?: Value, e?: Value) =>
        ops.crossEntropy(x!, e!, { labels: ids(4, 0, 4), maxRows: 3, softCap: 0.8, ...sizes }).logprobs,
    })),
    ...[undefined, 1.5].flatMap((softCap) =>
      Object.values(FORMS).map((format) => ({
        shapes: [[3, 64]],
        signed: true,
        build: (x?: Value) =>
          ops.crossEntropy(x!, storedConstant(format), {
            labels: ids(4, 0, 4),
            chunk: 1,
            maxRows: 3,
            partSize: 150,
            softCap,
          }).logprobs,
      })),
    ),
  ],
  divergence: [
    ...[0, 0.3, 1].flatMap((alpha) =>
      [{}, { topK: 2 }, { topK: 2, addTail: true }, { topK: 9 }].map((compared) => ({
        shapes: [[3, 2]],
        signed: true,
        build: (x?: Value) =>
          ops.divergence(x!, floats(5, 2), {
            ...{ teacher: floats(3, 2), alpha, ...compared },
            ...{ chunk: 2, maxRows: 3, softCap: alpha === 0.3 ? 1.5 : undefined },
          }),
      })),
    ),
    ...Object.values(FORMS).map((format) => ({
      shapes: [[3, 64]],
      signed: true,
      build: (x?: Value) =>
        ops.divergence(x!, storedConstant(format), {
          ...{ teacher: floats(3, 64), alpha: 0.5, chunk: 1, maxRows: 3, partSize: 150 },
        }),
    })),
  ],
};
