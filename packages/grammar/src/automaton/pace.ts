/** The work stopped, and what it has found so far is kept: the same work, begun again, gets further. */
export class Paused extends Error {}

const PAUSED = new Paused("the work is not finished");

/** Stops work that takes too long at once, so that its caller can go on with it later. */
export class Pace {
  #isOver: (() => boolean) | undefined;
  /** Something was found that need not be found again. Without it, work that begins anew each time would never end. */
  #hasProgress = false;

  /** Runs work. Once `isOver` says so, it throws {@link Paused}, though not before it got further than the last time. */
  run<Result>(isOver: () => boolean, work: () => Result): Result {
    const before = this.#isOver;
    this.#isOver = isOver;
    this.#hasProgress = false;
    try {
      return work();
    } finally {
      this.#isOver = before;
    }
  }

  /** A place at which work may stop. */
  check(): void {
    if (this.#isOver !== undefined && this.#hasProgress && this.#isOver()) throw PAUSED;
  }

  /** Notes that something new was found, and is kept. */
  advance(): void {
    this.#hasProgress = true;
  }
}
