// From logits to the next token, and to log-probabilities.
import { MosError, omitUndefined, parseSettings, type Random } from "#core";
import { samplingSettings } from "./engine-options.ts";
import type { AnswerDefaults, PackedLogprobs, SamplingOptions, TokenLogprob } from "./types.ts";

/** State that the choice of a token depends on, beside the logits and the options. */
interface SamplingState {
  /** Ids of the sequence so far, for the repetition penalty. */
  readonly seen: Iterable<number>;
  /** Those of them that are the answer's, for the other penalties. */
  readonly answer?: readonly number[];
  /** Ids that are not chosen while there are others. */
  readonly barred?: readonly number[];
  /** Used only above temperature 0. */
  readonly random: Random;
}

/** Tests whether anything but the temperature restricts the choice of tokens. */
const narrows = ({ topP = 1, topK = 0, minP = 0 }: SamplingOptions): boolean =>
  topP < 1 || topK > 0 || minP > 0;

/** A request's sampling with the defaults filled in, the temperature among them. */
export function samplingBy({ sampling }: Pick<AnswerDefaults, "sampling">, given: SamplingOptions = {}) {
  const merged: SamplingOptions = { ...sampling, ...omitUndefined(given) };
  return { ...merged, temperature: merged.temperature ?? (narrows(merged) ? 1 : 0) };
}

/** Refuses settings out of range. Throws `bad_option`. */
export function checkSampling(options: SamplingOptions): void {
  const { logitBias = [], ...settings } = options;
  parseSettings(samplingSettings, settings);
  for (const [id, bias] of logitBias)
    if (!Number.isFinite(bias))
      throw new MosError("bad_option", `logitBias of token ${id} is ${bias}; it must be a number`);
}

const divergedError = (): MosError =>
  new MosError("diverged", "the model's logits are NaN; its weights or the adapter are corrupt");

/**
 * Index of the largest logit. Throws `diverged` where a logit is not a number, or none is finite. One loop, in which only what is
 * not smaller is looked at: it is passed at every token.
 */
function checkedArgmax(logits: Float32Array): number {
  let best = 0;
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) {
    const z = logits[i] as number;
    if (z <= top) continue;
    if (Number.isNaN(z)) throw divergedError();
    best = i;
    top = z;
  }
  if (!Number.isFinite(top)) throw divergedError();
  return best;
}

/** Index of the largest logit, the first where several are equal. */
export function argmax(logits: Float32Array): number {
  let best = 0;
  let top = logits[0] as number;
  for (let i = 1; i < logits.length; i++) {
    const z = logits[i] as number;
    if (z <= top) continue;
    best = i;
    top = z;
  }
  return best;
}

/** Finite, so that one token is chosen even where all are barred. */
const LOWEST = -3e38;

/** The logits that are sampled from: biases, then penalties, then what is barred. The model's own stay as they are. */
function adjusted(
  logits: Float32Array,
  {
    seen,
    answer = [],
    barred = [],
    logitBias = new Map(),
    repetitionPenalty = 1,
    presencePenalty = 0,
    frequencyPenalty = 0,
  }: SamplingOptions & SamplingState,
): Float32Array {
  const changes: ((changed: Float32Array) => void)[] = [];
  const change = (ids: Iterable<number>, to: (z: number, id: number) => number): void => {
    changes.push((changed) => {
      for (const id of ids) changed[id] = to(changed[id] as number, id);
    });
  };
  if (logitBias.size > 0) change(logitBias.keys(), (z, id) => z + (logitBias.get(id) ?? 0));
  if (repetitionPenalty !== 1)
    change(new Set(seen), (z) => (z > 0 ? z / repetitionPenalty : z * repetitionPenalty));
  if (frequencyPenalty !== 0) change(answer, (z) => z - frequencyPenalty);
  if (presencePenalty !== 0) change(new Set(answer), (z) => z - presencePenalty);
  if (barred.length > 0) change(barred, () => LOWEST);
  if (changes.length === 0) return logits;
  const changed = logits.slice();
  for (const apply of changes) apply(changed);
  return changed;
}

interface Candidates {
  readonly ids: ArrayLike<number>;
  readonly weights: ArrayLike<number>;
}

/** Ids by falling weight, but only as many as `enough` asks for: a full sort of a vocabulary costs more than a step. */
function ranked(weights: Float64Array, enough: (ids: readonly number[]) => boolean): readonly number[] {
  for (let floor = 1e-2; ; floor *= 1e-3) {
    const ids: number[] = [];
    for (let i = 0; i < weights.length; i++) if ((weights[i] as number) >= floor) ids.push(i);
    if (floor > 1e-30 && ids.length < weights.length && !enough(ids)) continue;
    return ids.sort((a, b) => (weights[b] as number) - (weights[a] as number) || a - b);
  }
}

/** The tokens that top-k, top-p and min-p, in this order, leave. */
function candidates(
  logits: Float32Array,
  { temperature, topK, topP, minP }: Readonly<Record<"temperature" | "topK" | "topP" | "minP", number>>,
): Candidates {
  const top = logits[argmax(logits)] as number;
  const weights = Float64Array.from(logits, (z) => Math.exp((z - top) / temperature));
  const limit = topK > 0 ? Math.min(topK, weights.length) : weights.length;
  if (limit === weights.length && topP === 1 && minP === 0) return { ids: weights.map((_, i) => i), weights };
  const sumProbabilities = (ids: readonly number[]): number =>
    ids.reduce((sum, id) => sum + (weights[id] as number), 0);
  const all = weights.reduce((a, b) => a + b, 0);
  // top-p is a share of what top-k leaves, so that has to be found whole
  const enough = (found: readonly number[]): boolean =>
    limit < weights.length ? found.length >= limit : sumProbabilities(found) >= topP * all;
  const ids = ranked(weights, enough).slice(0, limit);
  const total = limit < weights.length ? sumProbabilities(ids) : all;
  let kept = 0;
  for (let mass = 0; kept < ids.length; kept++) {
    const weight = weights[ids[kept] as number] as number;
    if (mass >= topP * total || weight < minP) break;
    mass += weight;
  }
  const chosen = ids.slice(0, Math.max(1, kept));
  return { ids: chosen, weights: chosen.map((id) => weights[id] as number) };
}

/** The next token. */
export function sample(logits: Float32Array, options: SamplingOptions & SamplingState): number {
  const { temperature = 0, topP = 1, topK = 0, minP = 0 } = options;
  const top = checkedArgmax(logits);
  const chosenFrom = adjusted(logits, options);
  if (temperature === 0) return chosenFrom === logits ? top : argmax(chosenFrom);
  const { ids, weights } = candidates(chosenFrom, { temperature, topP, topK, minP });
  let total = 0;
  for (let i = 0; i < ids.length; i++) total += weights[i] as number;
  let left = options.random.uniform() * total;
  for (let i = 0; i < ids.length; i++) {
    left -= weights[i] as number;
    if (left < 0) return ids[i] as number;
  }
  return ids[ids.length - 1] as number;
}

/** log Σ e^z, safe for large logits. Throws `diverged` where that is not a number. */
function logSumExp(logits: Float32Array): number {
  let top = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) top = Math.max(top, logits[i] as number);
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

/** ln softmax of some tokens from logits [V]. */
export function computeLogprobs(logits: Float32Array, ids: readonly number[]): readonly number[] {
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

/** Empty rows of a number of tokens with a number of alternatives. */
export const emptyLogprobs = (tokens: number, alternatives: number): PackedLogprobs =>
  new Float64Array(tokens * 2 * (alternatives + 1)).fill(Number.NaN);

/** The row of one of the tokens. */
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
