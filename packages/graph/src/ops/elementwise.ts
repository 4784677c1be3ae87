import { MosError } from "../error.ts";
import type { Dim, Shape } from "../tensor-type.ts";
import {
  cast,
  emit,
  MICROSOFT,
  rematerialised,
  scalar,
  showShape,
  type Value,
  withGradient,
  withRematerialisation,
} from "../value.ts";
import { sum } from "./reduce.ts";
import { reshape } from "./shape.ts";

/**
 * The shape of an elementwise operation by NumPy's rule: shapes are aligned at the right, and a dimension of 1 stretches.
 *
 * @throws MosError `bad_config` where two dimensions differ and neither is 1.
 */
export function broadcast(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length);
  return Array.from({ length: rank }, (_, i): Dim => {
    const x = a[a.length - rank + i] ?? 1;
    const y = b[b.length - rank + i] ?? 1;
    if (x !== y && x !== 1 && y !== 1)
      throw new MosError("bad_config", `shapes ${showShape(a)} and ${showShape(b)} do not fit together`);
    return x === 1 ? y : x;
  });
}

/** The gradient of a broadcast operand: summed over the axes along which it was repeated. */
function unbroadcast(dy: Value, shape: Shape): Value {
  const offset = dy.shape.length - shape.length;
  const axes = dy.shape.flatMap((dim, i) =>
    i < offset || (shape[i - offset] === 1 && dim !== 1) ? [i] : [],
  );
  return axes.length === 0 ? dy : reshape(sum(dy, axes), shape);
}

const binary = (op: string, a: Value, b: Value): Value =>
  emit(op, [a, b], { shape: broadcast(a.shape, b.shape) });

/** A standard operator of one operand, without a gradient. */
const plain = (op: string, x: Value): Value => emit(op, [x], { shape: x.shape });

/** a + b, with broadcasting. */
export const add = (a: Value, b: Value): Value =>
  withGradient(binary("Add", a, b), [a, b], (dy) => [unbroadcast(dy, a.shape), unbroadcast(dy, b.shape)]);

/** a − b, with broadcasting. */
export const sub = (a: Value, b: Value): Value =>
  withGradient(binary("Sub", a, b), [a, b], (dy) => [
    unbroadcast(dy, a.shape),
    unbroadcast(neg(dy), b.shape),
  ]);

/** a · b element by element, with broadcasting. */
export const mul = (a: Value, b: Value): Value =>
  withGradient(binary("Mul", a, b), [a, b], (dy) => [
    unbroadcast(mul(dy, b), a.shape),
    unbroadcast(mul(dy, a), b.shape),
  ]);

/** a / b element by element, with broadcasting. */
export const div = (a: Value, b: Value): Value =>
  // ∂(a/b)/∂b = −(a/b)/b
  withGradient(binary("Div", a, b), [a, b], (dy, y) => [
    unbroadcast(div(dy, b), a.shape),
    unbroadcast(neg(div(mul(dy, y), b)), b.shape),
  ]);

/** −x */
export const neg = (x: Value): Value => withGradient(plain("Neg", x), [x], (dy) => [neg(dy)]);

/** eˣ, element by element. */
export const exp = (x: Value): Value => withGradient(plain("Exp", x), [x], (dy, y) => [mul(dy, y)]);

/** The natural logarithm, element by element. */
export const log = (x: Value): Value => withGradient(plain("Log", x), [x], (dy) => [div(dy, x)]);

/**
 * log(1 + eˣ), also where eˣ overflows, or is so small that 1 + eˣ would lose its digits: max(x, 0) + log(1 + u) for u = e^−|x|,
 * by log(1 + u) = 2 artanh(u / (u + 2)).
 */
export function softplus(x: Value): Value {
  const small = exp(neg(plain("Abs", x)));
  const half = plain("Atanh", div(small, add(small, scalar(2))));
  const y = add(plain("Relu", x), mul(half, scalar(2)));
  return withGradient(y, [x], (dy) => [mul(dy, sigmoid(x))]);
}

/** log σ(x) = −log(1 + e⁻ˣ) */
export const logSigmoid = (x: Value): Value => neg(softplus(neg(x)));

/** log(1 − eˣ) for x < 0; with t = tanh(x/2) it is log(−2t) − log(1 − t), which loses no digits where eˣ is close to 1. */
export function log1mexp(x: Value): Value {
  const t = tanh(mul(x, scalar(0.5)));
  const y = sub(log(mul(t, scalar(-2))), log(sub(scalar(1), t)));
  // −eˣ / (1 − eˣ) = (1 + t) / 2t
  return withGradient(y, [x], (dy) => [mul(dy, div(add(t, scalar(1)), mul(t, scalar(2))))]);
}

/** The smaller of a and b, of the same shape. Where they are equal, each gets half of the gradient, as in PyTorch. */
export const minimum = (a: Value, b: Value): Value =>
  withGradient(emit("Min", [a, b], { shape: a.shape }), [a, b], (dy) => {
    const share = add(mul(plain("Sign", sub(b, a)), scalar(0.5)), scalar(0.5));
    return [mul(dy, share), mul(dy, sub(scalar(1), share))];
  });

/** x within [low, high]. Its gradient is that of x there, the bounds included, and 0 outside. */
export const clip = (x: Value, low: number, high: number): Value =>
  withGradient(emit("Clip", [x, scalar(low), scalar(high)], { shape: x.shape }), [x], (dy, y) => [
    mul(dy, cast(emit("Equal", [x, y], { shape: x.shape, dtype: "bool" }), "float32")),
  ]);

/** σ(x) = 1 / (1 + e⁻ˣ) */
export const sigmoid = (x: Value): Value =>
  withGradient(plain("Sigmoid", x), [x], (dy, y) => [mul(dy, mul(y, sub(scalar(1), y)))]);

/** tanh x, element by element. */
export const tanh = (x: Value): Value =>
  // y' = 1 − y²
  withGradient(plain("Tanh", x), [x], (dy, y) => [mul(dy, sub(scalar(1), mul(y, y)))]);

/** cap · tanh(x / cap): values within ± cap (Gemma 2). Without a cap, x. */
export const softCap = (x: Value, cap: number | undefined): Value =>
  cap === undefined ? x : mul(tanh(mul(x, scalar(1 / cap))), scalar(cap));

/** An activation, and its derivative at x, where it is y. */
interface Activation {
  readonly forward: (x: Value) => Value;
  readonly slope: (x: Value, y: Value) => Value;
}

/** The activation of a gated MLP. "gelu" is the exact one, "gelu_tanh" its common approximation. */
export type GateActivation = "silu" | "relu" | "gelu" | "gelu_tanh";

const [GELU_SCALE, GELU_CUBE] = [Math.sqrt(2 / Math.PI), 0.044715];

const ACTIVATIONS: Readonly<Record<GateActivation, Activation>> = {
  silu: {
    // the fused operator QuickGelu with α = 1
    forward: (x) =>
      emit("QuickGelu", [x], { ...MICROSOFT, shape: x.shape, attributes: { alpha: { float: 1 } } }),
    // σ (1 + x − y)
    slope: (x, y) => mul(sigmoid(x), sub(add(x, scalar(1)), y)),
  },
  relu: {
    forward: (x) => plain("Relu", x),
    // 1 where y > 0, else 0
    slope: (_, y) => plain("Sign", y),
  },
  gelu: {
    forward: (x) => emit("Gelu", [x], { ...MICROSOFT, shape: x.shape }),
    // Φ(x) + x φ(x)
    slope(x) {
      const below = mul(add(plain("Erf", mul(x, scalar(Math.SQRT1_2))), scalar(1)), scalar(0.5));
      const density = mul(plain("Exp", mul(mul(x, x), scalar(-0.5))), scalar(1 / Math.sqrt(2 * Math.PI)));
      return add(below, mul(x, density));
    },
  },
  gelu_tanh: {
    forward: (x) => emit("FastGelu", [x], { ...MICROSOFT, shape: x.shape }),
    // with t = tanh u: (1 + t)/2 + x/2 · (1 − t²) u'
    slope(x) {
      const square = mul(x, x);
      const u = mul(mul(x, add(mul(square, scalar(GELU_CUBE)), scalar(1))), scalar(GELU_SCALE));
      const t = tanh(u);
      const du = mul(add(mul(square, scalar(3 * GELU_CUBE)), scalar(1)), scalar(GELU_SCALE));
      const bend = mul(mul(x, du), sub(scalar(1), t));
      return mul(mul(add(t, scalar(1)), add(bend, scalar(1))), scalar(0.5));
    },
  },
};

const activated = (x: Value, kind: GateActivation): Value => {
  const { forward, slope } = ACTIVATIONS[kind];
  const y = forward(x);
  return withGradient(y, [x], (dy) => [mul(dy, slope(x, y))]);
};

/** x · σ(x) */
export const silu = (x: Value): Value => activated(x, "silu");

/** max(x, 0) */
export const relu = (x: Value): Value => activated(x, "relu");

/**
 * GELU, x · Φ(x) with the normal distribution Φ; approximated by "tanh" it is x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))).
 */
export const gelu = (x: Value, approximate: "none" | "tanh" = "none"): Value =>
  activated(x, approximate === "tanh" ? "gelu_tanh" : "gelu");

/**
 * activation(gate) · up: the gate of an MLP, such as SwiGLU with "silu" and GeGLU with "gelu_tanh". The backward pass
 * rematerialises it.
 */
export function gatedUnit(gate: Value, up: Value, kind: GateActivation = "silu"): Value {
  const { forward, slope } = ACTIVATIONS[kind];
  const activation = withRematerialisation(forward(gate), () => forward(gate));
  const y = withRematerialisation(binary("Mul", activation, up), () =>
    binary("Mul", rematerialised(activation), up),
  );
  return withGradient(y, [gate, up], (dy) => {
    const activated = rematerialised(activation);
    return [mul(mul(dy, up), slope(gate, activated)), mul(dy, activated)];
  });
}
