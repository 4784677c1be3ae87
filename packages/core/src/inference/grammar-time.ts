// The time that the engine's thread gives to grammars in a step of the model, so that one that is hard to match holds up no other row.

/** Milliseconds of a step: less than most models take for theirs. */
const PER_STEP = 16;
/** How many times as long grammars may take while no row waits for anything else. */
const ALONE = 3;

/**
 * Shares out the time of each step. A row whose share is over waits, and goes on when all others have had theirs, or in a later step. Each
 * row does a small piece of its work at least, up to the first place where that can stop.
 */
export class GrammarTime {
  readonly #perStep: number;
  readonly #now: () => number;
  #left: number;
  /** Rows that have not had a share yet. */
  #rows = 0;

  /**
   * @param perStep - milliseconds
   * @param now - milliseconds from any start
   */
  constructor(perStep = PER_STEP, now = () => performance.now()) {
    this.#perStep = perStep;
    this.#now = now;
    this.#left = perStep;
  }

  /** Begins a step in which so many rows with grammars run, also those that wait. */
  begin(rows: number): void {
    this.#left = this.#perStep;
    this.#rows = rows;
  }

  /** Shares what is left of the step, which is more where nothing else runs, among the rows that were not ready. */
  shareRest({ waiting, running }: { readonly waiting: number; readonly running: number }): void {
    if (waiting === running) this.#left = this.#perStep * ALONE;
    this.#rows = waiting;
  }

  /** Runs work of a row, which asks whether its share is over. */
  share<Result>(work: (isOver: () => boolean) => Result): Result {
    const share = this.#left / Math.max(1, this.#rows);
    this.#rows--;
    const start = this.#now();
    try {
      return work(() => this.#now() - start > share);
    } finally {
      this.#left = Math.max(0, this.#left - (this.#now() - start));
    }
  }
}
