import { MosError } from "#core";
import type { TokenLogprob } from "./types.ts";

/** log Σ e^z, safe for large logits. Throws `bad_model` where that is no number. */
function logSumExp(logits: Float32Array): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) top = Math.max(top, logits[i] as number);
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += Math.exp((logits[i] as number) - top);
  const total = top + Math.log(sum);
  if (Number.isFinite(total)) return total;
  throw new MosError(
    "bad_model",
    "the model gave logits that are no numbers; its weights or the adapter are broken",
  );
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

/** ln softmax of some tokens from logits [V]. */
export function logprobsOf(logits: Float32Array, ids: readonly number[]): readonly number[] {
  const total = logSumExp(logits);
  return ids.map((id) => (logits[id] as number) - total);
}

/** ln softmax of one token and of the `top` likeliest, from logits [V] as the model gave them. */
export function tokenLogprob(logits: Float32Array, id: number, top: number): TokenLogprob {
  const total = logSumExp(logits);
  const of = (token: number): number => (logits[token] as number) - total;
  const ids = top > 0 ? largest(logits, top) : [];
  return { id, logprob: of(id), top: ids.map((token) => ({ id: token, logprob: of(token) })) };
}
