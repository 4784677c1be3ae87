// L layers · r pairs in the pool. What pure sharing and its two variants have in common: one A [r, in] and one B
// [out, r] for each linear type, used by all layers. A pair is a row of A with its column of B.
import type { LinearName } from "#nn";
import type { AdapterGeometry, TensorSpec } from "./method.ts";
import { kaiming, trainable, zeros } from "./tensor-spec.ts";
import { widthsOf } from "./widths.ts";

/** The pool of one linear type. */
export function pairTensors(
  geometry: AdapterGeometry,
  { linear, pairs }: { readonly linear: LinearName; readonly pairs: number },
): readonly TensorSpec[] {
  const { in: width, out } = widthsOf(geometry, linear);
  return [
    trainable(`${linear}.A`, [pairs, width], kaiming(pairs * width, width)),
    trainable(`${linear}.B`, [out, pairs], zeros(out * pairs)),
  ];
}
