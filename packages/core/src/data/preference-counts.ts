// What preferences come to: how long prompts and answers are, and what a model could learn from them by mistake.
import type { EncodedExample } from "./encode.ts";
import {
  type AnsweredExample,
  checksum,
  conversationOf,
  type Example,
  type Message,
  type PairExample,
} from "./example.ts";

/** Lengths, and what they come to. */
export interface Lengths {
  readonly total: number;
  readonly min: number;
  readonly median: number;
  readonly p95: number;
  readonly max: number;
}

/** Pairs of answers. Lengths are in tokens, or in characters where no tokens are counted. */
export interface PairCounts {
  readonly count: number;
  readonly unit: "tokens" | "characters";
  readonly prompt: Lengths;
  readonly chosen: Lengths;
  readonly rejected: Lengths;
  /** Pairs whose chosen answer is the longer one: where most are, length may be what is learnt. */
  readonly chosenLonger: number;
  /** Pairs whose prompt one before them has, too. */
  readonly repeatedPrompts: number;
}

/** Rated answers. */
export interface RatedCounts {
  readonly count: number;
  readonly desirable: number;
}

/** Total, least, most, median, and what 95 % are at most. */
export function describeLengths(lengths: readonly number[]): Lengths {
  const sorted = Int32Array.from(lengths).sort();
  const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
  const total = sorted.reduce((sum, length) => sum + length, 0);
  return { total, min: sorted[0] ?? 0, median: at(0.5), p95: at(0.95), max: at(1) };
}

/** Counts the preferences of a data set. */
export class PreferenceCounts {
  readonly #prompt: number[] = [];
  readonly #chosen: number[] = [];
  readonly #rejected: number[] = [];
  /** Checksums of the prompts, which would take as much memory as the file. */
  readonly #prompts = new Set<string>();
  #unit: PairCounts["unit"] = "characters";
  #rated = 0;
  #desirable = 0;

  /** Adds an example with its sequences, where tokens are counted. */
  add(example: Example, sequences: readonly EncodedExample[] | undefined): void {
    if (example.kind === "rated") {
      this.#rated++;
      this.#desirable += Number(example.isDesirable);
    }
    if (example.kind === "pair") this.#addPair(example, sequences);
  }

  #addPair(pair: PairExample, sequences: readonly EncodedExample[] | undefined): void {
    const [chosen, rejected] = [splitAnswer(pair.chosen), splitAnswer(pair.rejected)];
    const [one, other] = sequences ?? [];
    if (one !== undefined) this.#unit = "tokens";
    this.#prompt.push(one === undefined ? chosen.prompt.length : one.ids.length - one.targetTokens);
    this.#chosen.push(one?.targetTokens ?? chosen.answer.length);
    this.#rejected.push(other?.targetTokens ?? rejected.answer.length);
    this.#prompts.add(checksum([chosen.prompt]));
  }

  summary(): { readonly pairs: PairCounts | undefined; readonly rated: RatedCounts | undefined } {
    const [chosen, rejected] = [this.#chosen, this.#rejected];
    const count = chosen.length;
    const pairs: PairCounts = {
      count,
      unit: this.#unit,
      prompt: describeLengths(this.#prompt),
      chosen: describeLengths(chosen),
      rejected: describeLengths(rejected),
      chosenLonger: chosen.filter((length, i) => length > (rejected[i] ?? 0)).length,
      repeatedPrompts: count - this.#prompts.size,
    };
    const rated = { count: this.#rated, desirable: this.#desirable };
    return { pairs: count === 0 ? undefined : pairs, rated: rated.count === 0 ? undefined : rated };
  }
}

/** The text of an answer, and the texts before it. */
function splitAnswer(example: AnsweredExample): { readonly prompt: string; readonly answer: string } {
  const turns = conversationOf(example);
  const from = turns.findIndex(({ isTarget }) => isTarget);
  const write = (some: readonly Message[]): string => some.map(({ content }) => content).join("\n");
  return { prompt: write(turns.slice(0, from)), answer: write(turns.slice(from)) };
}
