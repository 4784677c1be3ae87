// The LoRA of a lower rank that is nearest to one, by the singular values of B A: for servers that take ranks up to a limit.
import { truncatedSvd } from "#models";
import { type Factors, transposed } from "./assemble-lora.ts";

/** Factors of a lower rank, and the squared norms of the whole update and of what is lost of it. */
export interface LowerFactors extends Factors {
  readonly all: number;
  readonly lost: number;
}

/** Share of the update that is lost, by the Frobenius norm. */
export const lostShare = (parts: readonly Pick<LowerFactors, "all" | "lost">[]): number => {
  const sum = (side: "all" | "lost"): number => parts.reduce((total, part) => total + part[side], 0);
  return sum("lost") === 0 ? 0 : Math.sqrt(sum("lost") / sum("all"));
};

/** The nearest factors of a rank of at most `most`. */
export async function lowerRank({ rank, a, b }: Factors, most: number): Promise<LowerFactors> {
  const [out, width] = [b.length / rank, a.length / rank];
  const product = [
    { data: b, out, in: rank },
    { data: a, out: rank, in: width },
  ] as const;
  // all of them, since the error is the norm of those that go
  const found = await truncatedSvd(product, Math.min(rank, out, width));
  const squares = (from: number, to: number): number =>
    found.b.subarray(from * out, to * out).reduce((sum, value) => sum + value * value, 0);
  const kept = Math.min(most, found.b.length / out);
  const lost = squares(kept, found.b.length / out);
  return {
    rank: kept,
    a: found.a.slice(0, kept * width),
    b: transposed(found.b.slice(0, kept * out), out),
    all: squares(0, kept) + lost,
    lost,
  };
}
