// What clients saw, counted.
import { rounded } from "../arguments.ts";

/** The value below which this share of the sorted numbers lies. */
const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? Number.NaN;

/** p50, p90 and p99 of milliseconds, and the largest. */
export function quantiles(milliseconds: readonly number[]): Readonly<Record<string, number>> {
  const sorted = [...milliseconds].sort((a, b) => a - b);
  const at = (share: number): number => rounded(quantile(sorted, share), 1);
  return { p50: at(0.5), p90: at(0.9), p99: at(0.99), largest: rounded(sorted.at(-1) ?? Number.NaN, 1) };
}

/** Counts of a run. What is not intended is kept with its words, the first ones of each kind. */
export class Tally {
  readonly visits: Record<string, number> = {};
  readonly unintended: Record<string, number> = {};
  readonly firstTokens: number[] = [];
  readonly gaps: number[] = [];
  requests = 0;
  promptTokens = 0;
  completionTokens = 0;
  /** Refused with 429, and sent again after retry-after. */
  busy = 0;
  /** Asked again because the server had been killed. */
  retried = 0;
  readonly #answers = new Map<string, string>();
  readonly #exact: boolean;

  /** @param exact Answers to the same greedy request must be the same. */
  constructor(exact: boolean) {
    this.#exact = exact;
  }

  /** An answer to a greedy request: the first one of its kind is what all others must be. */
  answered(request: string, text: string): void {
    const first = this.#answers.get(request);
    if (first === undefined) this.#answers.set(request, text);
    else if (this.#exact && first !== text)
      throw new Error(
        `another answer than before to ${request}: ${JSON.stringify(text)}, not ${JSON.stringify(first)}`,
      );
  }

  /** A visit of this kind ended as it should, or not. */
  visited(kind: string, error?: unknown): void {
    this.visits[kind] = (this.visits[kind] ?? 0) + 1;
    if (error === undefined) return;
    const count = (this.unintended[kind] ?? 0) + 1;
    this.unintended[kind] = count;
    if (count <= 5) console.error(`NOT INTENDED in ${kind}: ${String(error)}`);
  }

  get failures(): number {
    return Object.values(this.unintended).reduce((sum, count) => sum + count, 0);
  }
}
