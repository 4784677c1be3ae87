import { MosError } from "#core";

/** SentencePiece's pieces are at most 16 characters by default; the limit keeps a lying file from costing hours. */
const LONGEST_PIECE = 512;

export interface ScoredPiece {
  readonly token: string;
  /** Higher merges first. */
  readonly score: number;
}

/**
 * The merges of a SentencePiece BPE vocabulary, best first.
 *
 * SentencePiece merges the pair whose union has the highest score. Listing each way to cut each piece into two
 * pieces, by falling score, gives the same order; ways to make one piece go by the longer left part, since
 * SentencePiece takes the leftmost of equals.
 */
export function mergesFromScores(pieces: readonly ScoredPiece[]): [string, string][] {
  const known = new Set(pieces.map((piece) => piece.token));
  const merges: { readonly pair: [string, string]; readonly score: number }[] = [];
  for (const { token, score } of pieces) {
    if (token.length > LONGEST_PIECE)
      throw new MosError(
        "bad_model",
        `tokenizer.ggml.tokens: a piece of ${token.length} characters is not credible`,
      );
    for (let cut = token.length - 1; cut > 0; cut--) {
      const left = token.slice(0, cut);
      const right = token.slice(cut);
      if (known.has(left) && known.has(right)) merges.push({ pair: [left, right], score });
    }
  }
  // the sort is stable, so the order of cuts above is kept
  return merges.sort((a, b) => b.score - a.score).map((merge) => merge.pair);
}
