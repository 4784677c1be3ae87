import { MosError } from "../error.ts";
import type { Dim, Shape } from "../tensor-type.ts";
import { emit, MICROSOFT, rematerialised, showShape, type Value, withGradient } from "../value.ts";
import { dequantise } from "./dequantise.ts";
import { add, mul } from "./elementwise.ts";
import { int8Backward, int8Forward, nf4Forward } from "./quantised.ts";
import { sum } from "./reduce.ts";
import { after, reshape } from "./shape.ts";

/** Options of a matrix product. */
interface MatmulOptions {
  /** Use the transpose of the last two axes of a. */
  readonly transposeA?: boolean;
  /** Use the transpose of the last two axes of b. */
  readonly transposeB?: boolean;
  /** Factor on the product; 1. */
  readonly alpha?: number;
}

const matrix = (shape: Shape, transposed: boolean): readonly [Dim, Dim] => {
  const [rows, columns] = shape.slice(-2);
  if (rows === undefined || columns === undefined)
    throw new MosError("bad_config", `matmul needs matrices, not ${showShape(shape)}`);
  return transposed ? [columns, rows] : [rows, columns];
};

function productShape(a: Value, b: Value, { transposeA = false, transposeB = false }: MatmulOptions): Shape {
  const [m, k] = matrix(a.shape, transposeA);
  const [k2, n] = matrix(b.shape, transposeB);
  const batch = a.shape.length >= b.shape.length ? a.shape.slice(0, -2) : b.shape.slice(0, -2);
  const other = (a.shape.length >= b.shape.length ? b : a).shape.slice(0, -2);
  if (k !== k2 || other.some((dim, i) => dim !== batch[batch.length - other.length + i]))
    throw new MosError("bad_config", `cannot multiply ${showShape(a.shape)} by ${showShape(b.shape)}`);
  return [...batch, m, n];
}

/** The gradient of a matrix that was used for a whole batch: summed over the batch. */
function overBatch(dy: Value, shape: Shape): Value {
  const axes = [...dy.shape.keys()].slice(0, dy.shape.length - shape.length);
  return axes.length === 0 ? dy : reshape(sum(dy, axes), shape);
}

/**
 * Matrix product over the last two axes, alpha · op(a) · op(b); leading axes are a batch.
 * Transposes and the factor are part of the one operator, so nothing is copied for them.
 *
 * @throws MosError `bad_config` where the shapes do not fit together.
 */
export function matmul(a: Value, b: Value, options: MatmulOptions = {}): Value {
  const { transposeA = false, transposeB = false, alpha = 1 } = options;
  const shape = productShape(a, b, options);
  const plain = !transposeA && !transposeB && alpha === 1;
  const y = plain
    ? emit("MatMul", [a, b], { shape })
    : emit("FusedMatMul", [a, b], {
        ...MICROSOFT,
        shape,
        attributes: { transA: Number(transposeA), transB: Number(transposeB), alpha: { float: alpha } },
      });
  // y = a b: da = dy bᵀ, db = aᵀ dy; the gradient of a transposed operand is transposed
  return withGradient(y, [a, b], (dy) => [
    overBatch(
      transposeA
        ? matmul(b, dy, { transposeA: transposeB, transposeB: true, alpha })
        : matmul(dy, b, { transposeB: !transposeB, alpha }),
      a.shape,
    ),
    overBatch(
      transposeB
        ? matmul(dy, a, { transposeA: true, transposeB: transposeA, alpha })
        : matmul(a, dy, { transposeA: !transposeA, alpha }),
      b.shape,
    ),
  ]);
}

/** alpha · op(a) · op(b) + c in one operator. It is part of `lowRankLinear` and has no gradient of its own. */
function gemm(a: Value, b: Value, { c, ...options }: MatmulOptions & { readonly c: Value }): Value {
  const { transposeA = false, transposeB = false, alpha = 1 } = options;
  return emit("Gemm", [a, b, c], {
    shape: productShape(a, b, options),
    attributes: {
      transA: Number(transposeA),
      transB: Number(transposeB),
      alpha: { float: alpha },
      beta: { float: 1 },
    },
  });
}

/** x [N, in] · Wᵀ for W [out, in] as checkpoints store it, giving [N, out]. A stored W is frozen. */
export function linear(x: Value, weight: Value): Value {
  if (weight.stored === undefined) return matmul(x, weight, { transposeB: true });
  return withGradient(forward(x, weight), [x], (dy) => [backward(dy, weight)]);
}

/** The weight as a product reads it: a stored one is dequantised as soon as the other operand is there, not before. */
const loadWeight = (operand: Value, weight: Value): Value =>
  weight.stored === undefined ? weight : dequantise(weight.stored, [operand]);
/** x Wᵀ */
function forward(x: Value, weight: Value): Value {
  const { stored } = weight;
  if (stored?.format.kind === "int8rows") return int8Forward(x, stored);
  if (stored?.format.kind === "nf4") return nf4Forward(x, stored, stored.format);
  return matmul(x, loadWeight(x, weight), { transposeB: true });
}
/** dy W */
const backward = (dy: Value, weight: Value): Value =>
  weight.stored?.format.kind === "int8rows"
    ? int8Backward(dy, weight.stored)
    : matmul(dy, loadWeight(dy, weight));

/** A low-rank update scale · B A of a weight [out, in], and how it is applied. */
interface LowRank {
  /** A [r, in] */
  readonly a: Value;
  /** Bᵀ [r, out] */
  readonly b: Value;
  /** Factor on B A. */
  readonly scale: number;
  /** 0 or 1 / (1 − probability) for every element of x [N, in], on the adapter's branch only. */
  readonly dropoutMask?: Value;
  /**
   * Add scale · B A to W once per step rather than to every row; only without dropout. The sum is "kept" for the backward pass,
   * or made "again" there: all of them are a copy of the base in float32.
   */
  readonly merge?: Merge | false;
}

/** How the sum of a weight and its low-rank update reaches the backward pass. */
export type Merge = "kept" | "again";

/**
 * x Wᵀ + scale · (x ∘ mask) Aᵀ Bᵀ for x [N, in], W [out, in].
 * The gradients of A and B are computed through the rank-r products (x Aᵀ and dy B), never through ∂W.
 */
export function lowRankLinear(x: Value, weight: Value, options: LowRank): Value {
  const { a, b, scale, dropoutMask } = options;
  // products in int8 read codes, which nothing can be added to
  const merge = weight.stored?.format.kind !== "int8rows" && options.merge;
  // W' = W + s · B A                                             [out, in]
  const mergedFor = (reader: Value): Value =>
    gemm(weight.stored === undefined ? after(b, [reader]) : b, a, {
      transposeA: true,
      alpha: scale,
      c: loadWeight(reader, weight),
    });
  const maskFor = (reader: Value): Value | undefined => dropoutMask && rematerialised(dropoutMask, [reader]);
  const dropped = (v: Value, reader: Value): Value => {
    const mask = maskFor(reader);
    return mask === undefined ? v : mul(v, mask);
  };
  const u = matmul(dropped(x, x), a, { transposeB: true }); //       [N, r]
  const merged = merge ? mergedFor(x) : undefined;
  const y =
    merged === undefined
      ? gemm(u, b, { alpha: scale, c: forward(x, weight) }) //    [N, out]
      : linear(x, merged);
  return withGradient(y, [x, weight, a, b], (dy) => {
    const du = matmul(dy, b, { transposeB: true, alpha: scale }); // [N, r]
    const da = matmul(du, dropped(rematerialised(x), dy), { transposeA: true }); // [r, in]
    const db = matmul(u, dy, { transposeA: true, alpha: scale }); // [r, out]
    // the gradient reaches earlier layers only after this layer's own, whose inputs can then be freed
    const next = after(dy, [da, db]);
    // dx = dy W + mask ∘ (du A)
    const throughBranch = (mask = maskFor(next)): Value => {
      const base = backward(next, weight);
      return mask === undefined ? gemm(du, a, { c: base }) : add(base, mul(matmul(du, a), mask));
    };
    return [
      merged === undefined ? throughBranch() : matmul(next, merge === "again" ? mergedFor(next) : merged),
      weight.stored === undefined ? matmul(dy, x, { transposeA: true }) : undefined,
      da,
      db,
    ];
  });
}
