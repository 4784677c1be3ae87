import { countElements, type Shape } from "../tensor-type.ts";
import { cast, emit, int64s, scalar, type Value, withGradient } from "../value.ts";

const reducedShape = (shape: Shape, axes: readonly number[]): Shape =>
  shape.map((dim, i) => (axes.includes(i) ? 1 : dim));

/** dy repeated to the shape of x, some of which may be known only to the run. */
const stretch = (dy: Value, x: Value): Value =>
  emit("Expand", [dy, emit("Shape", [x], { shape: [x.shape.length], dtype: "int64" })], { shape: x.shape });

/** The sum over axes, which remain with size 1; without axes the sum of all elements, a scalar. Dimensions may be names. */
export function sum(x: Value, axes?: readonly number[]): Value {
  if (axes === undefined) {
    const total = emit("ReduceSum", [x], { shape: [], attributes: { keepdims: 0 } });
    return withGradient(total, [x], (dy) => [stretch(dy, x)]);
  }
  const y = emit("ReduceSum", [x, int64s(...axes)], {
    shape: reducedShape(x.shape, axes),
    attributes: { keepdims: 1 },
  });
  return withGradient(y, [x], (dy) => [stretch(dy, x)]);
}

/** The mean over axes of known size, which remain with size 1. */
export function mean(x: Value, axes: readonly number[]): Value {
  const y = emit("ReduceMean", [x, int64s(...axes)], {
    shape: reducedShape(x.shape, axes),
    attributes: { keepdims: 1 },
  });
  const share = scalar(1 / countElements(axes.map((axis) => x.shape[axis] ?? 1)));
  return withGradient(y, [x], (dy) => [stretch(emit("Mul", [dy, share], { shape: dy.shape }), x)]);
}

/** The largest number over axes, which remain with size 1. Dimensions may be names. Where several are largest, each has a share of the gradient. */
export function max(x: Value, axes: readonly number[]): Value {
  const y = emit("ReduceMax", [x, int64s(...axes)], {
    shape: reducedShape(x.shape, axes),
    attributes: { keepdims: 1 },
  });
  return withGradient(y, [x], (dy) => {
    const isLargest = cast(emit("Equal", [x, y], { shape: x.shape, dtype: "bool" }), "float32");
    const share = emit("Div", [dy, sum(isLargest, axes)], { shape: dy.shape });
    return [emit("Mul", [isLargest, share], { shape: x.shape })];
  });
}
