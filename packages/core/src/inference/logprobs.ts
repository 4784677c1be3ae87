// From logits to log-probabilities, and how they are packed.
import { MosError } from "#common";
import type { PackedLogprobs, TokenLogprob } from "./types.ts";

export const divergedError = (): MosError =>
  new MosError("diverged", "the model's logits are NaN; its weights or the adapter are corrupt");

/** log Σ e^z, safe for large logits. Throws `diverged` where that is not a number. */
export function logSumExp(logits: Float32Array): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) if ((logits[i] as number) > top) top = logits[i] as number;
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp((logits[i] as number) - top);
  const total = top + Math.log(sum);
  if (Number.isFinite(total)) return total;
  throw divergedError();
}

/** The `count` largest logits, largest first; of equal ones the smaller id first. */
function largest(logits: Float32Array, count: number): readonly number[] {
  const ids: number[] = [];
  for (let id = 0; id < logits.length; id++) {
    const z = logits[id] as number;
    if (ids.length === count && !(z > (logits[ids[count - 1] as number] as number))) continue;
    let place = ids.length;
    while (place > 0 && z > (logits[ids[place - 1] as number] as number)) place--;
    ids.splice(place, 0, id);
    if (ids.length > count) ids.pop();
  }
  return ids;
}

/** ln softmax of some tokens from logits [V], whose log Σ e^z is `total`. */
export function computeLogprobs(
  logits: Float32Array,
  ids: readonly number[],
  total = logSumExp(logits),
): readonly number[] {
  return ids.map((id) => (logits[id] as number) - total);
}

/** ln softmax of one token and of the `top` likeliest (default 0), from logits [V] as the model gave them, whose log Σ e^z is `total`. */
export function tokenLogprob(
  logits: Float32Array,
  id: number,
  { top = 0, total = logSumExp(logits) }: { readonly top?: number; readonly total?: number | undefined } = {},
): TokenLogprob {
  const of = (token: number): number => (logits[token] as number) - total;
  const ids = top > 0 ? largest(logits, top) : [];
  return { id, logprob: of(id), top: ids.map((token) => ({ id: token, logprob: of(token) })) };
}

/** Empty rows of a number of tokens with a number of alternatives. */
export const emptyLogprobs = (tokens: number, alternatives: number): PackedLogprobs =>
  new Float64Array(tokens * 2 * (alternatives + 1)).fill(Number.NaN);

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

/** Packs log-probabilities for `unpackLogprobs`, with a maximum number of alternatives. */
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
