import { GrammarError } from "#grammar";

/** Limits of the translation of one schema. */
export interface SchemaLimits {
  /** Steps of the translation, of which each handles a keyword, an alternative or a symbol of the grammar. */
  readonly steps: number;
  /** Alternatives of one value, such as those of `anyOf` or of a product of several. */
  readonly alternatives: number;
  /** Rules of the grammar. */
  readonly rules: number;
  /** Schemas that apply to the same value within each other, through `allOf`, `anyOf`, `$ref` and the like. */
  readonly depth: number;
  /** Milliseconds. */
  readonly time: number;
}

export const DEFAULT_LIMITS: SchemaLimits = {
  steps: 600_000,
  alternatives: 4096,
  rules: 200_000,
  depth: 250,
  time: 2500,
};

/** Place of a keyword in a schema. */
export interface Place {
  readonly pointer: string;
  readonly keyword?: string | undefined;
}

/** The steps and the time that a translation has left. */
export class Budget {
  readonly limits: SchemaLimits;
  #steps: number;
  #nextCheck: number;
  readonly #deadline: number;

  constructor(limits: SchemaLimits) {
    this.limits = limits;
    this.#steps = limits.steps;
    this.#nextCheck = limits.steps;
    this.#deadline = performance.now() + limits.time;
  }

  /** @throws {@link GrammarError} "limit" if no steps or no time are left. */
  spend(steps: number, place?: Place): void {
    this.#steps -= steps;
    if (this.#steps >= this.#nextCheck) return;
    this.#nextCheck = this.#steps - 512;
    if (this.#steps < 0) throw tooLarge(`takes more than ${this.limits.steps} steps to translate`, place);
    if (performance.now() > this.#deadline)
      throw tooLarge(`takes more than ${this.limits.time} ms to translate`, place);
  }

  /** @throws {@link GrammarError} "limit" if a value has more alternatives than allowed. */
  checkAlternatives(count: number, place?: Place): void {
    if (count > this.limits.alternatives)
      throw tooLarge(`combines more than ${this.limits.alternatives} alternatives in one value`, place);
  }
}

const tooLarge = (reason: string, place?: Place): GrammarError =>
  new GrammarError("limit", `The schema ${reason}. Make it smaller, or nest fewer combinations.`, place);
