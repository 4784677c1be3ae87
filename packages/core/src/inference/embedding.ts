// An embedding: the hidden states of a text's tokens as one vector of length 1.
import { MosError } from "#common";
import type { Pooling } from "#text";

/** The first `dimensions` numbers, all by default, scaled to length 1. Throws "diverged" for numbers that are not finite. */
export function unitVector(values: ArrayLike<number>, dimensions = values.length): Float32Array {
  const kept = Float64Array.from({ length: dimensions }, (_, i) => values[i] ?? 0);
  const length = Math.hypot(...kept);
  if (!Number.isFinite(length)) throw new MosError("diverged", "the model's hidden states are not finite");
  return Float32Array.from(kept, (value) => value / (length || 1));
}

/** Pools hidden states part by part, as prompts are computed. */
export class Pooler {
  readonly #pooling: Pooling;
  #sum = new Float64Array(0);
  /** Tokens in the mean. Those of a prompt that is computed again count once. */
  count = 0;

  constructor(pooling: Pooling) {
    this.#pooling = pooling;
  }

  /** Takes the states [C] of all tokens from position `from` on, of which the last alone may matter. */
  take(states: readonly Float32Array[], from: number): void {
    const added = this.#pooling === "last" ? states.slice(-1) : states.slice(Math.max(0, this.count - from));
    for (const state of added) {
      if (this.#pooling === "last" || this.count === 0) this.#sum = Float64Array.from(state);
      else for (const [i, value] of state.entries()) this.#sum[i] = (this.#sum[i] ?? 0) + value;
      this.count++;
    }
  }

  /** Throws as `unitVector`, which makes a mean of the sum. */
  vector(): Float32Array {
    return unitVector(this.#sum);
  }
}
