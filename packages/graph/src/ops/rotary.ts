// B batch · S tokens · H heads · D head width · R rotated dimensions of a head, the first ones; usually all D

import type { Dim } from "../tensor-type.ts";
import { emit, MICROSOFT, type Value, withGradient } from "../value.ts";
import { neg } from "./elementwise.ts";

/** The angles of rotary position embeddings. Where R < D, the rest of each head passes unchanged. */
export interface RotationTables {
  /** Cosine of position · frequency, [positions, R / 2]. */
  readonly cosine: Value;
  /** Sine of the same, [positions, R / 2]. */
  readonly sine: Value;
}

/** The attributes of the operator for heads that are rotated in part. */
function partial({ cosine }: RotationTables, { heads, width }: { readonly heads: Dim; readonly width: Dim }) {
  const rotated = 2 * (cosine.shape[1] as number);
  return rotated === width ? {} : { rotary_embedding_dim: rotated, num_heads: heads as number };
}

/** Rotary position embedding of x [B, H, S, D] at `positions` [B, S] int64; its gradient is the inverse rotation. */
export function rotate(x: Value, positions: Value, tables: RotationTables): Value {
  const [, heads, , width] = x.shape as readonly [Dim, Dim, Dim, Dim];
  const turn = (v: Value, sine: Value): Value =>
    emit("RotaryEmbedding", [v, positions, tables.cosine, sine], {
      ...MICROSOFT,
      shape: v.shape,
      attributes: { interleaved: 0, ...partial(tables, { heads, width }) },
    });
  return withGradient(turn(x, tables.sine), [x], (dy) => [turn(dy, neg(tables.sine))]);
}

/** Rotary position embedding of heads side by side, x [B, S, heads · D], at `positions` [B, S] int64. It has no gradient. */
export function rotateJoined(
  x: Value,
  positions: Value,
  { heads, ...tables }: RotationTables & { readonly heads: number },
): Value {
  const width = (x.shape[2] as number) / heads;
  return emit("RotaryEmbedding", [x, positions, tables.cosine, tables.sine], {
    ...MICROSOFT,
    shape: x.shape,
    attributes: { interleaved: 0, num_heads: heads, ...partial(tables, { heads, width }) },
  });
}
