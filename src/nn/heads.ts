// B batch · S tokens · N = B · S · H heads · D head width
import { type Dim, reshape, transpose, type Value } from "#graph";

export interface HeadLayout {
  readonly batch: Dim;
  readonly length: Dim;
  readonly heads: number;
  readonly headDim: number;
}

/** [N, H · D] as [B, H, S, D] */
export const splitHeads = (x: Value, { batch, length, heads, headDim }: HeadLayout): Value =>
  transpose(reshape(x, [batch, length, heads, headDim]), [0, 2, 1, 3]);

/** [B, H, S, D] as [N, H · D], or [B, S, H · D] where that is the layout of tokens. */
export const joinHeads = (x: Value, { heads, headDim }: HeadLayout, tokens: readonly Dim[]): Value =>
  reshape(transpose(x, [0, 2, 1, 3]), [...tokens, heads * headDim]);
