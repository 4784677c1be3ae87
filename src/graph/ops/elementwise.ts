import { MosError } from "#core";
import {
  type Dim,
  emit,
  MICROSOFT,
  rematerialised,
  type Shape,
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
export const neg = (x: Value): Value =>
  withGradient(emit("Neg", [x], { shape: x.shape }), [x], (dy) => [neg(dy)]);

/** eˣ, element by element. */
export const exp = (x: Value): Value =>
  withGradient(emit("Exp", [x], { shape: x.shape }), [x], (dy, y) => [mul(dy, y)]);

/** The natural logarithm, element by element. */
export const log = (x: Value): Value =>
  withGradient(emit("Log", [x], { shape: x.shape }), [x], (dy) => [div(dy, x)]);

/** σ(x) = 1 / (1 + e⁻ˣ) */
export const sigmoid = (x: Value): Value =>
  withGradient(emit("Sigmoid", [x], { shape: x.shape }), [x], (dy, y) => [
    mul(dy, mul(y, sub(scalar(1), y))),
  ]);

/** x · σ(x), by the fused operator QuickGelu with α = 1. */
export function silu(x: Value): Value {
  const y = emit("QuickGelu", [x], { ...MICROSOFT, shape: x.shape, attributes: { alpha: { float: 1 } } });
  // y' = σ (1 + x − y)
  return withGradient(y, [x], (dy) => [mul(mul(dy, sigmoid(x)), sub(add(x, scalar(1)), y))]);
}

/** silu(gate) · up: the gated activation of the Llama MLP. The backward pass rematerialises it. */
export function swiglu(gate: Value, up: Value): Value {
  const activation = withRematerialisation(silu(gate), () => silu(gate));
  const y = withRematerialisation(binary("Mul", activation, up), () =>
    binary("Mul", rematerialised(activation), up),
  );
  return withGradient(y, [gate, up], (dy) => {
    const activated = rematerialised(activation);
    // ∂/∂gate = up · σ (1 + gate − silu)
    const slope = mul(sigmoid(gate), sub(add(gate, scalar(1)), activated));
    return [mul(mul(dy, up), slope), mul(dy, activated)];
  });
}
