import { countElements, type Dim } from "../tensor-type.ts";
import { constant, emit, scalar, type Value, withGradient, withRematerialisation } from "../value.ts";
import { mul, sub } from "./elementwise.ts";
import { mean, sum } from "./reduce.ts";
import { reshape } from "./shape.ts";

/** Settings of a norm. */
export interface NormOptions {
  /** ε, added to the mean square. */
  readonly epsilon: number;
}

/**
 * Root-mean-square norm over the last axis, x / √(mean x² + ε) · gain, for x [..., C] and gain [C].
 * The backward pass computes 1/rms again from x, since not every provider writes the operator's second output.
 */
export function rmsNorm(x: Value, gain: Value, { epsilon }: NormOptions): Value {
  const normalised = (by: Value): Value =>
    emit("SimplifiedLayerNormalization", [x, by], {
      shape: x.shape,
      attributes: { axis: -1, epsilon: { float: epsilon }, stash_type: 1 },
    });
  const y = withRematerialisation(normalised(gain), () => normalised(gain));
  const last = x.shape.length - 1;
  return withGradient(y, [x, gain], (dy) => {
    const width = countElements([x.shape[last] as Dim]);
    // n = x / rms without the gain, in the one fused operator
    const n = normalised(constant(new Float32Array(width).fill(1)));
    const square = emit("ReduceSumSquare", [x, constant(Int32Array.of(last), [1], "int64")], {
      shape: x.shape.map((dim, i) => (i === last ? 1 : dim)),
      attributes: { keepdims: 1 },
    });
    const inverse = inverseRoot(square, { width, epsilon });
    // dx = (dn − n · mean(dn · n)) / rms, dn = dy · gain
    const dn = mul(dy, gain);
    const dx = mul(sub(dn, mul(n, mean(mul(dn, n), [last]))), inverse);
    const rows = x.shape.map((_, i) => i).slice(0, -1);
    return [dx, reshape(sum(mul(dy, n), rows), gain.shape)];
  });
}

/** 1 / √(square / width + ε) */
function inverseRoot(square: Value, { width, epsilon }: NormOptions & { readonly width: number }): Value {
  const shape = square.shape;
  const shifted = emit("Add", [emit("Mul", [square, scalar(1 / width)], { shape }), scalar(epsilon)], {
    shape,
  });
  return emit("Reciprocal", [emit("Sqrt", [shifted], { shape })], { shape });
}
