// Log-probabilities on their way from a step to their reader, who may be slow: one array for a token, or for a prompt, takes
// a tenth of the heap that objects take, and crosses to another process as it is.
import type { TokenLogprob } from "./sampler.ts";

/** A row [id, ln p, id, ln p, …] for each token, its own first and then the likeliest; NaN where nothing stands. */
export type PackedLogprobs = Float64Array;

/** Empty rows of so many tokens with so many alternatives. */
export const emptyLogprobs = (tokens: number, alternatives: number): PackedLogprobs =>
  new Float64Array(tokens * 2 * (alternatives + 1)).fill(Number.NaN);

/** The row of one of so many tokens. */
export function rowAt(logprobs: PackedLogprobs, token: number, tokens: number): PackedLogprobs {
  const width = logprobs.length / tokens;
  return logprobs.subarray(token * width, (token + 1) * width);
}

/** Fills a token's row, and gives it. */
export function packLogprob(row: PackedLogprobs, { id, logprob, top }: TokenLogprob): PackedLogprobs {
  row[0] = id;
  row[1] = logprob ?? Number.NaN;
  for (const [i, entry] of top.entries()) {
    row[2 * i + 2] = entry.id;
    row[2 * i + 3] = entry.logprob;
  }
  return row;
}

function unpack(row: PackedLogprobs): TokenLogprob {
  const [id = 0, logprob = Number.NaN] = row;
  const top: { readonly id: number; readonly logprob: number }[] = [];
  for (let at = 2; at < row.length && !Number.isNaN(row[at]); at += 2)
    top.push({ id: row[at] as number, logprob: row[at + 1] as number });
  return { id, logprob: Number.isNaN(logprob) ? null : logprob, top };
}

/** What `unpackLogprobs` reads, with at most so many alternatives. */
export function packLogprobs(entries: readonly TokenLogprob[], alternatives: number): PackedLogprobs {
  const packed = emptyLogprobs(entries.length, alternatives);
  entries.forEach((entry, i) => void packLogprob(rowAt(packed, i, entries.length), entry));
  return packed;
}

/** The log-probabilities of a `prompt` event, or of a `token` event; none where it has none. */
export function unpackLogprobs({
  tokens = 1,
  logprobs,
}: {
  readonly tokens?: number;
  readonly logprobs?: PackedLogprobs;
}): readonly TokenLogprob[] {
  if (logprobs === undefined) return [];
  return Array.from({ length: tokens }, (_, i) => unpack(rowAt(logprobs, i, tokens)));
}
