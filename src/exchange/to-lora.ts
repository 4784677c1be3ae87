import { type Adapter, type ExpandedFactors, expandFactors } from "#adapters";
import { type AssembledLora, assembleLora, type SiteFactors } from "./assemble-lora.ts";

/** Bᵀ [r, out] → B [out, r]. */
function transposed({ rank, b }: ExpandedFactors): Float32Array {
  const out = b.length / rank;
  const result = new Float32Array(b.length);
  for (let i = 0; i < rank; i++)
    for (let row = 0; row < out; row++) result[row * rank + i] = b[i * out + row] ?? 0;
  return result;
}

const siteFactors = (factors: ExpandedFactors): SiteFactors => ({
  rank: factors.rank,
  scale: factors.scale,
  a: factors.a,
  b: transposed(factors),
});

/**
 * Any adapter as a plain LoRA: the rank of its factors, alpha = scale · rank, and the linear types that it really
 * changes. Exact where every site has the same rank and scale, as in all methods of this package: no number is rounded.
 *
 * @throws MosError "bad_config" for factors of a rank that no LoRA can have.
 * @example
 * const { adapter: lora, alpha } = await toLora(adapter);
 */
export async function toLora(adapter: Adapter): Promise<AssembledLora> {
  const factors = await expandFactors(adapter);
  const { geometry, config } = adapter;
  return assembleLora(new Map([...factors].map(([key, found]) => [key, siteFactors(found)])), {
    geometry,
    dropout: config.dropout,
    seed: config.seed,
  });
}
