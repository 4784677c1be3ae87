// A depthwise convolution along the tokens: each channel has a kernel of its own.
// B batch · S tokens · C channels · K tokens that an output sees
import { MosError } from "../error.ts";
import { cast, emit, showShape, type Value } from "../value.ts";
import { add, mul } from "./elementwise.ts";
import { padAxis, reshape, slice, split, transpose, zeros } from "./shape.ts";

/**
 * Σ_j taps[j] · kernel[:, j], where `taps` [..., C] are what the K tokens up to each one read, the furthest first, and the
 * kernel is [C, 1, K].
 *
 * @throws MosError `bad_config` where there are not K taps.
 */
export function depthwise(taps: readonly Value[], kernel: Value): Value {
  const [channels, , width] = kernel.shape as readonly [number, number, number];
  if (taps.length !== width)
    throw new MosError("bad_config", `${taps.length} taps of a kernel ${showShape(kernel.shape)}`);
  const columns = split(transpose(reshape(kernel, [channels, width]), [1, 0]), {
    axis: 0,
    sizes: taps.map(() => 1),
  });
  const products = taps.map((tap, j) => mul(tap, reshape(columns[j] as Value, [channels])));
  return products.reduce(add);
}

/**
 * x [B, S, C] of the token `back` before each one, and 0 where that is not of the same segment. `segments` are [B, S].
 *
 * @throws MosError `bad_config` where the number of tokens is not known.
 */
export function earlierToken(x: Value, back: number, segments: Value): Value {
  const [batch, length] = segments.shape;
  if (typeof batch !== "number" || typeof length !== "number")
    throw new MosError(
      "bad_config",
      `earlierToken needs segments of known shape, not ${showShape(segments.shape)}`,
    );
  if (back >= length) return zeros(x.shape);
  const kept = length - back;
  const part = (value: Value, from: number): Value => slice(value, { axis: 1, from, to: from + kept });
  const isSame = emit("Equal", [part(segments, 0), part(segments, back)], {
    shape: [batch, kept],
    dtype: "bool",
  });
  const seen = mul(part(x, 0), reshape(cast(isSame, "float32"), [batch, kept, 1]));
  return padAxis(seen, { axis: 1, before: back, after: 0 });
}
