// The time that the engine's thread gives to grammars between two steps of the model, so that one that is hard to match holds up no other row.

/** Milliseconds of a step: less than most models take for theirs. */
const PER_STEP = 16;
/** How many times as long grammars may take while no row waits for anything else. */
const ALONE = 3;
/** Milliseconds that a row gets at least, although others have used up the step's. */
const LEAST = 1;

/** Shares out the time of each step. */
export class GrammarTime {
  readonly #perStep: number;
  readonly #now: () => number;
  #left: number;
  /** Rows that were not ready after the last step, and have had no share of this one. */
  #waiting = 0;

  /**
   * @param perStep - milliseconds
   * @param now - milliseconds from any start
   */
  constructor(perStep = PER_STEP, now = () => performance.now()) {
    this.#perStep = perStep;
    this.#now = now;
    this.#left = perStep;
  }

  /** Begins a step, in which so many rows go on first that were not ready after the last one, out of all that run. */
  begin({ waiting, running }: { readonly waiting: number; readonly running: number }): void {
    this.#waiting = waiting;
    this.#left = this.#perStep * (waiting === running ? ALONE : 1);
  }

  /** Runs work of a row, which asks whether its share is over. */
  share<Result>(work: (isOver: () => boolean) => Result): Result {
    const least = Math.min(LEAST, this.#perStep);
    const share = Math.max(least, this.#left / Math.max(1, this.#waiting));
    this.#waiting = Math.max(0, this.#waiting - 1);
    const start = this.#now();
    try {
      return work(() => this.#now() - start > share);
    } finally {
      this.#left = Math.max(0, this.#left - (this.#now() - start));
    }
  }
}
