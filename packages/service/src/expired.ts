// Expired models, known in advance, so that they expire on time and while the database cannot be reached.
import type { Jobs } from "#store";

/** Knows models whose time is over. */
export interface Expired {
  /** Asks the database, by whose clock models expire. */
  refresh(): Promise<void>;
  isOver(model: string): boolean;
  /** An alias stands for this model, so that it does not expire now. */
  hold(model: string): void;
}

export function openExpired(jobs: Pick<Jobs, "secondsLeft">): Expired {
  /** When they expire, by a clock of this process. */
  let ends = new Map<string, number>();
  return {
    refresh: async () => {
      const now = performance.now();
      const left = await jobs.secondsLeft();
      ends = new Map([...left].map(([model, seconds]) => [model, now + seconds * 1000]));
    },
    isOver: (model) => (ends.get(model) ?? Number.POSITIVE_INFINITY) <= performance.now(),
    hold: (model) => void ends.delete(model),
  };
}
