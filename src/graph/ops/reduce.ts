import { emit, int64s, type Shape, scalar, sizeOf, type Value, withGradient } from "../value.ts";

const kept = (shape: Shape, axes: readonly number[]): Shape =>
  shape.map((dim, i) => (axes.includes(i) ? 1 : dim));

/** dy repeated to the shape of x, which only the run may know. */
const stretch = (dy: Value, x: Value): Value =>
  emit("Expand", [dy, emit("Shape", [x], { shape: [x.shape.length], dtype: "int64" })], { shape: x.shape });

/** Sum over axes, which stay with size 1. */
export function sum(x: Value, axes: readonly number[]): Value {
  const y = emit("ReduceSum", [x, int64s(...axes)], {
    shape: kept(x.shape, axes),
    attributes: { keepdims: 1 },
  });
  return withGradient(y, [x], (dy) => [stretch(dy, x)]);
}

/** Mean over axes of known size, which stay with size 1. */
export function mean(x: Value, axes: readonly number[]): Value {
  const y = emit("ReduceMean", [x, int64s(...axes)], {
    shape: kept(x.shape, axes),
    attributes: { keepdims: 1 },
  });
  const share = scalar(1 / sizeOf(axes.map((axis) => x.shape[axis] ?? 1)));
  return withGradient(y, [x], (dy) => [stretch(emit("Mul", [dy, share], { shape: dy.shape }), x)]);
}

/** The sum of all elements, a scalar; dimensions may be unknown before the run. */
export function sumAll(x: Value): Value {
  const y = emit("ReduceSum", [x], { shape: [], attributes: { keepdims: 0 } });
  return withGradient(y, [x], (dy) => [stretch(dy, x)]);
}
