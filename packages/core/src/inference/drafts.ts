// Drafts of the next tokens by prompt lookup, and the decision how many of them are worth verifying. A step that computes the last
// token together with a draft gives logits after each, so that an answer gets all drafted tokens that it would have chosen anyway.

import type { ExpandedFactors, FactorMap } from "#adapters";
import { equalBytes } from "#common";
import { type ComputeDtype, listLayerGroups, type ModelConfig, moduleKey, stateTensors } from "#models";
import type { ResolvedOptions } from "./engine-options.ts";
import type { ModelRunner } from "./model-runner.ts";
import type { Sequence } from "./sequence.ts";
import { capacityFor } from "./slots.ts";
import type { Drafts } from "./types.ts";

/** Fewest tokens that must recur. */
const MIN_MATCH = 2;
/** Tokens from which on a longer match says no more. */
const MAX_MATCH = 16;

/**
 * The tokens that followed the longest earlier occurrence of the last tokens, the latest where several are as long; none where
 * fewer than two recur. A draft that reaches the end goes on as if its tokens had been generated.
 */
export function findDraft(tokens: readonly number[], count: number): readonly number[] {
  if (count <= 0) return [];
  const last = tokens.length - 1;
  let [longest, next] = [0, 0];
  for (let at = last - 1; at >= 0 && longest < MAX_MATCH; at--) {
    let length = 0;
    while (length < MAX_MATCH && length <= at && tokens[at - length] === tokens[last - length]) length++;
    if (length > longest) [longest, next] = [length, at + 1];
  }
  if (longest < MIN_MATCH) return [];
  const draft: number[] = [];
  for (let i = 0; i < count; i++) draft.push((tokens[next + i] ?? draft[next + i - tokens.length]) as number);
  return draft;
}

/** Numbers of keys up to which products with queries sum heads of more than 128 numbers in fewer parts than behind them. */
const SUMS_CHANGE = [16, 32, 64];

/** Most tokens of a draft behind so many, so that its step sums as the steps of one token would. */
export function longestDraft(tokens: number): number {
  const keys = tokens + 1; // the fused program adds one
  return (SUMS_CHANGE.find((at) => keys <= at) ?? Number.POSITIVE_INFINITY) - keys;
}

/** Weight of a new observation. */
const RATE_WEIGHT = 0.15;

/**
 * The share of a request's drafted tokens that it chooses. It is learnt from every step, since a draft that is not verified can be
 * compared with the next token as well.
 */
export class DraftRate {
  #rate: number;

  constructor(rate = 0.5) {
    this.#rate = rate;
  }

  /** Notes how many tokens of a draft were chosen, and whether another one was chosen after them. */
  note({ accepted, rejected }: { readonly accepted: number; readonly rejected: boolean }): void {
    for (let i = 0; i < accepted; i++) this.#rate += RATE_WEIGHT * (1 - this.#rate);
    if (rejected) this.#rate -= RATE_WEIGHT * this.#rate;
  }

  /** The number of drafted tokens, at most `most`, that gives the most tokens for its time; 0 if one token alone does. */
  choose(most: number, cost: (tokens: number) => number): number {
    let [best, gain] = [0, 1];
    for (let [count, expected, chance] = [1, 1, 1]; count <= most; count++) {
      chance *= this.#rate;
      expected += chance;
      if (expected / cost(count + 1) <= gain) continue;
      [best, gain] = [count, expected / cost(count + 1)];
    }
    return best;
  }
}

/** Weight of a new measurement. */
const TIME_WEIGHT = 0.1;
/** Cost of a further token before it is measured: a share of a step of one token. */
const USUAL_COST = 0.3;
/** The share by which every step of one token leads back there, so that drafts are tried again at last. */
const FORGETTING = 0.002;

/** Time of the steps of one slot, by their tokens. A single slow one, because of other programs, counts as twice the usual at most. */
export class StepTimes {
  #one: number | undefined;
  /** Time of a further token, over that of a step of one token. */
  #further = USUAL_COST;

  note(tokens: number, milliseconds: number): void {
    if (tokens === 1) {
      this.#one ??= milliseconds;
      this.#one += TIME_WEIGHT * (Math.min(milliseconds, 2 * this.#one) - this.#one);
      this.#further += FORGETTING * (USUAL_COST - this.#further);
    } else if (this.#one !== undefined && this.#one > 0) {
      const further = Math.max(0, milliseconds / this.#one - 1) / (tokens - 1);
      this.#further += TIME_WEIGHT * (Math.min(further, 2 * this.#further + 0.01) - this.#further);
    }
  }

  /** Time of a step of some tokens, over that of one token. */
  cost(tokens: number): number {
    return 1 + this.#further * (tokens - 1);
  }
}

/**
 * Time of a near step of some tokens, over that of one token, without a clock: whether a draft is verified may change its answer, and
 * must not depend on how busy the machine is. The first further token costs as much as leaving the kernels of one row. Measured on
 * processors with AVX2 alone and with AVX-512 VNNI, and rather too high.
 */
const nearCost = (tokens: number, computeDtype: ComputeDtype): number => {
  const { leaving, further } = NEAR_COSTS[computeDtype];
  return tokens === 1 ? 1 : 1 + leaving + further * (tokens - 1);
};

const NEAR_COSTS: Readonly<Record<ComputeDtype, Readonly<Record<"leaving" | "further", number>>>> = {
  int8: { leaving: 0.1, further: 0.3 },
  float32: { leaving: 0.9, further: 0.15 },
};

/** What may follow a sequence, and the share of such tokens that its request chooses. */
interface Draft {
  readonly tokens: readonly number[];
  readonly rate: DraftRate;
  /** Verifying it rounds otherwise than steps of one token. */
  readonly isNear: boolean;
}

/** The shares of a request: of tokens that are copied, and of those that its grammar forces, which models mostly choose. */
const draftRates = () => ({ copied: new DraftRate(), forced: new DraftRate(0.9) });

/** Those of near drafts are learnt from near steps alone: how many tokens other steps have depends on measured times. */
export class DraftRates {
  readonly same = draftRates();
  readonly near = draftRates();
}

export const NO_DRAFTS: Drafts = { tokens: 0, sameUpTo: 0, isPadded: false };

/**
 * Tests whether the token behind a sequence may be drafted: its last tokens recur, or a grammar may force what follows. It is true at
 * each token of a draft that is accepted, since what was copied recurs.
 */
export const expectsDraft = ({ tokens, constraint }: Sequence): boolean =>
  constraint !== undefined || findDraft(tokens, 1).length > 0;

export class Drafter {
  /** Tokens that were verified, and those of them that became part of an answer. */
  readonly counts = { draftTokens: 0, acceptedTokens: 0, nearDraftTokens: 0 };
  readonly #drafts: Drafts;
  readonly #computeDtype: ComputeDtype;
  readonly #times = new StepTimes();

  constructor(drafts: Drafts, computeDtype: ComputeDtype) {
    this.#drafts = drafts;
    this.#computeDtype = computeDtype;
  }

  /**
   * The text that a grammar forces, or else what followed earlier: no longer than the answer may become, and as its grammar allows.
   * None passes the place where near drafts begin, so that every answer comes to it with the same tokens in the same cache.
   */
  draft({ tokens, generated, constraint, draftRates, request: { maxTokens } }: Sequence): Draft {
    const { tokens: longest, sameUpTo } = this.#drafts;
    const isNear = tokens.length > sameUpTo;
    const room = isNear ? longest : Math.min(longest, sameUpTo - tokens.length);
    const most = Math.min(room, maxTokens - generated - 1);
    const rates = isNear ? draftRates.near : draftRates.same;
    const forced = most > 0 ? (constraint?.forcedTokens(most) ?? []) : [];
    if (forced.length > 0) return { tokens: forced, rate: rates.forced, isNear };
    const found = findDraft(tokens, most);
    return { tokens: constraint?.allowedPart(found) ?? found, rate: rates.copied, isNear };
  }

  /** The number of drafted tokens that are worth verifying; one costs no more than padding. */
  choose({ tokens }: Sequence, draft: Draft, { isPadded }: { readonly isPadded: boolean }): number {
    if (draft.isNear)
      return draft.rate.choose(draft.tokens.length, (count) => nearCost(count, this.#computeDtype));
    const most = Math.min(draft.tokens.length, longestDraft(tokens.length));
    const best = draft.rate.choose(most, (count) => this.#times.cost(count));
    return isPadded ? Math.max(best, Math.min(1, most)) : best;
  }

  /** Notes a step of a request that decoded alone: how many drafted tokens it computed, and the tokens that the answer got. */
  note({
    draft,
    verified,
    chosen,
    milliseconds,
  }: {
    readonly draft: Draft;
    readonly verified: number;
    readonly chosen: readonly number[];
    readonly milliseconds: number;
  }): void {
    if (draft.isNear) this.counts.nearDraftTokens += verified;
    else this.#times.note(verified + 1, milliseconds);
    const compared = Math.min(chosen.length, draft.tokens.length);
    let accepted = 0;
    while (accepted < compared && draft.tokens[accepted] === chosen[accepted]) accepted++;
    draft.rate.note({ accepted, rejected: accepted < compared });
    this.counts.draftTokens += verified;
    this.counts.acceptedTokens += Math.min(accepted, verified);
  }
}

/**
 * Tokens of the steps that are compared: kernels work on rows two by two, or four by four, and on those that are left; products
 * of many rows are divided among threads.
 */
const COMPARED = [8, 4, 3];

/**
 * Tests whether a step of several tokens of a slot has the logits of steps of one token, bit for bit, so that drafts change no answer.
 * It depends on the kernels of the processor and on the type of products: where a single row has a kernel of its own, as in float32
 * and with 4-bit weights on processors with AVX2 alone, it fails. Empties the slots.
 */
export async function verifiesDrafts(
  { config, cache, slots, run, usesFused }: ModelRunner,
  { adapters, isPadded = false }: { readonly adapters: boolean; readonly isPadded?: boolean },
): Promise<boolean> {
  const tokens = Array.from({ length: 1 + Math.max(...COMPARED) }, (_, i) => i % config.vocabularySize);
  const runAll = async (sizes: readonly number[]): Promise<readonly Float32Array[]> => {
    cache.truncate(0, 0);
    const logits: Float32Array[] = [];
    for (const size of sizes) {
      const next = tokens.slice(logits.length, logits.length + size);
      const [added = []] = await run({
        from: 0,
        count: 1,
        tokens: [next],
        allLogits: true,
        isDraft: true,
        isPadded,
      });
      logits.push(...added.map((one) => one.slice()));
    }
    return logits;
  };
  try {
    cache.resize(1, capacityFor(tokens.length));
    if (adapters) {
      slots.resize(1, RANK);
      slots.fill(0, unevenFactors(config));
    }
    if (!usesFused({ from: 0, count: 1, tokens: [tokens], allLogits: true, isDraft: true })) return false;
    const expected = await runAll(tokens.map(() => 1));
    for (const size of COMPARED) {
      const found = await runAll([1, size]);
      if (!found.every((one, i) => isEqual(one, expected[i]))) return false;
    }
    return true;
  } finally {
    cache.resize(0, 0);
    slots.resize(0, 0);
  }
}

/** Tests whether drafts can be verified: a state behind rejected tokens could not be taken back. */
export const supportsDrafts = (config: ModelConfig): boolean => stateTensors(config).length === 0;

/** The drafts of an engine with this runner. Near ones were measured on the CPU alone. */
export async function planDrafts(
  runner: ModelRunner,
  {
    draftTokens: tokens,
    adapters,
    maxLength,
    device,
  }: Pick<ResolvedOptions, "draftTokens" | "adapters" | "maxLength" | "device">,
): Promise<Drafts> {
  if (maxLength <= Math.max(...COMPARED) || !supportsDrafts(runner.config)) return NO_DRAFTS;
  const sameUpTo = Math.min(maxLength, runner.fusedLength - tokens);
  // in float32 two rows cost up to twice as much as one
  for (const isPadded of runner.computeDtype === "int8" ? [false, true] : [false])
    if (sameUpTo > 0 && (await verifiesDrafts(runner, { adapters, isPadded })))
      return { tokens, sameUpTo, isPadded };
  return device === "cpu" ? { ...NO_DRAFTS, tokens } : NO_DRAFTS;
}

const RANK = 16;

const isEqual = (a: Float32Array, b: Float32Array | undefined): boolean =>
  b !== undefined && equalBytes(viewBytes(a), viewBytes(b));

export const viewBytes = ({ buffer, byteOffset, byteLength }: Float32Array): Uint8Array =>
  new Uint8Array(buffer, byteOffset, byteLength);

/** Factors of all linear layers whose numbers are of all kinds, others by another seed. */
export function unevenFactors(config: ModelConfig, seed = 0): FactorMap {
  const numbers = (length: number): Float32Array =>
    Float32Array.from({ length }, (_, i) => Math.sin(seed + i) / 8);
  const factors = new Map<string, ExpandedFactors>();
  for (const { layer, linears, in: width, outs } of listLayerGroups(config))
    for (const [i, linear] of linears.entries()) {
      const [a, b] = [numbers(RANK * width), numbers(RANK * (outs[i] ?? 0))];
      factors.set(moduleKey({ layer, linear }), { rank: RANK, scale: 1, a, b });
    }
  return factors;
}
