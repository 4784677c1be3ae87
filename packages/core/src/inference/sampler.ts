// From logits to the next token: of all, or of those that a grammar allows. Their softmax is computed by the runtime where it can be:
// in JavaScript, exponentials of a whole vocabulary take milliseconds for each token.
import type { Matcher, TokenMask } from "mixture-of-shards-grammar";
import {
  compile,
  leaf,
  max,
  mul,
  type Program,
  type SessionOptions,
  softmax,
  sub,
  type Value,
} from "mixture-of-shards-graph";
import { MosError, omitUndefined, parseSettings, type Random } from "#common";
import { samplingSettings } from "./engine-options.ts";
import { divergedError } from "./logprobs.ts";
import type { AnswerDefaults, SamplingOptions } from "./types.ts";

/** Tokens that may come next. Asking for one is much cheaper than asking for all. */
export type AllowedTokens = Pick<Matcher, "allows" | "mask">;

/** State that the choice of a token depends on, beside the logits and the options. */
interface SamplingState {
  /** Ids of the sequence so far, for the repetition penalty. */
  readonly seen: Iterable<number>;
  /** Those of them that are the answer's, for the other penalties. */
  readonly answer?: readonly number[];
  /** Ids that are not chosen while there are others. */
  readonly barred?: readonly number[];
  /** Tokens of which one is chosen (all). */
  readonly allowed?: AllowedTokens | undefined;
  /** Softmax of the logits at the temperature that `softmaxTemperature` names (computed here). */
  readonly probabilities?: Float32Array | undefined;
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

/**
 * Index of the largest logit, the first where several are equal. Throws `diverged` where a logit is not a number, or none is finite. One loop, in which only what is
 * not smaller is looked at: it is passed at every token.
 */
export function argmax(logits: Float32Array): number {
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

/** Finite, so that one token is chosen even where all are barred. */
const LOWEST = -3e38;

/** The changes that these options ask for: biases, then penalties, then what is barred. */
const adjustments = ({
  seen = [],
  answer = [],
  barred = [],
  logitBias = new Map(),
  repetitionPenalty = 1,
  presencePenalty = 0,
  frequencyPenalty = 0,
}: SamplingOptions & Partial<SamplingState>) =>
  [
    {
      applies: logitBias.size > 0,
      ids: (): Iterable<number> => logitBias.keys(),
      change: (z: number, id: number) => z + (logitBias.get(id) ?? 0),
    },
    {
      applies: repetitionPenalty !== 1,
      ids: () => new Set(seen),
      change: (z: number) => (z > 0 ? z / repetitionPenalty : z * repetitionPenalty),
    },
    { applies: frequencyPenalty !== 0, ids: () => answer, change: (z: number) => z - frequencyPenalty },
    {
      applies: presencePenalty !== 0,
      ids: () => new Set(answer),
      change: (z: number) => z - presencePenalty,
    },
    { applies: barred.length > 0, ids: () => barred, change: () => LOWEST },
  ].filter(({ applies }) => applies);

/** Temperature of the softmax that a token is drawn from; undefined where it is the likeliest, or the logits are changed first. */
export function softmaxTemperature(options: SamplingOptions & Partial<SamplingState>): number | undefined {
  const { temperature = 0, allowed } = options;
  if (temperature === 0 || allowed !== undefined) return undefined;
  return adjustments(options).length > 0 ? undefined : temperature;
}

/** Changes logits to those that are sampled from. Returns what changes them back; undefined where nothing changes. */
function adjust(logits: Float32Array, options: SamplingOptions & SamplingState): (() => void) | undefined {
  const changed: number[] = [];
  const before: number[] = [];
  for (const { ids, change } of adjustments(options))
    for (const id of ids()) {
      const z = logits[id] as number;
      changed.push(id);
      before.push(z);
      logits[id] = change(z, id);
    }
  if (changed.length === 0) return undefined;
  return () => {
    for (let i = changed.length - 1; i >= 0; i--) logits[changed[i] as number] = before[i] as number;
  };
}

/** Probabilities up to a factor. */
type Weights = Float64Array | Float32Array;

/** Ids by falling weight, but only as many as `enough` asks for: a full sort of a vocabulary costs more than a step. */
function ranked(weights: Weights, enough: (ids: readonly number[]) => boolean): readonly number[] {
  for (let floor = 1e-2; ; floor *= 1e-3) {
    const ids: number[] = [];
    for (let i = 0; i < weights.length; i++) if ((weights[i] as number) >= floor) ids.push(i);
    if (floor > 1e-30 && ids.length < weights.length && !enough(ids)) continue;
    return ids.sort((a, b) => (weights[b] as number) - (weights[a] as number) || a - b);
  }
}

/** Probabilities at a temperature, each divided by the largest. */
function toWeights(logits: Float32Array, temperature: number): Float64Array {
  const top = logits[argmax(logits)] as number;
  const weights = new Float64Array(logits.length);
  for (let i = 0; i < weights.length; i++) weights[i] = Math.exp(((logits[i] as number) - top) / temperature);
  return weights;
}

/** The tokens that top-k, top-p and min-p, in this order, leave. */
function candidates(
  weights: Weights,
  { topK, topP, minP }: Readonly<Record<"topK" | "topP" | "minP", number>>,
) {
  const limit = topK > 0 ? Math.min(topK, weights.length) : weights.length;
  const sumProbabilities = (ids: readonly number[]): number =>
    ids.reduce((sum, id) => sum + (weights[id] as number), 0);
  const all = sumWeights(weights);
  // top-p is a share of what top-k leaves, so that has to be found whole
  const enough = (found: readonly number[]): boolean =>
    limit < weights.length ? found.length >= limit : sumProbabilities(found) >= topP * all;
  const ids = ranked(weights, enough).slice(0, limit);
  const total = limit < weights.length ? sumProbabilities(ids) : all;
  const least = minP * (weights[ids[0] as number] as number);
  let kept = 0;
  for (let mass = 0; kept < ids.length; kept++) {
    const weight = weights[ids[kept] as number] as number;
    if (mass >= topP * total || weight < least) break;
    mass += weight;
  }
  const chosen = ids.slice(0, Math.max(1, kept));
  return { ids: chosen, weights: chosen.map((id) => weights[id] as number) };
}

/** Σ of weights, in double precision: four sums, which do not wait for each other. */
export function sumWeights(weights: ArrayLike<number>): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = weights.length - (weights.length % 4);
  for (let i = 0; i < whole; i += 4) {
    a += weights[i] as number;
    b += weights[i + 1] as number;
    c += weights[i + 2] as number;
    d += weights[i + 3] as number;
  }
  for (let i = whole; i < weights.length; i++) a += weights[i] as number;
  return a + b + (c + d);
}

/** An index by weights, which need not add up to 1. Throws `diverged` where they are not numbers. */
function drawByWeight(weights: ArrayLike<number>, random: Random): number {
  const total = sumWeights(weights);
  if (!(total > 0)) throw divergedError();
  let left = random.uniform() * total;
  for (let i = 0; i < weights.length; i++) {
    left -= weights[i] as number;
    if (left < 0) return i;
  }
  return weights.length - 1;
}

/** One of some tokens by their weights [V]. */
function draw(
  weights: Weights,
  { topP = 1, topK = 0, minP = 0, random }: SamplingOptions & SamplingState,
): number {
  // a top-k of all of them leaves all
  if (!narrows({ topP, minP, topK: topK < weights.length ? topK : 0 })) return drawByWeight(weights, random);
  const { ids, weights: kept } = candidates(weights, { topP, topK, minP });
  return ids[drawByWeight(kept, random)] as number;
}

/** Calls `visit` with the ids of a mask, in their order. */
function visitAllowed(words: Uint32Array, visit: (id: number) => void): void {
  for (let at = 0; at < words.length; at++)
    for (let left = words[at] as number; left !== 0; left &= left - 1)
      visit(at * 32 + 31 - Math.clz32(left & -left));
}

/** The allowed token with the largest logit, the first where several are equal. */
function allowedArgmax(logits: Float32Array, { words }: TokenMask): number {
  let [best, top] = [-1, Number.NEGATIVE_INFINITY];
  visitAllowed(words, (id) => {
    const z = logits[id] as number;
    if (!(z > top) && best >= 0) return;
    best = id;
    top = z;
  });
  return best;
}

/** One of the allowed tokens, among which top-k, top-p and min-p choose: others have no probability. */
function drawAllowed(
  logits: Float32Array,
  { words, count }: TokenMask,
  options: SamplingOptions & SamplingState,
): number {
  const ids = new Int32Array(count);
  const values = new Float32Array(count);
  let found = 0;
  visitAllowed(words, (id) => {
    ids[found] = id;
    values[found++] = logits[id] as number;
  });
  return ids[draw(toWeights(values, options.temperature ?? 0), options)] as number;
}

/**
 * The next token. The logits are as before afterwards.
 *
 * @throws MosError `diverged` for logits that are not numbers, `unsupported` where a grammar allows no token.
 */
export function sample(logits: Float32Array, options: SamplingOptions & SamplingState): number {
  const { temperature = 0, allowed, probabilities } = options;
  if (probabilities !== undefined) return draw(probabilities, options);
  const top = argmax(logits);
  const restore = adjust(logits, options);
  try {
    if (temperature === 0) {
      const best = restore === undefined ? top : argmax(logits);
      // what a model is trained for it mostly chooses by itself
      if (allowed === undefined || allowed.allows(best)) return best;
    } else if (allowed === undefined) return draw(toWeights(logits, temperature), options);
    const mask = allowed.mask();
    if (mask.count === 0)
      throw new MosError("unsupported", "the grammar allows none of the model's tokens here");
    return temperature === 0 ? allowedArgmax(logits, mask) : drawAllowed(logits, mask, options);
  } finally {
    restore?.();
  }
}

/** A row of logits [V], and what is needed of it. */
export interface SoftmaxRow {
  readonly logits: Float32Array;
  /** Temperature at which a token is drawn; undefined where none is. */
  readonly temperature: number | undefined;
  /** Whether log-probabilities are needed. */
  readonly scores: boolean;
}

/** The softmax of a row, as far as it is needed. */
export interface RowSoftmax {
  /** log Σ e^z, in double precision; not finite where a logit is NaN or ∞. */
  readonly total: number | undefined;
  /** Probabilities [V] at the row's temperature. Rounding may keep their sum from 1. */
  readonly probabilities: Float32Array | undefined;
}

/** Softmax of rows. Holds native memory: dispose it. */
export type TokenSoftmax = ReturnType<typeof tokenSoftmax>;

/** 4 MiB of logits; several times that is in use. */
const MAX_LOGITS = 2 ** 20;
/** Logits that are kept from step to step at most: 32 MiB. */
const REUSED_LOGITS = 2 ** 23;
/** Keeps the smallest temperatures from becoming ∞, which has no product with 0. */
const MAX_INVERSE = 3e38;

/** The index of the largest number, the first where several are. */
function likeliest(probabilities: Float32Array): number {
  let best = 0;
  for (let i = 1; i < probabilities.length; i++)
    if ((probabilities[i] as number) > (probabilities[best] as number)) best = i;
  return best;
}

/** log Σ e^z = z − log p of the likeliest, where the runtime has divided p by a sum in single precision. */
function totalBy(logits: Float32Array, probabilities: Float32Array): number {
  const top = likeliest(probabilities);
  return (logits[top] as number) - Math.log((probabilities[top] as number) / sumWeights(probabilities));
}

/** Softmax of a vocabulary, compiled when it is first needed. `maxLogits` are computed at a time at most. */
export function tokenSoftmax(vocabularySize: number, session: SessionOptions, maxLogits = MAX_LOGITS) {
  const programs = new Map<"plain" | "scaled", Promise<Program>>();
  const open = (kind: "plain" | "scaled"): Promise<Program> => {
    const logits = leaf("logits", ["rows", vocabularySize]);
    const scaled = (): Value => mul(sub(logits, max(logits, [1])), leaf("inverse_temperatures", ["rows", 1]));
    const found =
      programs.get(kind) ??
      compile({ probabilities: softmax(kind === "plain" ? logits : scaled()) }, session);
    programs.set(kind, found);
    return found;
  };
  const limit = Math.max(1, Math.floor(maxLogits / vocabularySize));
  let memory = new Float32Array(0);
  /** The same memory for as many rows as are decoded at a time: pages that are new take as long as the softmax. */
  const reuse = (size: number): Float32Array => {
    if (size > REUSED_LOGITS) return new Float32Array(size);
    if (memory.length < size) memory = new Float32Array(size);
    return memory.subarray(0, size);
  };

  /** Probabilities [V] of rows at these temperatures, in the given memory. */
  async function softmaxAt(
    rows: readonly SoftmaxRow[],
    temperature: (row: SoftmaxRow) => number,
    data: Float32Array,
  ): Promise<readonly Float32Array[]> {
    const inverse = Float32Array.from(rows, (row) => Math.min(1 / temperature(row), MAX_INVERSE));
    const isPlain = inverse.every((factor) => factor === 1);
    const program = await open(isPlain ? "plain" : "scaled");
    const found: Float32Array[] = [];
    for (let from = 0; from < rows.length; from += limit) {
      const some = rows.slice(from, from + limit);
      const shape = [some.length, vocabularySize];
      const feeds = { logits: { shape, data: toMatrix(some, vocabularySize) } };
      const factors = { shape: [some.length, 1], data: inverse.subarray(from, from + limit) };
      const { probabilities } = await program.run(
        isPlain ? feeds : { ...feeds, inverse_temperatures: factors },
        {
          probabilities: {
            shape,
            data: data.subarray(from * vocabularySize, (from + some.length) * vocabularySize),
          },
        },
      );
      for (const i of some.keys())
        found.push(
          probabilities?.data.subarray(i * vocabularySize, (i + 1) * vocabularySize) as Float32Array,
        );
    }
    return found;
  }

  return {
    /** The result of a row does not depend on the other rows. The next call may overwrite it. */
    async compute(rows: readonly SoftmaxRow[]): Promise<readonly RowSoftmax[]> {
      const size = rows.length * vocabularySize;
      const draws = rows.some(({ temperature }) => temperature !== undefined);
      const scores = rows.some((row) => row.scores);
      const drawn = draws ? await softmaxAt(rows, ({ temperature = 1 }) => temperature, reuse(size)) : [];
      const isEnough = draws && rows.every((row) => !row.scores || (row.temperature ?? 1) === 1);
      const again = () => (draws ? new Float32Array(size) : reuse(size));
      const scored = !scores || isEnough ? drawn : await softmaxAt(rows, () => 1, again());
      return rows.map(({ logits, scores, temperature }, i) => ({
        total: scores ? totalBy(logits, scored[i] as Float32Array) : undefined,
        probabilities: temperature === undefined ? undefined : drawn[i],
      }));
    },
    async [Symbol.asyncDispose](): Promise<void> {
      for (const program of programs.values()) await (await program)[Symbol.asyncDispose]();
    },
  };
}

/** Rows one after another: a view where they are contiguous, as those of a step are. */
function toMatrix(rows: readonly SoftmaxRow[], width: number): Float32Array {
  const [first] = rows as [SoftmaxRow];
  const { buffer, byteOffset } = first.logits;
  const isContiguous = rows.every(
    ({ logits }, i) => logits.buffer === buffer && logits.byteOffset === byteOffset + i * width * 4,
  );
  if (isContiguous) return new Float32Array(buffer, byteOffset, rows.length * width);
  const copy = new Float32Array(rows.length * width);
  rows.forEach(({ logits }, i) => void copy.set(logits, i * width));
  return copy;
}
