import { MosError } from "#core";

/** Lets so many pieces of work go on at a time, first come first served. */
export class Turns {
  readonly #waiting = new Set<() => void>();
  #free: number;

  constructor(count: number) {
    this.#free = count;
  }

  /** @throws MosError `cancelled` where the signal comes before the turn, and whatever `work` throws. */
  async run<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    if (signal?.aborted === true) throw cancelled(signal);
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal);
    try {
      return await work();
    } finally {
      this.#give();
    }
  }

  #turn(signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const take = (): void => {
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      const leave = (): void => {
        this.#waiting.delete(take);
        reject(cancelled(signal));
      };
      this.#waiting.add(take);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }

  /** Hands the turn on without letting anybody in between. */
  #give(): void {
    const [next] = this.#waiting;
    if (next === undefined) this.#free++;
    else {
      this.#waiting.delete(next);
      next();
    }
  }
}

export const cancelled = (signal: AbortSignal | undefined): MosError =>
  new MosError("cancelled", "checking a program was stopped", { cause: signal?.reason });
